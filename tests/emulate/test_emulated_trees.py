"""Trees that fork by bandwidth, emulated: forks in a row, homes, features that are sent."""

import math
from dataclasses import replace

import numpy as np
import pytest
from tiny_world import random_rehearsal

from hybridge.cost.device import devices
from hybridge.cost.price import price_plan
from hybridge.cost.reward import Reward
from hybridge.data.dataset import ArrayDataset
from hybridge.emulate.arrivals import at_fixed_rate, back_to_back
from hybridge.emulate.baselines import best_branch, codecs_of, compare
from hybridge.emulate.drive import emulate
from hybridge.emulate.foresight import emulate_foresight
from hybridge.emulate.world import World
from hybridge.errors import ConfigError
from hybridge.links.link import Link
from hybridge.links.trace import Trace
from hybridge.plan.log import DecisionLog, read_log
from hybridge.plan.variants import pinned
from hybridge.runtime.rehearse import rehearse
from tiny_plans import images
from tiny_trees import BORDER_BPS, fork_once, tree_plan

COUNT = 12
RTT_MS = 5.0
POOR, GOOD = BORDER_BPS / 2, BORDER_BPS * 2
#: At these speeds, features take 22 ms, a slim block 1 to 3, a whole one 6 to 12.
FAST_BPS = 8000.0
FASTEST = Reward(accuracy_weight=0)


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return tree_plan(tmp_path_factory.mktemp("tree"))


@pytest.fixture(scope="module")
def rehearsal(plan):
    return rehearse(plan, ArrayDataset(images(COUNT), np.arange(COUNT) % 3), codecs_of(plan))


@pytest.fixture(scope="module")
def prices(plan):
    return price_plan(plan, devices.get("xiaomi-mi6x"), devices.get("v100"))


@pytest.fixture
def world(prices):
    def world(trace, **more):
        return World(prices, trace, Link(1e6, RTT_MS), **more)

    return world


def paths(plan, rehearsal, around, arrivals, folder):
    with DecisionLog(folder / "log.jsonl") as log:
        emulate(plan, rehearsal, around, arrivals, log)
    return [record.decision.path for record in read_log(folder / "log.jsonl")]


def test_a_request_goes_by_what_it_sees_before_each_block(plan, rehearsal, world, tmp_path):
    # The first sees nothing, then the poor link; the one at 1 s the good link; the one at 2 s half
    # a second of each, which is good; the one at 3 s the poor one.
    trace = Trace([0, 0.5, 1.5], [POOR, GOOD, POOR], 10.0)
    found = paths(plan, rehearsal, world(trace), at_fixed_rate(1, 4), tmp_path)
    assert found == [(0, 0, 0), (1,), (1,), (0, 0, 0)]


def test_a_link_that_turns_good_on_the_way_is_used_on_the_way(plan, rehearsal, world, prices):
    slim1_ms, front2_ms = prices.edge_ms["slim1"], prices.edge_ms["front2"]
    trace = Trace([0, slim1_ms / 2e3], [0.0, FAST_BPS], 10.0)
    done = emulate(plan, rehearsal, world(trace, sense_window_s=1e-4), back_to_back(1))
    # int8-zstd makes 22 bytes of 5 features.
    link_ms = 8000 * 22 / FAST_BPS + RTT_MS
    assert done.edge_ms[0] == pytest.approx(slim1_ms + front2_ms)
    assert done.link_ms[0] == pytest.approx(link_ms)
    assert done.payload_bytes[0] == 22
    assert done.asked[0]


def test_a_window_must_be_a_length(world):
    with pytest.raises(ConfigError, match="window of more than 0 seconds, got 0"):
        world(Trace.constant(GOOD), sense_window_s=0)


def test_a_longer_window_is_slower_to_follow(plan, rehearsal, world):
    trace = Trace([0, 1], [POOR, GOOD], 2.0)
    arrivals = at_fixed_rate(10, 20)
    asked = [
        emulate(plan, rehearsal, world(trace, sense_window_s=length_s), arrivals).asked[10:].sum()
        for length_s in (0.05, 0.5, 2.0)
    ]
    assert asked == sorted(asked, reverse=True)
    assert asked[0] > asked[-1]


