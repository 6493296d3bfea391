import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_world import BPS, EDGE_MS, KEEP, SEND, SENT_MS, prices, world

from hybridge.cost.reward import Reward
from hybridge.data.dataset import ArrayDataset
from hybridge.emulate.arrivals import at_fixed_rate, at_random, back_to_back
from hybridge.emulate.baselines import best_branch, codecs_of, compare
from hybridge.emulate.emulation import pooled
from hybridge.errors import PlanError
from hybridge.links.synth import cellular
from hybridge.links.trace import Trace
from hybridge.plan.log import DecisionLog, read_log
from hybridge.plan.variants import cloud_only
from hybridge.runtime.rehearse import rehearse
from tiny_plans import images, pair_plan, pair_rehearsal, partition_plan

REWARD = Reward()
COUNT = 30


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return pair_plan(tmp_path_factory.mktemp("programs"), codec="webp", fused=True)


@pytest.fixture(scope="module")
def rehearsal(plan):
    return rehearse(plan, ArrayDataset(images(COUNT), np.arange(COUNT) % 3), codecs_of(plan))


def summaries(comparison):
    return {name: done.summary(REWARD) for name, done in comparison.methods.items()}


def test_a_plan_is_compared_with_every_baseline(plan, rehearsal):
    done = compare(plan, rehearsal, world(), back_to_back(COUNT), REWARD)
    assert list(done.methods) == [
        "plan",
        "edge only",
        "cloud only, raw",
        "cloud only, jpeg-90",
        "cloud only, webp",
        "fixed plan",
        "foresight",
    ]
    assert done.left_out == {}
    rows = summaries(done)
    assert (rows["edge only"].query_rate, rows["cloud only, raw"].query_rate) == (0, 1)
    edge, cloud = rehearsal.answers((0,)), rehearsal.alone["global", "raw"].argmax(axis=1)
    assert rows["edge only"].accuracy == (edge == rehearsal.truth).mean()
    assert rows["cloud only, raw"].accuracy == (cloud == rehearsal.truth).mean()
    for codec in ("raw", "jpeg-90", "webp"):
        sizes = rehearsal.payload_bytes[(1,), codec]
        assert rows[f"cloud only, {codec}"].payload_bytes == pytest.approx(sizes.mean())


def test_the_cloud_alone_computes_nothing_on_the_edge(plan, rehearsal):
    done = compare(plan, rehearsal, world(), back_to_back(COUNT), REWARD).methods
    assert not done["cloud only, raw"].edge_ms.any()
    assert done["cloud only, raw"].latency_ms == pytest.approx(SENT_MS - EDGE_MS)


def test_what_was_not_rehearsed_is_left_out_and_said(plan, rehearsal):
    known = {key: said for key, said in rehearsal.alone.items() if key[1] == "webp"}
    done = compare(plan, replace(rehearsal, alone=known), world(), back_to_back(3), REWARD)
    assert list(done.left_out) == ["cloud only, raw", "cloud only, jpeg-90"]
    assert "jpeg-90" in done.left_out["cloud only, jpeg-90"]
    assert "cloud only, webp" in done.methods


def test_what_a_plan_cannot_be_is_left_out_and_said(plan, rehearsal):
    alone = cloud_only(plan, "raw")
    known = replace(
        rehearsal,
        score={},
        probabilities={((), "raw"): rehearsal.alone["global", "raw"]},
        payload_bytes={((), "raw"): rehearsal.payload_bytes[(1,), "raw"]},
    )
    done = compare(alone, known, world(), back_to_back(3), REWARD)
    assert "without an answer on the edge" in done.left_out["edge only"]
    assert (
        done.methods["plan"].latency_ms.tolist() == done.methods["fixed plan"].latency_ms.tolist()
    )


def test_a_rehearsal_that_does_not_fit_is_an_error_not_an_empty_table(plan):
    with pytest.raises(PlanError, match="leaves"):
        compare(cloud_only(plan), pair_rehearsal(plan, [KEEP]), world(), back_to_back(1), REWARD)


def test_only_images_are_sent_as_images(plan, tmp_path):
    assert codecs_of(plan) == ("raw", "jpeg-90", "webp")
    assert codecs_of(partition_plan(tmp_path)) == ()


def test_all_methods_meet_the_same_requests(plan, rehearsal, tmp_path):
    arrivals = at_random(5, 40, seed=3)
    with DecisionLog(tmp_path / "log.jsonl") as log:
        done = compare(plan, rehearsal, world(), arrivals, REWARD, log).methods
    assert {len(method) for method in done.values()} == {40}
    # The log holds the plan's decisions, and no baseline's.
    assert len(list(read_log(tmp_path / "log.jsonl"))) == 40


