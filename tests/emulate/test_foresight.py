from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_world import (
    BPS,
    EDGE_MS,
    KEEP,
    SEND,
    SENT_MS,
    prices,
    random_rehearsal,
    world,
)

from hybridge.cost.price import Prices
from hybridge.cost.reward import Reward
from hybridge.emulate.arrivals import Arrivals, at_fixed_rate, at_random, back_to_back
from hybridge.emulate.drive import emulate
from hybridge.emulate.foresight import accuracy_by_score, emulate_foresight
from hybridge.links.synth import cellular
from hybridge.links.trace import Trace
from hybridge.plan.plan import Leaf
from hybridge.plan.rehearsal import Rehearsal
from hybridge.plan.variants import pinned
from plan_strategies import plans
from tiny_plans import pair_plan, pair_rehearsal, partition_plan

REWARD = Reward()


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return pair_plan(tmp_path_factory.mktemp("programs"))


def where_the_cloud_is_right(plan, count=4):
    """A rehearsal in which the global is always right, the base never."""
    return replace(pair_rehearsal(plan, [KEEP] * count), truth=np.full(count, 2))


def test_what_pays_is_sent_and_what_does_not_is_kept(plan):
    rehearsal = where_the_cloud_is_right(plan)
    done = emulate_foresight(plan, rehearsal, world(), back_to_back(3), REWARD)
    assert done.asked.all()
    assert done.right.all()
    base_is_right = replace(rehearsal, truth=np.zeros(4, np.int64))
    done = emulate_foresight(plan, base_is_right, world(), back_to_back(3), REWARD)
    assert not done.asked.any()


def test_foresight_sees_an_outage_come_and_never_waits_for_it(plan):
    rehearsal = where_the_cloud_is_right(plan)
    around = world(Trace([0, 5], [BPS, 0], 20))
    done = emulate_foresight(plan, rehearsal, around, at_fixed_rate(10, 100), REWARD)
    assert not done.failed.any()
    assert done.asked[:49].all()
    assert not done.asked[50:].any()
    # The same requests, sent blindly.
    blind = emulate(pinned(plan, (1,)), rehearsal, around, at_fixed_rate(10, 100))
    assert blind.failed.sum() == 50


def test_foresight_sees_the_queue(plan):
    rehearsal = where_the_cloud_is_right(plan)
    half = Reward(latency_limit_ms=SENT_MS + 5, accuracy_weight=300, accuracy_floor=0)
    # Sending is worth its time for one message, and not behind another one.
    around = world(Trace.constant(BPS), prices=prices(edge_ms=0))
    done = emulate_foresight(plan, rehearsal, around, at_random(1e6, 3, 0), half)
    assert done.asked.tolist() == [True, False, False]


def test_foresight_sees_the_edge_s_own_queue(tmp_path):
    plan = partition_plan(tmp_path)
    rehearsal = random_rehearsal(plan, np.random.default_rng(0))
    takes_ms = {"front": 10.0, "near": 10.0, "far": 0.0}
    around = world(
        Trace.constant(1e12), rtt_ms=15, prices=Prices(prices().device, takes_ms, takes_ms)
    )
    fastest = Reward(accuracy_weight=0)
    # Alone, 10 ms more on the edge are less than the round trip; behind another's front, more.
    for times_ms, latency_ms in (([0], [20]), ([0, 1], [25, 29])):
        arrivals = Arrivals(len(times_ms), np.array(times_ms, np.float64))
        done = emulate_foresight(plan, rehearsal, around, arrivals, fastest)
        np.testing.assert_allclose(done.latency_ms, latency_ms, atol=1e-6)


def test_a_deadline_that_the_cloud_cannot_meet_keeps_everything(plan):
    rehearsal = where_the_cloud_is_right(plan)
    for limits in ({"deadline_ms": SENT_MS - 1}, {"timeout_ms": SENT_MS - EDGE_MS - 1}):
        done = emulate_foresight(plan, rehearsal, world(**limits), back_to_back(3), REWARD)
        assert not done.asked.any()


