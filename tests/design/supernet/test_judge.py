"""Subnets judged as they would be used, and read as they are written."""

import numpy as np
import pytest
import torch
from tiny_supernet import FAMILY, new_network, stripes

from hybridge.design.supernet.judge import Subnet, judge, parse_subnet
from hybridge.design.supernet.phases import Phase, ShrinkSettings
from hybridge.design.supernet.shrink import shrink, subnet_of
from hybridge.design.train.outputs import compute_outputs, hash_network
from hybridge.errors import ConfigError

SPACE = FAMILY.space


def test_the_supernet_is_left_as_it_is() -> None:
    network, data = new_network(), stripes()
    settings = ShrinkSettings(batch_size=16, augment="none")
    shrink(network, data, settings, [Phase(name="full", epochs=2)], seed=0)
    before = hash_network(network)
    statistics = torch.from_numpy(data.pixels(np.arange(64)))
    judged = {
        name: judge(network, Subnet(getattr(SPACE, name), 12), statistics, stripes(seed=1))
        for name in ("smallest", "largest")
    }
    assert hash_network(network) == before
    alone = compute_outputs(subnet_of(network, SPACE.largest), stripes(seed=1))
    expected = alone.accuracy(stripes(seed=1).labels)
    assert judged["largest"].accuracy_without_recalibration == expected
    assert 2 * judged["smallest"].macs < judged["largest"].macs
    assert judged["smallest"].parameters < judged["largest"].parameters


@pytest.mark.parametrize(
    ("text", "side"), [("smallest", 8), ("largest", 12), ("3533 | 2344 | 21 @ 8", 8)]
)
def test_a_subnet_is_read_as_it_is_written(text: str, side: int) -> None:
    subnet = parse_subnet(text, SPACE, FAMILY.resolutions)
    assert subnet.resolution == side
    assert parse_subnet(str(subnet), SPACE, FAMILY.resolutions) == subnet


def test_without_a_resolution_a_subnet_has_the_largest() -> None:
    assert parse_subnet("3533|2344|21", SPACE, FAMILY.resolutions).resolution == 12


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("3533 | 2344 | 21 @ 9", "a resolution among 8, 12 after '@', got '9'"),
        ("3533 | 2344 | 21 @ x", "got 'x'"),
        ("biggest", "expected an architecture"),
        ("3533 | 2344 | 2", "expected 2 digits"),
    ],
)
def test_what_is_no_subnet_is_refused(text: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        parse_subnet(text, SPACE, FAMILY.resolutions)