def test_every_baseline_of_a_tree_is_played(plan, rehearsal, world, prices):
    done = compare(plan, rehearsal, world(Trace.constant(GOOD)), at_fixed_rate(2, 20), Reward())
    assert done.left_out == {}
    assert list(done.methods)[:2] == ["plan", "edge only"]
    home_ms = sum(prices.edge_ms[f"block{block}"] for block in (1, 2, 3))
    assert done.methods["edge only"].latency_ms == pytest.approx(home_ms)
    sizes = rehearsal.payload_bytes[(1,), "jpeg-90"]
    assert done.methods["cloud only, jpeg-90"].payload_bytes[:COUNT].tolist() == sizes.tolist()


def test_a_tree_that_never_sends_the_image_has_no_cloud_only_and_says_why(tmp_path, world):
    plan = fork_once(tmp_path)
    rehearsal = rehearse(plan, ArrayDataset(images(3), np.zeros(3, np.int64)), codecs_of(plan))
    done = compare(plan, rehearsal, world(Trace.constant(GOOD)), back_to_back(3), Reward())
    assert list(done.left_out) == [f"cloud only, {codec}" for codec in ("raw", "jpeg-90", "webp")]
    assert all("answers by itself" in why for why in done.left_out.values())
    assert list(done.methods) == ["plan", "edge only", "fixed plan", "foresight"]


def test_image_codecs_are_rehearsed_where_images_are_sent_and_nowhere_else(plan, rehearsal):
    found = {path: set() for path, _ in rehearsal.payload_bytes}
    for path, codec in rehearsal.payload_bytes:
        found[path].add(codec)
    assert found == {
        (1,): {"raw", "jpeg-90", "webp"},
        (0, 1): {"raw", "int8-zstd"},
        (0, 0, 1): {"raw", "int8-zstd"},
    }


def test_the_cloud_failing_leads_home_and_is_an_answer(plan, rehearsal, world, prices):
    # What was seen is good, and nothing gets through any more.
    trace = Trace([0, 1], [GOOD, 0.0], 100.0)
    around = world(trace, timeout_ms=300, sense_window_s=1.2)
    arrivals = at_fixed_rate(0.9, 2)
    done = emulate(plan, rehearsal, around, arrivals)
    home_ms = sum(prices.edge_ms[f"block{block}"] for block in (1, 2, 3))
    assert (done.failed.tolist(), done.answered.all()) == ([False, True], True)
    assert done.latency_ms[1] == pytest.approx(300 + home_ms)
    at_home = rehearsal.answers((2,)) == rehearsal.truth
    assert done.right[1] == at_home[1]


@pytest.mark.parametrize(("bandwidth_bps", "leaf"), [(POOR, (0, 0, 0)), (1e9, (1,))])
def test_the_fixed_plan_is_the_branch_that_the_mean_bandwidth_favours(
    plan, rehearsal, world, bandwidth_bps, leaf
):
    around = replace(world(Trace.constant(bandwidth_bps)), link=Link(1e6))
    assert best_branch(plan, rehearsal, around, FASTEST) == leaf


@pytest.mark.parametrize("seed", range(8))
def test_foresight_is_as_fast_as_the_fastest_branch(plan, world, seed):
    """Alone on the device, over a link that changes between one block and the next."""
    rng = np.random.default_rng(seed)
    trace = Trace((np.arange(60) / 200).tolist(), rng.choice([0.0, 5e4], 60).tolist(), 0.3)
    rehearsal = random_rehearsal(plan, rng)
    around, one = world(trace), back_to_back(1)
    latencies_ms = [
        emulate(pinned(plan, leaf), rehearsal, around, one).latency_ms[0]
        for leaf, _ in plan.leaves()
    ]
    done = emulate_foresight(plan, rehearsal, around, one, FASTEST)
    assert done.latency_ms[0] == pytest.approx(min(latencies_ms))
    blind = emulate(plan, rehearsal, around, one).latency_ms[0]
    assert done.latency_ms[0] <= blind + 1e-9


def test_an_outage_without_end_ends_in_answers_of_the_edge(plan, rehearsal, world):
    done = compare(plan, rehearsal, world(Trace.constant(0)), at_fixed_rate(10, 30), Reward())
    for name in ("plan", "edge only", "fixed plan", "foresight"):
        assert not done.methods[name].asked.any()
        assert done.methods[name].answered.all()
    assert math.isfinite(done.methods["plan"].summary(Reward()).reward)
