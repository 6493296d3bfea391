"""What any plan costs: estimates of trees, against walks of the same trees."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hybridge.cost.device import devices
from hybridge.cost.estimate import estimate, estimate_around
from hybridge.cost.price import Prices, energy_mj, price_plan
from hybridge.cost.reach import payloads_of, reach_at, reach_of
from hybridge.cost.surroundings import Around, Surroundings
from hybridge.cost.target import Target
from hybridge.cost.tune import tune
from hybridge.errors import ConfigError, PlanError
from hybridge.links.link import Link
from hybridge.plan.answers import Newest
from hybridge.plan.plan import Leaf, Plan, Step
from hybridge.plan.rehearsal import Rehearsal, leaf_of_each
from hybridge.plan.variants import cloud_only, edge_only, with_threshold
from hybridge.walk.events import Ask, Ran, Told
from hybridge.walk.walk import walk
from plan_strategies import X, plans
from priced_plans import tree_plan, with_macs
from tiny_plans import pair_plan, pair_rehearsal, partition_plan
from tiny_trees import BORDER_BPS
from tiny_trees import tree_plan as grown_tree

PHONE, V100 = devices.get("galaxy-note8"), devices.get("v100")
LINK = Link(bandwidth_bps=8e6, rtt_ms=30, message_ms=2, byte_ms=1e-4)


@pytest.fixture
def plan(tmp_path):
    return with_macs(pair_plan(tmp_path), base=215_000_000, **{"global": 595_000_000})


@pytest.fixture
def prices(plan):
    return price_plan(plan, PHONE, V100)


def test_each_part_of_a_selective_query(plan, prices):
    found = estimate(plan, prices, LINK, {(0,): 0.75, (1,): 0.25}, 100_000)
    assert found.coverage == 0.75
    assert (found.edge_macs, found.cloud_macs) == (215e6, 0.25 * 595e6)
    assert found.macs == found.edge_macs + found.cloud_macs
    assert found.payload_bytes == 25_000
    assert found.edge_ms == pytest.approx(65)
    # 8 * 100 kB at 8 Mbit/s, 2 ms and 10 ms of handling, the round trip
    assert found.link_ms == pytest.approx(0.25 * (100 + 2 + 10 + 30))
    assert found.cloud_ms == pytest.approx(0.25 * 25)
    assert found.latency_ms == found.edge_ms + found.link_ms + found.cloud_ms


def test_energy_counts_each_part_at_its_own_power(plan, prices):
    found = estimate(plan, prices, LINK, {(1,): 1.0}, 100_000)
    power = PHONE.power
    active, transmit, idle = (
        each.value / 1000 for each in (power.active_mw, power.transmit_mw, power.idle_mw)
    )
    assert found.edge_mj == pytest.approx(65 * active)
    assert found.link_mj == pytest.approx(112 * transmit + 30 * idle)
    assert found.cloud_mj == pytest.approx(25 * idle)
    assert found.energy_mj == pytest.approx(energy_mj(PHONE, 65.0, 112.0, 55.0))


def test_a_device_without_powers_has_no_energy(plan):
    found = estimate(plan, price_plan(plan, V100, V100), LINK, {(0,): 1.0}, 0)
    assert (found.edge_mj, found.link_mj, found.cloud_mj, found.energy_mj) == (None,) * 4


def test_every_cloud_step_meets_the_link_of_its_branch(tmp_path):
    plan = with_macs(partition_plan(tmp_path))
    prices = price_plan(plan, PHONE, V100)
    asked = []

    def link_at(path):
        asked.append(path)
        return Link(bandwidth_bps=1e6, rtt_ms=10)

    reach = {(0,): 0.5, (1,): 0.5}
    found = estimate(plan, prices, link_at, reach, {((0,), "raw"): 1000})
    assert asked == [(0,)]
    assert found.coverage == 0.5
    assert found.link_ms == pytest.approx(0.5 * 18)
    assert found.edge_macs == 1e6 + 0.5e6
    assert found == estimate(plan, prices, Link(1e6, 10), reach, {((0,), "raw"): 1000})


def test_what_nobody_reaches_needs_no_size_and_no_link(plan, prices):
    found = estimate(plan, prices, lambda _: pytest.fail("asked"), {(0,): 1.0}, {})
    assert found.latency_ms == pytest.approx(65)


def test_one_place_alone(plan, prices):
    edge = estimate(edge_only(plan), prices, LINK, {(): 1.0}, {})
    assert (edge.coverage, edge.latency_ms) == (1, pytest.approx(65))
    cloud = estimate(cloud_only(plan), prices, LINK, {(): 1.0}, 100_000)
    assert (cloud.coverage, cloud.edge_ms) == (0, 0)
    assert cloud.latency_ms == pytest.approx(142 + 25)


@st.composite
def courses(draw):
    """A plan, prices, sizes and links at every cloud step, and scores of some inputs."""
    plan = draw(plans())
    numbers = st.floats(0, 1000)
    macs = {name: draw(st.integers(0, 10**9)) for name in plan.programs}
    times = {name: draw(numbers) for name in plan.programs}
    steps = [(path, step.codec) for path, step in plan.steps("cloud")]
    sizes = {branch: draw(st.integers(0, 10**6)) for branch in steps}
    rates = {path: draw(st.floats(1e5, 1e9)) for path, _ in steps}
    scores = draw(st.lists(st.floats(-3, 3), min_size=1, max_size=5))
    return with_macs(plan, **macs), Prices(PHONE, times, times), sizes, rates, scores


@given(courses())
def test_an_estimate_is_the_mean_of_walks(course):
    plan, prices, sizes, rates, scores = course
    assume(len(sizes) == len(list(plan.steps("cloud"))))  # none follows another at once

    def link_at(path):
        return Link(rates[path], rtt_ms=7)

    walked = [played(plan, prices, sizes, link_at, score) for score in scores]
    reach = reach_of([decision.path for decision in walked])
    found = estimate(plan, prices, link_at, reach, sizes)
    for name in ("edge_ms", "link_ms", "cloud_ms", "latency_ms", "payload_bytes"):
        mean = np.mean([getattr(decision, name) for decision in walked])
        assert getattr(found, name) == pytest.approx(mean, abs=1e-6), name
    assert found.coverage == pytest.approx(np.mean([not each.wanted for each in walked]))


def played(plan, prices, sizes, link_at, score):
    """Return the decision where every program takes its price and gives the same score."""
    now_ms, course = 0.0, walk(plan, now_ms=0.0)
    event = None
    while True:
        try:
            request = course.send(event)
        except StopIteration as end:
            return end.value
        step = request.step
        if isinstance(request, Ask):
            payload, cloud_ms = sizes[request.path, step.codec], prices.cloud_ms[step.program]
            now_ms += link_at(request.path).transfer_ms(payload) + cloud_ms
            event = Told(now_ms, payload_bytes=payload, cloud_ms=cloud_ms, score=score)
        else:
            now_ms += prices.edge_ms[step.program]
            event = Ran(now_ms, score=score)


@given(
    sizes=st.lists(st.integers(0, 10**6), min_size=1, max_size=8),
    threshold=st.floats(0, 8),
)
def test_an_estimate_by_choosers_is_what_tuning_realises(tmp_path_factory, sizes, threshold):
    folder = tmp_path_factory.mktemp("plan")
    plan = with_threshold(with_macs(pair_plan(folder)), threshold)
    rehearsal = pair_rehearsal(plan, range(len(sizes)))
    rehearsal.payload_bytes[(1,), "raw"] = np.array(sizes)
    leaves = leaf_of_each(plan, rehearsal)
    reach = reach_of(leaves)
    around = Surroundings(device="galaxy-note8", link="wifi")
    point = tune(plan, rehearsal, Target(coverage=reach.get((0,), 0.0)), around)
    priced = around.look_up()
    found = estimate(
        plan,
        price_plan(plan, priced.device, priced.cloud),
        priced.link,
        reach,
        payloads_of(rehearsal, leaves),
    )
    for name in ("coverage", "macs", "payload_bytes", "latency_ms", "energy_mj"):
        assert getattr(found, name) == pytest.approx(getattr(point, name)), name


def test_payloads_count_inputs_that_pass_or_all(plan):
    rehearsal = pair_rehearsal(plan, [0, 1, 2])
    rehearsal.payload_bytes[(1,), "raw"] = np.array([10, 20, 60])
    assert payloads_of(rehearsal)[(1,), "raw"].tolist() == [10, 20, 60]
    assert payloads_of(rehearsal, [(0,), (1,), (1,)])[(1,), "raw"].tolist() == [20, 60]
    assert payloads_of(rehearsal, [(0,)] * 3) == {}


def test_a_coverage_is_kept_and_sent(plan, tmp_path):
    assert reach_at(plan, 0.75) == {(0,): 0.75, (1,): 0.25}
    for other in (edge_only(plan), cloud_only(plan), partition_plan(tmp_path)):
        with pytest.raises(ConfigError, match="one fork keeps or sends by a router's score"):
            reach_at(other, 0.75)


@pytest.mark.parametrize("coverage", [-0.1, 1.1, 70, float("nan"), float("inf")])
def test_a_coverage_is_a_share(plan, coverage):
    with pytest.raises(ConfigError, match="coverage from 0 to 1"):
        reach_at(plan, coverage)


@pytest.mark.parametrize(
    ("reach", "message"),
    [
        ({}, "add up to 1, got 0"),
        ({(0,): 0.5, (1,): 0.4}, "add up to 1, got 0.9"),
        ({(0,): 1.5, (1,): -0.5}, r"reach of leaf \(0,\) from 0 to 1, got 1.5"),
        ({(0,): float("nan"), (1,): 1}, "got nan"),
        ({(2,): 1.0}, r"no leaf at \[\(2,\)\]; its leaves are \[\(0,\), \(1,\)\]"),
    ],
)
def test_shares_that_do_not_fit_the_plan(plan, prices, reach, message):
    with pytest.raises(ConfigError, match=message):
        estimate(plan, prices, LINK, reach, 10)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({}, r"'global' at \(1,\) sends with codec 'raw' is not known"),
        ({((1,), "webp"): 9}, "is not known; give its payload_bytes"),
        (-1, "at least 0, got -1"),
        (float("nan"), "got nan"),
        ({((1,), "raw"): np.array([5.0, np.inf])}, "at least 0"),
    ],
)
def test_sizes_that_are_none(plan, prices, sizes, message):
    with pytest.raises(ConfigError, match=message):
        estimate(plan, prices, LINK, {(0,): 0.5, (1,): 0.5}, sizes)


def test_prices_of_another_plan(plan, tmp_path):
    with pytest.raises(ConfigError, match="'front' has no edge price"):
        estimate(
            partition_plan(tmp_path), price_plan(plan, PHONE, V100), LINK, {(0,): 0.5, (1,): 0.5}, 9
        )


def test_a_tree_with_three_forks_without_any_file():
    plan = tree_plan()
    reach = {(0,): 0.1, (1, 0): 0.3, (1, 1, 0): 0.2, (1, 1, 1): 0.1, (2,): 0.3}
    sizes = {((2,), "raw"): 1000, ((1, 1), "raw"): 2000, ((1, 1, 1), "raw"): 4000}
    prices = Prices(
        PHONE,
        edge_ms={"a": 1, "b": 10, "c": 100},
        cloud_ms={"far": 1, "rest": 2, "late": 4},
    )
    good, poor = Link(8e6, rtt_ms=1), Link(8e5, rtt_ms=1)
    found = estimate(plan, prices, lambda path: good if path == (2,) else poor, reach, sizes)
    assert found.coverage == pytest.approx(0.4)
    assert found.edge_macs == pytest.approx(1e6 * (1 + 0.6 * 2 + 0.3 * 4))
    assert found.cloud_macs == pytest.approx(1e6 * (0.3 * 200 + 0.3 * 100 + 0.1 * 1000))
    assert found.payload_bytes == pytest.approx(0.3 * 1000 + 0.3 * 2000 + 0.1 * 4000)
    assert found.edge_ms == pytest.approx(1 + 0.6 * 10 + 0.3 * 100)
    assert found.link_ms == pytest.approx(0.3 * 2 + 0.3 * 21 + 0.1 * 41)
    assert found.cloud_ms == pytest.approx(0.3 * 1 + 0.3 * 2 + 0.1 * 4)
    with pytest.raises(ConfigError, match="give the reach of each leaf"):
        reach_at(plan, 0.5)


def test_two_cloud_steps_in_a_row_cannot_be_told_apart():
    plan = tree_plan()
    double = Step(
        program="far",
        place="cloud",
        feeds={"x": "x"},
        then=Step(
            program="late",
            place="cloud",
            feeds={"x": "x"},
            then=Leaf(combine=Newest(logits="late.logits")),
        ),
    )
    row = Plan(input=X, programs=plan.programs, root=double, may_not_answer=True)
    with pytest.raises(PlanError, match="cannot be told apart"):
        estimate(row, price_plan(row, PHONE, V100), LINK, {(): 1.0}, 10)


@pytest.mark.parametrize(
    ("bandwidth_bps", "leaf", "payload_bytes"),
    [(BORDER_BPS / 2, (0, 0, 0), 0), (BORDER_BPS * 2, (1,), 48)],
)
def test_forks_by_bandwidth_are_estimated_at_the_link_s_own(
    tmp_path, bandwidth_bps, leaf, payload_bytes
):
    grown = grown_tree(tmp_path)
    around = Around(PHONE, V100, Link(bandwidth_bps, rtt_ms=30))
    rehearsal = Rehearsal("f", {}, np.zeros(2), {}, {}, {((1,), "webp"): np.array([48, 48])})
    found = estimate_around(grown, rehearsal, around)
    prices = price_plan(grown, PHONE, V100)
    assert found == estimate(grown, prices, around.link, {leaf: 1.0}, payload_bytes)
    assert (found.coverage, found.payload_bytes) == (float(leaf != (1,)), payload_bytes)
    # What is sent is all that a rehearsal would add.
    assert estimate_around(grown, None, around, payload_bytes=48) == found


def test_without_a_rehearsal_a_score_is_not_known(plan):
    with pytest.raises(ConfigError, match="how often each of 2 branches is taken"):
        estimate_around(plan, None, Around(PHONE, V100, LINK), payload_bytes=10)
