"""Cutting between units loses nothing against cutting anywhere."""

import pytest

from hybridge.cost.device import devices
from hybridge.design.graph.mincut import surgery
from hybridge.design.graph.sizes import bound_sizes
from hybridge.design.modeltree.branches import fastest_cut
from hybridge.design.modeltree.costs import NetworkCosts
from hybridge.design.modeltree.problem import TreeProblem
from hybridge.design.modeltree.space import make_space
from hybridge.links.link import Link

SLOW = devices.get("xiaomi-mi6x").slowed(200)
CLOUD = devices.get("gtx1080ti")


@pytest.mark.parametrize("bandwidth_bps", [1e4, 1e5, 1e6, 1e7, 1e9])
@pytest.mark.parametrize("image_bytes", [100.0, 140.0])
def test_the_fastest_cut_is_the_minimum_cut(library, bandwidth_bps, image_bytes):
    sizes = {**bound_sizes(library.sliced.graph), "input": image_bytes}
    link = Link(bandwidth_bps, rtt_ms=20)
    costs = NetworkCosts(library, SLOW, CLOUD, sizes)
    space = make_space(library.sliced, {}, sizes, types=1)
    problem = TreeProblem(space, [link], costs, None)  # type: ignore[arg-type]
    by_units = problem.latency_ms(fastest_cut(problem, link), 0)
    anywhere = surgery(library.sliced.graph, SLOW, CLOUD, link, sizes).latency_ms
    assert by_units == pytest.approx(anywhere, rel=1e-6)
