"""A recorded log under other policies: what is known of them, and what is expected."""

import dataclasses

import numpy as np
import pytest
from tiny_world import SENT_MS, world

from hybridge.data.dataset import ArrayDataset
from hybridge.emulate.arrivals import at_fixed_rate
from hybridge.emulate.drive import emulate
from hybridge.emulate.replay import Recording
from hybridge.errors import ConfigError, DataError
from hybridge.plan.bundle import Bundle
from hybridge.plan.decision import Decision
from hybridge.plan.log import DecisionLog, Record, read_log
from hybridge.plan.variants import abstaining, with_threshold
from hybridge.runtime.cloud.local import LocalTransport
from hybridge.runtime.cloud.models import Models
from hybridge.runtime.edge.edge import EdgeRuntime
from hybridge.runtime.rehearse import rehearse
from hybridge.walk.threshold import Budget, Coverage, Fixed, WorthIt, parse_policy
from tiny_plans import images, pair_plan, pair_rehearsal
from tiny_trees import tree_plan

EDGE_MS, ASKING_MS = 2.0, 30.0
EVERYTHING, NOTHING = Coverage(coverage=0), Coverage(coverage=1)
POLICIES = ("fixed", "coverage:0.7", "budget:9000", "budget:400KB", "cost:4ms")


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return pair_plan(tmp_path_factory.mktemp("replay"))


def logged(path, play):
    with DecisionLog(path) as log:
        play(log)
    return list(read_log(path))


def sent_of(records):
    return [record.decision.wanted for record in records]


@pytest.mark.parametrize("text", POLICIES)
def test_the_policy_that_was_recorded_decides_the_same_again(plan, tmp_path, text):
    rehearsal = pair_rehearsal(plan, np.random.default_rng(0).normal(size=120))
    policy = parse_policy(text)
    around = world(message_ms=1.0, policy=policy)
    records = logged(
        tmp_path / "log.jsonl",
        lambda log: emulate(plan, rehearsal, around, at_fixed_rate(5, 300), log),
    )
    recording = Recording(records, plan, rehearsal)
    replayed = recording.under(policy)
    recorded = recording.as_recorded()
    assert 0 < replayed.sent.mean() < 1
    assert replayed.sent.tolist() == recorded.sent.tolist() == sent_of(records)
    assert replayed.measured.all()
    assert replayed.latency_ms.tolist() == [each.decision.latency_ms for each in records]


@pytest.mark.parametrize("policy", [Fixed(), Coverage(coverage=0.6)])
def test_so_it_does_for_what_a_runtime_wrote(tmp_path, policy):
    plan = pair_plan(tmp_path)
    pixels = images(60)
    truth = np.arange(60) % 3
    rehearsal = rehearse(plan, ArrayDataset(pixels, truth))
    plan = with_threshold(plan, float(np.median(rehearsal.score[()])))
    cloud = LocalTransport(Models({"tiny": plan.programs_at("cloud")}))

    def answer(log):
        with EdgeRuntime(Bundle(plan, rehearsal), cloud, log=log, policy=policy) as edge:
            for image, label in zip(pixels, truth.tolist(), strict=True):
                edge.predict(image, truth=label)

    records = logged(tmp_path / "log.jsonl", answer)
    recording = Recording(records, plan, rehearsal)
    assert 0.3 < np.mean(sent_of(records)) < 0.7
    assert recording.under(policy).sent.tolist() == sent_of(records)
    # The base ran for every input, and its labels were written down: keeping all is known.
    alone = recording.under(NOTHING).summary()
    assert (alone.sent, alone.share_known) == (0, 1)
    assert alone.accuracy == np.mean(rehearsal.answers((0,)) == truth)


def decision(plan, score, sent, **more):
    leaf = dict(plan.leaves())[(int(sent),)]
    return Decision(
        path=(int(sent),),
        leaf=leaf,
        source="cloud" if sent else "edge",
        reason="as it is",
        score=score,
        latency_ms=EDGE_MS + ASKING_MS * sent,
        edge_ms=EDGE_MS,
        link_ms=20.0 * sent,
        cloud_ms=10.0 * sent,
        payload_bytes=100 * sent,
        wanted=sent,
        asked=sent,
        failure=None,
        **more,
    )


@pytest.fixture
def two(plan):
    """One input kept, on which the edge was right, and one sent, on which it was not."""
    kept = Record(1.0, 0, decision(plan, -1.0, False, expected_ms=50.0), edge_label=0, truth=0)
    sent = Record(2.0, 2, decision(plan, 1.0, True), edge_label=0, truth=2)
    return [kept, sent]


def recording(plan, records):
    """Over a rehearsal of which the edge gets the lower half right, the cloud the upper."""
    rehearsal = pair_rehearsal(plan, np.arange(200) - 99.5)
    truth = np.where(np.arange(200) < 100, 0, 2)
    return Recording(records, plan, dataclasses.replace(rehearsal, truth=truth))


def test_what_was_recorded_is_known(plan, two):
    found = recording(plan, two).as_recorded().summary()
    assert (found.requests, found.sent, found.accuracy, found.share_known) == (2, 0.5, 1, 1)
    assert (found.accuracy_known, found.accuracy_expected) == (1, None)
    assert (found.latency_ms, found.share_measured) == (EDGE_MS + ASKING_MS / 2, 1)
    assert found.payload_bytes == 50