def pair(plan, accuracy_of_base, accuracy_of_global):
    """A rehearsal of 10 inputs with given accuracies; the base says 0, the global 2."""
    truth = np.ones(10, np.int64)
    truth[: round(10 * accuracy_of_base)] = 0
    truth[10 - round(10 * accuracy_of_global) :] = 2
    return replace(pair_rehearsal(plan, [KEEP] * 10, codec="webp"), truth=truth)


def test_the_fixed_plan_is_the_branch_that_pays_on_average(plan):
    weak = pair(plan, 0.5, 0.5)
    strong = pair(plan, 0.1, 0.9)
    assert best_branch(plan, weak, world(), REWARD) == (0,)
    assert best_branch(plan, strong, world(), REWARD) == (1,)
    # A tenth of the bandwidth makes it too slow to pay.
    assert best_branch(plan, strong, world(Trace.constant(BPS / 7)), REWARD) == (0,)


@pytest.mark.parametrize(
    "limits",
    [
        {"trace": Trace.constant(0)},
        {"deadline_ms": SENT_MS - 1},
        {"timeout_ms": SENT_MS - EDGE_MS - 1},
        {"timeout_ms": SENT_MS - EDGE_MS - 1, "deadline_ms": math.inf},
    ],
)
def test_the_fixed_plan_is_none_that_comes_too_late(plan, limits):
    keen = Reward(latency_weight=0)
    assert best_branch(plan, pair(plan, 0.1, 0.9), world(), keen) == (1,)
    assert best_branch(plan, pair(plan, 0.1, 0.9), world(**limits), keen) == (0,)


@given(seed=st.integers(0, 30), mbps=st.floats(0.002, 0.1), truth=st.integers(0, 99))
def test_foresight_is_worth_no_less_than_any_branch(plan, seed, mbps, truth):
    rng = np.random.default_rng(truth)
    rehearsal = replace(
        pair_rehearsal(plan, np.zeros(10), codec="webp"), truth=rng.integers(3, size=10)
    )
    trace = cellular(seed, 60, mean_mbps=mbps)
    # One at a time, and every input as often as the others: what it expects is what it gets.
    done = compare(plan, rehearsal, world(trace), at_fixed_rate(0.5, 10), REWARD).methods
    expected = {
        name: REWARD.of(float(done[name].latency_ms.mean()), float(accuracy))
        for name, accuracy in (
            ("edge only", np.mean(rehearsal.truth == 0)),
            ("fixed plan", done["fixed plan"].right.mean()),
        )
    }
    sent = done["foresight"].asked
    accuracy = np.where(sent, np.mean(rehearsal.truth == 2), np.mean(rehearsal.truth == 0)).mean()
    foreseen = REWARD.of(float(done["foresight"].latency_ms.mean()), float(accuracy))
    assert foreseen >= max(expected.values()) - 1e-6


def test_emulations_are_pooled_request_by_request(plan, rehearsal):
    parts = [
        compare(plan, rehearsal, world(trace), at_fixed_rate(10, 20), REWARD).methods["plan"]
        for trace in (Trace.constant(BPS), Trace.constant(BPS / 10))
    ]
    both = pooled(parts)
    assert both.latency_ms.tolist() == [*parts[0].latency_ms, *parts[1].latency_ms]
    assert both.summary(REWARD).requests == 40
    assert both.summary(REWARD).timeouts == sum(part.summary(REWARD).timeouts for part in parts)


def test_energy_that_is_not_known_stays_unknown(plan, rehearsal):
    around = world(prices=prices(device="v100"))
    done = compare(plan, rehearsal, around, back_to_back(2), REWARD).methods["plan"]
    assert done.summary(REWARD).energy_mj is None
    assert pooled([done, done]).energy_mj is None


def test_a_summary_is_of_all_requests(plan):
    rehearsal = replace(
        pair_rehearsal(plan, [SEND, KEEP, KEEP, KEEP], codec="webp"), truth=np.array([2, 0, 0, 1])
    )
    done = compare(plan, rehearsal, world(), back_to_back(4), REWARD).methods["plan"]
    summary = done.summary(REWARD)
    assert (summary.accuracy, summary.query_rate, summary.requests) == (0.75, 0.25, 4)
    assert summary.payload_bytes == 12
    assert summary.latency_ms == pytest.approx((SENT_MS + 3 * EDGE_MS) / 4)
    assert summary.p50_ms == pytest.approx(EDGE_MS)
    assert summary.reward == pytest.approx(REWARD.of(summary.latency_ms, 0.75))
    assert math.isfinite(summary.energy_mj)
