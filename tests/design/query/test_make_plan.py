"""From a pair and its router to a plan that runs."""

import numpy as np
import onnxruntime
import pytest
import torch

from hybridge.design.export.onnx import freeze
from hybridge.design.query.fit import fit_router
from hybridge.design.query.make_plan import RoutedBase, make_plan
from hybridge.design.query.router import Anchor, Router, RouterSettings
from hybridge.design.query.scores import Confidence, measures
from hybridge.plan.answers import Fused, Newest
from hybridge.plan.tensors import Geometry, TensorSpec
from tiny_pairs import CLASSES, SIDE, planted_data, tiny_network

GEOMETRY = Geometry(height=SIDE, width=SIDE)
PIXELS = TensorSpec(name="pixels", dtype="uint8", shape=GEOMETRY.shape)
NAMES = tuple("abcd")
FUSED = Fused(base="base.logits", global_="global.logits", base_weight=0.3)
QUICK = RouterSettings(hidden=(8, 4), epochs=2)


@pytest.fixture(scope="module")
def router() -> Router:
    return fit_router(planted_data(300, seed=0), QUICK, seed=0)


@pytest.fixture(scope="module")
def plan(router, tmp_path_factory):
    return make_plan(
        tiny_network(0),
        router,
        tiny_network(1, width=8),
        geometry=GEOMETRY,
        class_names=NAMES,
        directory=tmp_path_factory.mktemp("plan"),
        threshold=0.25,
        fused=FUSED,
        codec="webp-80",
    )


def images(batch: int) -> np.ndarray:
    return np.random.default_rng(batch).integers(0, 256, (batch, SIDE, SIDE, 3), np.uint8)


def assert_same(program, module, batch):
    session = onnxruntime.InferenceSession(program.path)
    assert [output.name for output in session.get_outputs()] == ["logits", "score"]
    got = session.run(["logits", "score"], {"pixels": images(batch)})
    with torch.no_grad():
        expected = module(torch.from_numpy(images(batch)))
    for value, reference in zip(got, expected, strict=True):
        assert value.shape == tuple(reference.shape)
        np.testing.assert_allclose(value, reference.numpy(), atol=1e-4)


def test_the_plan_is_selective_query(plan):
    fork = plan.root.then
    assert (plan.root.program, plan.root.place) == ("base", "edge")
    assert fork.chooser.threshold == 0.25
    assert fork.home == 0
    assert fork.children[0].combine == Newest(logits="base.logits")
    asked = fork.children[1]
    assert (asked.program, asked.place, asked.codec) == ("global", "cloud", "webp-80")
    assert asked.then.combine == FUSED
    assert plan.class_names == NAMES


@pytest.mark.parametrize("batch", [1, 5])
def test_base_and_router_are_one_graph_that_computes_the_same(plan, router, batch):
    assert_same(plan.programs["base"], RoutedBase(tiny_network(0), router), batch)


def test_the_routers_cost_is_in_the_programs(plan):
    assert plan.programs["base"].macs == 27 * 4 * 64 + 36 * 8 * 16 + 8 * 4 + (5 * 8 + 8 * 4 + 4)
    assert all(program.geometry == GEOMETRY for program in plan.programs.values())


def test_a_router_that_reads_the_embedding_is_one_graph_too(tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        router = Router(CLASSES, QUICK, Anchor(Confidence("margin"), 1.0, 0.0), embedding_width=8)
        torch.nn.init.normal_(router.head.weight)
    module = RoutedBase(tiny_network(0), router).eval()
    program = freeze(module, "base", PIXELS, ("logits", "score"), GEOMETRY, tmp_path)
    for batch in (1, 5):
        assert_same(program, module, batch)


class EveryConfidence(torch.nn.Module):
    def __init__(self):
        super().__init__()
        scores = [RoutedBase(tiny_network(0), Confidence(name, 1.5)) for name in measures]
        self.scores = torch.nn.ModuleList(scores)

    def forward(self, pixels):
        return self.scores[0](pixels)[0], torch.stack([score(pixels)[1] for score in self.scores])


def test_every_confidence_can_be_exported_in_the_routers_place(tmp_path):
    module = EveryConfidence().eval()
    program = freeze(module, "base", PIXELS, ("logits", "score"), GEOMETRY, tmp_path)
    assert_same(program, module, 5)