def test_staying_home_is_known_where_the_edge_said_something(plan, two):
    found = recording(plan, two).under(NOTHING)
    assert found.known.tolist() == [True, True]
    assert found.right.tolist() == [1, 0]
    assert found.latency_ms.tolist() == [EDGE_MS, EDGE_MS]
    assert found.measured.tolist() == [True, False]
    assert found.payload_bytes.sum() == 0


def test_what_the_cloud_would_have_said_is_expected_by_score(plan, two):
    found = recording(plan, two).under(EVERYTHING)
    assert found.known.tolist() == [False, True]
    # The cloud is wrong wherever the score is below zero.
    assert found.right.tolist() == [0, 1]
    assert found.latency_ms.tolist() == [EDGE_MS + 50, EDGE_MS + ASKING_MS]
    assert found.payload_bytes.tolist() == [48, 100]
    summary = found.summary()
    assert (summary.accuracy_known, summary.accuracy_expected) == (1, 0)
    assert summary.share_known == 0.5


def test_without_the_truth_all_is_expected(plan, two):
    unlabelled = [dataclasses.replace(record, truth=None) for record in two]
    found = recording(plan, unlabelled).as_recorded()
    assert not found.known.any()
    assert found.right.tolist() == [1, 1]


def test_without_an_estimate_asking_takes_what_it_took(plan, two):
    kept, sent = two
    kept = dataclasses.replace(kept, decision=decision(plan, -1.0, False))
    found = recording(plan, [kept, sent]).under(EVERYTHING)
    assert found.latency_ms.tolist() == [EDGE_MS + ASKING_MS, EDGE_MS + ASKING_MS]
    never_asked = recording(plan, [kept]).under(EVERYTHING).summary()
    assert (never_asked.latency_ms, never_asked.p95_ms) == (None, None)


@pytest.mark.parametrize(
    "more",
    [
        {"breaker": "open"},
        {"deadline_ms": 40.0},
        {"deadline_ms": EDGE_MS},
    ],
)
def test_a_cloud_that_would_not_have_been_asked_is_not(plan, more):
    kept = decision(plan, -1.0, False, expected_ms=50.0, **more)
    found = recording(plan, [Record(1.0, 0, kept, truth=0)]).under(EVERYTHING)
    assert found.sent.tolist() == [True]
    assert (found.right.tolist(), found.known.tolist()) == ([1], [True])
    assert (found.latency_ms.tolist(), found.payload_bytes.tolist()) == ([EDGE_MS], [0])


def test_dear_links_keep_more_at_home(plan, two):
    slow = dataclasses.replace(two[1].decision, expected_ms=1e4)
    records = [dataclasses.replace(two[1], decision=slow), two[1]]
    found = recording(plan, records).under(WorthIt(ms_per_point=1.0))
    assert sorted(found.sent.tolist()) == [False, True]


def test_a_budget_is_kept(plan):
    records = [
        Record(float(second), 2, decision(plan, score, True))
        for second, score in enumerate(np.random.default_rng(0).uniform(-99, 99, 3600).tolist())
    ]
    found = recording(plan, records).under(Budget(queries_per_hour=360))
    assert found.sent.mean() == pytest.approx(0.1, abs=0.02)


def test_what_was_not_asked_costs_a_budget_nothing(plan):
    """An outage: what would be sent finds the breaker open, so that the bucket stays full."""
    away = dataclasses.replace(
        decision(plan, 120.0, True, breaker="open"),
        path=(0,),
        source="edge",
        asked=False,
        payload_bytes=0,
        failure="away",
        leaf=dict(plan.leaves())[(0,)],
    )
    records = [Record(float(second), 0, away) for second in range(3600)]
    found = recording(plan, records).under(Budget(queries_per_hour=60))
    assert found.sent.sum() > 90


def test_energy_is_weighed_only_for_a_device_that_is_known(plan, two):
    with pytest.raises(ConfigError, match="device whose power is known"):
        recording(plan, two).under(WorthIt(mj_per_point=1.0))


def test_requests_are_taken_in_the_order_of_their_forks(plan, two):
    assert recording(plan, two[::-1]).as_recorded().sent.tolist() == [False, True]


def test_another_plan_s_log_is_refused(plan, two, tmp_path):
    rehearsal = pair_rehearsal(plan, [0.0])
    with pytest.raises(DataError, match="another plan"):
        Recording(
            [dataclasses.replace(two[0], decision=decision(abstaining(plan), 1.0, True))],
            plan,
            rehearsal,
        )
    with pytest.raises(DataError, match="empty"):
        Recording([], plan, rehearsal)
    with pytest.raises(ConfigError, match="one fork by score"):
        Recording(two, tree_plan(tmp_path, 1e6), rehearsal)


def test_expected_latencies_come_near_those_that_are_measured(plan, tmp_path):
    """Recorded with few queries, replayed with all: beside what sending all really takes."""
    rehearsal = pair_rehearsal(plan, np.random.default_rng(1).normal(size=60))

    def emulated(policy):
        path = tmp_path / f"{policy.kind}{policy.coverage}.jsonl"
        around = world(policy=policy)
        return logged(
            path, lambda log: emulate(plan, rehearsal, around, at_fixed_rate(5, 120), log)
        )

    some = emulated(Coverage(coverage=0.5))
    found = Recording(some, plan, rehearsal).under(EVERYTHING).summary()
    assert found.share_measured == pytest.approx(0.5, abs=0.05)
    assert found.latency_ms == pytest.approx(SENT_MS, rel=0.05)
