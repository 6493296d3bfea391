"""What a selective query costs: the paper's tables from presets, and curves of costs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridge.cost.device import device_named, devices
from hybridge.cost.estimate import estimate
from hybridge.cost.operating import measure_at
from hybridge.cost.price import price_plan
from hybridge.cost.query import price_parts, price_query
from hybridge.cost.reach import payloads_of, reach_at
from hybridge.errors import ConfigError, PlanError
from hybridge.links.link import Link, links
from hybridge.plan.plan import Plan, Step
from hybridge.plan.variants import edge_only
from paper_latency import ROWS
from priced_plans import conv, outline, tree_plan, with_macs
from tiny_plans import pair_plan, pair_rehearsal, partition_plan

PHONE, V100, MCU = map(device_named, ("galaxy-note8", "v100", "stm32f746-tinyengine"))


def assert_is_row(found, row):
    assert found.macs / 1e6 == pytest.approx(row.macs_m, abs=1)
    assert found.latency_ms == pytest.approx(row.latency_ms, abs=1)
    if row.energy_mj is not None:
        assert found.energy_mj == pytest.approx(row.energy_mj, abs=1)


def parts_of(row, **times):
    return price_parts(
        devices.get(row.device),
        V100,
        links.get(row.link),
        edge_macs=row.edge_macs_m * 1e6,
        cloud_macs=row.cloud_macs_m * 1e6,
        payload_bytes=row.payload_bytes,
        **times,
    )


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_every_row_of_the_paper_from_its_parts(row):
    price = parts_of(row, edge_ms=row.edge_ms, cloud_ms=row.cloud_ms)
    found = price.at(row.coverage)
    assert_is_row(found, row)
    assert found.link_ms == pytest.approx((1 - row.coverage) * row.link_ms, abs=0.5)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_every_row_of_the_paper_from_device_profiles(row):
    """The edge's time follows from its MACs; so does the cloud's, where the paper counts it."""
    cloud_ms = None if row.cloud_ms else 0
    found = parts_of(row, cloud_ms=cloud_ms).at(row.coverage)
    assert_is_row(found, row)


def test_layers_and_their_totals_cost_the_same(tmp_path):
    plan = with_macs(pair_plan(tmp_path), base=215_000_000, **{"global": 595_000_000})
    link = links.get("lte")
    price = price_query(plan, price_plan(plan, PHONE, V100), link, 152_000)
    parts = price_parts(PHONE, V100, link, edge_macs=215e6, cloud_macs=595e6, payload_bytes=152_000)
    for coverage in (0, 0.3, 1):
        one, other = price.at(coverage), parts.at(coverage)
        for name in ("macs", "payload_bytes", "edge_ms", "link_ms", "cloud_ms", "energy_mj"):
            assert getattr(one, name) == pytest.approx(getattr(other, name))


@st.composite
def queries(draw):
    device = devices.get(draw(st.sampled_from(devices.names())))
    sizes = draw(st.lists(st.integers(0, 10**7), min_size=1, max_size=20))
    link = Link(
        bandwidth_bps=draw(st.floats(1e3, 1e9)),
        rtt_ms=draw(st.floats(0, 500)),
        message_ms=draw(st.floats(0, 50)),
        byte_ms=draw(st.floats(0, 1e-3)),
    )
    macs = {name: draw(st.integers(0, 10**10)) for name in ("base", "global")}
    return device, np.array(sizes), link, macs, draw(st.floats(0, 1))


@given(queries())
def test_a_query_at_a_coverage_is_the_estimate_of_its_plan(tmp_path_factory, query):
    device, sizes, link, macs, coverage = query
    plan = with_macs(pair_plan(tmp_path_factory.mktemp("plan")), **macs)
    rehearsal = pair_rehearsal(plan, range(len(sizes)))
    rehearsal.payload_bytes[(1,), "raw"] = sizes
    prices = price_plan(plan, device, V100)
    found = price_query(plan, prices, link, sizes).at(coverage)
    expected = estimate(plan, prices, link, reach_at(plan, coverage), payloads_of(rehearsal))
    costs = price_query(plan, prices, link, sizes).costs()
    for name in ("coverage", "edge_macs", "cloud_macs", "edge_ms", "link_ms", "cloud_ms"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name)), name
    for name in ("macs", "payload_bytes", "latency_ms", "energy_mj"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name)), name
        unit = getattr(costs, name)
        if unit is not None:
            assert unit.at(coverage) == pytest.approx(getattr(found, name)), name


def test_an_estimate_is_the_operating_point_where_all_inputs_cost_the_same():
    price = parts_of(ROWS["mcu, hybrid at 70 %"])
    score, right = np.array([0.0, 1.0, 2.0, 3.0]), np.ones(4, np.bool_)
    point, found = measure_at(1.5, score, right, right, price.costs()), price.at(0.5)
    for name in ("macs", "payload_bytes", "latency_ms", "energy_mj"):
        assert getattr(point, name) == pytest.approx(getattr(found, name))


def test_sizes_may_differ_from_input_to_input(tmp_path):
    plan = with_macs(pair_plan(tmp_path))
    sizes = np.array([100_000, 200_000, 100_000])
    price = price_query(plan, price_plan(plan, MCU, V100), links.get("lora-1mbps"), sizes)
    waiting_ms = price.at(0).cloud_ms
    sent_ms = price.costs().latency_ms.cloud
    assert sent_ms.tolist() == pytest.approx([waiting_ms + ms for ms in (800, 1600, 800)])
    assert price.at(0).payload_bytes == pytest.approx(400_000 / 3)


def with_front(plan, child):
    """Return ``plan`` with one more program on the edge, on the way to a child of its fork."""
    fork = plan.root.then
    children = list(fork.children)
    children[child] = Step(
        program="front", place="edge", feeds={"x": "pixels"}, then=children[child]
    )
    pixels = plan.input.model_copy(update={"name": "x"})
    front = outline("front", 3_000_000).model_copy(update={"inputs": (pixels,)})
    fork = fork.model_copy(update={"children": tuple(children)})
    return Plan(
        input=plan.input,
        programs={**plan.programs, "front": front},
        root=plan.root.model_copy(update={"then": fork}),
    )


def test_an_edge_step_on_the_way_to_the_cloud_costs_what_is_sent(tmp_path):
    plan = with_macs(pair_plan(tmp_path), base=1_000_000, **{"global": 10_000_000})
    longer = with_front(plan, child=1)
    price = price_query(longer, price_plan(longer, PHONE, V100), links.get("lte"), 10)
    assert price.at(1).edge_macs == 1e6
    assert price.at(0.5).edge_macs == 2.5e6
    assert price.costs().macs.cloud == pytest.approx(13e6)


def test_an_edge_step_on_the_way_home_is_estimated_but_has_no_curve(tmp_path):
    """What is sent would cost less than nothing more."""
    longer = with_front(with_macs(pair_plan(tmp_path)), child=0)
    prices = price_plan(longer, PHONE, V100)
    with pytest.raises(PlanError, match="an answer at once for what is kept"):
        price_query(longer, prices, links.get("lte"), 10)
    found = estimate(longer, prices, links.get("lte"), reach_at(longer, 0.5), 10)
    assert found.edge_macs == 1e6 + 0.5 * 3e6


def test_only_a_selective_query_has_a_curve(tmp_path):
    prices = price_plan(tree_plan(), PHONE, V100)
    for plan in (tree_plan(), edge_only(pair_plan(tmp_path)), partition_plan(tmp_path)):
        with pytest.raises(PlanError, match="one fork by score"):
            price_query(plan, prices, links.get("lte"), 10)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"edge_macs": 595}, "595 multiply-accumulates are no network; for millions write 595M"),
        ({"cloud_macs": 0.6}, "no network"),
        ({"edge_macs": -1}, "finite edge_macs of at least 0, got -1"),
        ({"edge_ms": float("nan")}, "edge_ms of at least 0, got nan"),
        ({"cloud_ms": float("inf")}, "cloud_ms of at least 0, got inf"),
        ({"payload_bytes": -5}, "payload_bytes of at least 0, got -5"),
    ],
)
def test_numbers_that_are_none(numbers, message):
    with pytest.raises(ConfigError, match=message):
        price_parts(PHONE, V100, links.get("lte"), **numbers)


@pytest.mark.parametrize("coverage", [-0.01, 1.01, float("nan")])
def test_coverages_that_are_no_share(coverage):
    price = price_parts(PHONE, V100, links.get("lte"), edge_macs=1e6)
    with pytest.raises(ConfigError, match="coverage from 0 to 1"):
        price.at(coverage)


def test_a_profile_without_the_class_of_a_layer_is_named():
    speed = PHONE.speeds[0].model_copy(update={"kind": "linear"})
    device = PHONE.model_copy(update={"name": "half", "speeds": (speed,)})
    with pytest.raises(
        ConfigError, match=r"'half' .*no time per MAC for a whole network; give edge_ms"
    ):
        price_parts(device, V100, links.get("lte"), edge_macs=1e6)
    assert price_parts(device, V100, links.get("lte"), edge_macs=1e6, edge_ms=3).at(1).edge_ms == 3
    plan = tree_plan()
    with pytest.raises(ConfigError, match=f"{conv(1).kind!r}.*'hybridge profile'"):
        price_plan(plan, device, V100)