def test_foresight_knows_scores_and_no_labels(plan):
    """Half of the inputs are hard; the cloud is right on every other one of them, at random."""
    count = 200
    hard = np.arange(count) >= count / 2
    rng = np.random.default_rng(0)
    rehearsal = replace(
        pair_rehearsal(plan, np.where(hard, SEND, KEEP) + rng.normal(scale=0.1, size=count)),
        truth=np.where(hard & (rng.random(count) < 0.5), 2, 0),
    )
    done = emulate_foresight(plan, rehearsal, world(), back_to_back(count), Reward())
    assert not done.asked[~hard].any()
    # What the cloud alone can do is no more likely than what the base can: the faster is taken.
    assert not done.asked.any()
    keen = replace(rehearsal, truth=np.where(hard & (rng.random(count) < 0.9), 2, 0))
    done = emulate_foresight(plan, keen, world(), back_to_back(count), Reward())
    assert (done.asked == hard).all()


def test_accuracy_goes_by_held_out_scores_where_there_are_some(plan):
    rehearsal = pair_rehearsal(plan, np.arange(100) / 100)
    right = [index >= 50 for index in range(100)]
    by_score = accuracy_by_score(rehearsal, (), right)
    assert (by_score[:50].tolist(), by_score[50:].tolist()) == ([0.0] * 50, [1.0] * 50)
    turned = replace(rehearsal, held_out_score={(): np.arange(100)[::-1] / 100})
    assert accuracy_by_score(turned, (), right)[0] == 1.0


def test_without_a_score_all_inputs_look_alike(plan):
    rehearsal = pair_rehearsal(plan, np.zeros(4))
    assert accuracy_by_score(rehearsal, (7,), [True, False, False, False]).tolist() == [0.25] * 4
    assert accuracy_by_score(rehearsal, (), [True, False, False, False]).tolist() == [0.25] * 4


@given(st.lists(st.tuples(st.floats(), st.booleans()), min_size=1, max_size=300))
def test_an_expected_accuracy_is_a_share_whatever_the_scores(pairs):
    score, right = zip(*pairs, strict=True)
    rehearsal = Rehearsal("f", {}, np.zeros(len(pairs)), {(): np.array(score)}, {}, {})
    found = accuracy_by_score(rehearsal, (), list(right))
    assert found.shape == (len(pairs),)
    assert ((found >= 0) & (found <= 1)).all()


@given(plan=plans(), seed=st.integers(0, 20), deadline_ms=st.none() | st.floats(1, 300))
def test_no_branch_of_any_plan_is_better_than_the_one_foreseen(plan, seed, deadline_ms):
    takes_ms = dict.fromkeys(plan.programs, 3.0)
    around = world(
        cellular(seed, 30, mean_mbps=0.02),
        prices=Prices(prices().device, takes_ms, takes_ms),
        deadline_ms=deadline_ms,
    )
    # So few inputs look all alike: a leaf's accuracy is the same for each of them.
    rehearsal = random_rehearsal(plan, np.random.default_rng(seed))
    one, all_five = back_to_back(1), back_to_back(len(rehearsal))
    options = {}
    for placed in plan.nodes():
        if isinstance(placed.node, Leaf):
            branch = pinned(plan, placed.path)
            done = emulate(branch, rehearsal, around, one)
            if not done.failed[0]:
                nowhere = replace(around, trace=Trace.constant(1e12), deadline_ms=None)
                accuracy = emulate(branch, rehearsal, nowhere, all_five).right.mean()
                latency_ms = float(done.latency_ms[0])
                options[REWARD.of(latency_ms, float(accuracy))] = latency_ms
    done = emulate_foresight(plan, rehearsal, around, one, REWARD)
    assert not done.failed[0]
    assert done.latency_ms[0] == pytest.approx(options[max(options)])
