import numpy as np
import pytest
import torch
from tiny_family import CLASSES, FAMILY

from hybridge.design.graph.count import count_layers
from hybridge.design.nets.families import families
from hybridge.design.nets.mobilenet import MobileNet
from hybridge.design.query.evaluate import router_macs
from hybridge.design.query.router import Router, RouterSettings
from hybridge.design.supernet.costs import FamilyCosts, footprint, router_layers
from hybridge.plan.layers import total_macs


def unnamed(layers):
    return [layer.model_copy(update={"name": ""}) for layer in layers]


@pytest.mark.parametrize(
    ("family", "classes", "count"),
    [
        (FAMILY, CLASSES, 6),
        (families.get("elastic_small"), 10, 3),
        (families.get("ofa_mbv3_w1.0"), 1000, 1),
    ],
)
def test_parts_add_up_to_what_the_whole_network_is_counted(family, classes, count):
    rng, costs = np.random.default_rng(0), FamilyCosts(family, classes)
    for _ in range(count):
        architecture = family.space.random(rng)
        resolution = int(rng.choice(family.resolutions))
        with torch.device("meta"):
            network = MobileNet(classes, family.outline(architecture))
            image = torch.zeros(1, 3, resolution, resolution)
        found = costs.footprint(architecture, resolution)
        assert unnamed(found.layers) == unnamed(count_layers(network, image))
        whole = footprint(network, (3, resolution, resolution))
        assert (found.macs, found.int8_bytes) == (whole.macs, whole.int8_bytes)
        assert (found.arena_bytes, found.input_bytes) == (whole.arena_bytes, whole.input_bytes)


def test_public_macs_come_out():
    family = families.get("ofa_mbv3_w1.0")
    base = family.space.parse("33753375773737773373 | 33663364443343344444 | 22223")
    assert FamilyCosts(family, 1000).footprint(base, 144).macs / 1e6 == pytest.approx(68.4, abs=0.1)


@pytest.mark.parametrize("classes", [2, 10, 1000])
@pytest.mark.parametrize("embedding", [False, True])
def test_a_router_is_priced_as_hybrids_are_judged(classes, embedding):
    settings = RouterSettings(embedding=embedding, hidden=(32, 16))
    router = Router(classes, settings, embedding_width=128 if embedding else None)
    assert total_macs(router_layers(classes, 128, settings)) == router_macs(router.eval())


def test_a_router_takes_what_its_three_layers_take():
    assert total_macs(router_layers(10, 128)) == 11 * 256 + 256 * 64 + 64


def test_pricing_a_router_leaves_torchs_generator_alone():
    before = torch.get_rng_state()
    router_layers(10, 128)
    assert torch.get_rng_state().equal(before)


def test_a_network_of_bytes_has_a_byte_for_each_weight_and_four_for_each_sum():
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, bias=False), torch.nn.BatchNorm2d(4), torch.nn.Conv2d(4, 2, 1)
    )
    assert footprint(network, (3, 8, 8)).int8_bytes == 4 * 27 + 4 * 4 + 2 * 4 + 4 * 2
