import heapq
import math
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_world import (
    BPS,
    CLOUD_MS,
    EDGE_MS,
    KEEP,
    RTT_MS,
    SEND,
    SENDING_MS,
    SENT_MS,
    prices,
    random_rehearsal,
    world,
)

from hybridge.cost.price import Prices, energy_mj
from hybridge.emulate.arrivals import Arrivals, at_fixed_rate, at_random, back_to_back
from hybridge.emulate.drive import emulate
from hybridge.emulate.world import DAY_MS
from hybridge.errors import ConfigError, PlanError, TransportError
from hybridge.links.channel import Channel
from hybridge.links.synth import cellular
from hybridge.links.trace import Trace
from hybridge.plan.log import DecisionLog, read_log
from hybridge.plan.variants import abstaining, cloud_only, edge_only
from hybridge.runtime import clock
from hybridge.walk.breaker import BreakerSettings
from hybridge.walk.events import Failed, Ran, Run, Told
from hybridge.walk.walk import walk
from plan_strategies import plans
from tiny_plans import pair_plan, pair_rehearsal


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return pair_plan(tmp_path_factory.mktemp("programs"))


def play(plan, scores, arrivals, around, **more):
    return emulate(plan, pair_rehearsal(plan, scores), around, arrivals, **more)


def at(*times_ms):
    return Arrivals(len(times_ms), np.array(times_ms, np.float64))


def test_a_kept_request_takes_its_program_alone(plan):
    done = play(plan, [KEEP], at(0), world())
    assert done.latency_ms.tolist() == done.edge_ms.tolist() == [EDGE_MS]
    assert (done.asked.any(), done.failed.any(), done.answered.all()) == (False, False, True)
    assert done.payload_bytes.tolist() == [0]


def test_a_sent_request_pays_for_everything_on_its_way(plan):
    done = play(plan, [SEND], at(0), world(message_ms=3))
    assert done.latency_ms.tolist() == [SENT_MS + 3]
    assert done.edge_ms.tolist() == [EDGE_MS]
    assert done.link_ms.tolist() == [SENDING_MS + 3 + RTT_MS]
    assert done.cloud_ms.tolist() == [CLOUD_MS]
    assert (done.payload_bytes.tolist(), done.asked.tolist()) == ([48], [True])


def test_the_edge_is_one_queue(plan):
    done = play(plan, [KEEP], at(0, 1, 2, 50), world())
    assert done.latency_ms.tolist() == [10, 19, 28, 10]


def test_the_link_is_one_queue_and_the_cloud_is_none(plan):
    done = play(plan, [SEND], at(0, 0, 0), world())
    link_ms = SENDING_MS + RTT_MS
    assert done.edge_ms.tolist() == [10, 20, 30]
    assert done.link_ms.tolist() == [link_ms, link_ms + 38, link_ms + 76]


def test_requests_back_to_back_never_queue(plan):
    done = play(plan, [SEND, KEEP], back_to_back(4), world())
    assert done.latency_ms.tolist() == pytest.approx([SENT_MS, EDGE_MS] * 2)


def test_the_inputs_are_played_in_order_again_and_again(plan):
    done = play(plan, [SEND, KEEP, KEEP], at_fixed_rate(1, 7), world())
    assert done.asked.tolist() == [True, False, False, True, False, False, True]
    # The base always says class 0, the global class 2; the truth is 0, 1, 2.
    assert done.right.tolist() == [False] * 7
    done = play(plan, [KEEP, KEEP, SEND], at_fixed_rate(1, 6), world())
    assert done.right.tolist() == [True, False, True] * 2


def test_the_link_drains_as_the_trace_says(plan):
    trace = Trace([0, 1, 2], [BPS, BPS / 2, BPS], 3)
    done = play(plan, [SEND], at(0, 1000, 1980), world(trace))
    around = EDGE_MS + RTT_MS + CLOUD_MS
    # The last begins 10 ms before the bandwidth doubles: 5 ms' worth of bits have crossed by then.
    np.testing.assert_allclose(done.latency_ms - around, [48, 96, 53])


def test_a_message_that_would_come_too_late_fails_at_its_limit(plan):
    done = play(plan, [SEND], at(0), world(deadline_ms=40))
    assert done.latency_ms.tolist() == [40]
    assert (done.failed.tolist(), done.asked.tolist()) == ([True], [True])
    assert (done.answered.tolist(), done.payload_bytes.tolist()) == ([True], [48])


@pytest.mark.parametrize(("limit_ms", "fails"), [(SENT_MS - 1, True), (SENT_MS, False)])
def test_the_cloud_s_own_time_counts_against_the_deadline(plan, limit_ms, fails):
    done = play(plan, [SEND], at(0), world(deadline_ms=limit_ms))
    assert done.failed.tolist() == [fails]
    assert done.latency_ms.tolist() == [limit_ms]


def test_the_deadline_counts_from_the_arrival_not_from_the_edge_s_turn(plan):
    done = play(plan, [SEND], at(0, 0, 0), world(Trace.constant(BPS * 100), deadline_ms=50))
    assert done.failed.tolist() == [False, False, True]
    assert done.latency_ms[2] == 50


def test_with_no_time_left_nothing_is_sent(plan):
    done = play(plan, [SEND], at(0), world(deadline_ms=EDGE_MS))
    assert (done.failed.tolist(), done.asked.tolist()) == ([True], [False])
    assert done.payload_bytes.tolist() == [0]


def test_without_a_deadline_the_timeout_limits_the_wait(plan):
    done = play(plan, [SEND], at(0), world(Trace.constant(0)))
    assert done.latency_ms.tolist() == [EDGE_MS + 1000]
    done = play(plan, [SEND], at(0), world(Trace.constant(0), timeout_ms=70))
    assert done.latency_ms.tolist() == [EDGE_MS + 70]


def test_an_infinite_deadline_is_none(plan):
    done = play(plan, [SEND], at(0), world(Trace.constant(0), deadline_ms=math.inf))
    assert done.latency_ms.tolist() == [EDGE_MS + 1000]


def test_what_is_withdrawn_frees_the_link(plan):
    done = play(plan, [SEND, SEND], at(0, 100), world(Trace([0, 0.1], [0, BPS], 99), timeout_ms=90))
    assert done.failed.tolist() == [True, False]
    assert done.latency_ms[1] == pytest.approx(SENT_MS)


def test_an_outage_of_minutes_is_survived_and_counted(plan):
    trace = Trace([0, 60, 360], [BPS, 0, BPS], 420)
    done = play(plan, [SEND], at_fixed_rate(1, 420), world(trace))
    assert done.answered.all()
    assert done.failed[60:360].all()
    # Three that wait in vain open the breaker; then one is tried now and then.
    np.testing.assert_allclose(done.latency_ms[60:63], EDGE_MS + 1000)
    assert np.median(done.latency_ms[63:360]) == EDGE_MS
    assert done.asked[63:360].mean() < 0.5
    longest_s = 1 + math.ceil(BreakerSettings().longest_ms / 1e3)
    assert not done.failed[360 + longest_s :].any()
    np.testing.assert_allclose(done.latency_ms[360 + longest_s :], SENT_MS)


def test_without_a_breaker_every_request_of_an_outage_waits(plan):
    trace = Trace([0, 60, 360], [BPS, 0, BPS], 420)
    done = play(plan, [SEND], at_fixed_rate(1, 420), replace(world(trace), breaker=None))
    assert np.flatnonzero(done.failed).tolist() == list(range(60, 360))
    np.testing.assert_allclose(done.latency_ms[60:360], EDGE_MS + 1000)
    np.testing.assert_allclose(done.latency_ms[360:], SENT_MS)


@pytest.mark.parametrize("deadline_ms", [None, math.inf, 1e300])
def test_a_link_that_is_dead_for_ever_ends_all_the_same(plan, deadline_ms):
    around = world(Trace.constant(0), deadline_ms=deadline_ms, timeout_ms=math.inf)
    done = play(plan, [SEND], at(0, 1), around)
    assert done.failed.all()
    assert done.latency_ms.max() <= DAY_MS + 2 * EDGE_MS


def test_limits_are_the_runtime_s():
    assert DAY_MS == clock.DAY_MS


def test_a_plan_that_may_not_answer_does_not(plan):
    rehearsal = pair_rehearsal(plan, [SEND] * 3)
    alone = cloud_only(plan)
    known = replace(
        rehearsal,
        score={},
        probabilities={((), "raw"): rehearsal.probabilities[(1,), "raw"]},
        payload_bytes={((), "raw"): rehearsal.payload_bytes[(1,), "raw"]},
    )
    trace = Trace([0, 1], [BPS, 0], 1e6)
    done = emulate(alone, known, world(trace), at_fixed_rate(1, 3))
    assert done.answered.tolist() == [True, False, False]
    assert done.failed.tolist() == [False, True, True]
    assert not done.right[1:].any()
    assert done.latency_ms[1:].tolist() == done.link_ms[1:].tolist() == [1000, 1000]
    assert done.payload_bytes.tolist() == [48] * 3


def test_an_abstaining_leaf_gives_no_answer(plan):
    alone = abstaining(plan)
    rehearsal = pair_rehearsal(plan, [KEEP, SEND])
    said = rehearsal.probabilities[(0,), None]
    known = replace(rehearsal, probabilities={((0,), None): said, ((1,), None): said})
    done = emulate(alone, known, world(), at(0, 100))
    assert done.answered.tolist() == [True, False]
    assert done.right.tolist() == [True, False]


def test_energy_is_that_of_computing_sending_and_waiting(plan):
    done = play(plan, [KEEP, SEND], at(0, 1000), world())
    device = prices().device
    kept = energy_mj(device, EDGE_MS, 0.0, 0.0)
    sent = energy_mj(device, EDGE_MS, SENDING_MS, RTT_MS + CLOUD_MS)
    np.testing.assert_allclose(done.energy_mj, [kept, sent])


def test_queueing_costs_time_and_no_energy(plan):
    alone = play(plan, [SEND], at(0), world())
    queued = play(plan, [SEND], at(0, 0, 0), world())
    np.testing.assert_allclose(queued.energy_mj, np.repeat(alone.energy_mj, 3))


def test_a_device_of_unknown_power_spends_nothing_known(plan):
    done = play(plan, [SEND], at(0), world(prices=prices(device="v100")))
    assert done.energy_mj is None


def test_the_log_is_the_runtime_s_own(plan, tmp_path):
    with DecisionLog(tmp_path / "log.jsonl") as log:
        done = play(plan, [KEEP, SEND], at(0, 1000), world(), log=log)
    kept, sent = read_log(tmp_path / "log.jsonl")
    assert (kept.label, sent.label) == (0, 2)
    assert (kept.decision.path, sent.decision.path) == ((0,), (1,))
    assert sent.decision.reason == "score above threshold"
    assert sent.time_s == pytest.approx(1 + SENT_MS / 1e3)
    assert sent.decision.latency_ms == done.latency_ms[1]


def test_a_rehearsal_of_another_plan_is_refused(plan):
    with pytest.raises(PlanError, match="leaves"):
        emulate(edge_only(plan), pair_rehearsal(plan, [KEEP]), world(), at(0))


def test_a_program_without_a_price_is_refused(plan):
    with pytest.raises(ConfigError, match="'global' has no cloud price"):
        play(plan, [KEEP], at(0), world(prices=replace(prices(), cloud_ms={})))


@pytest.mark.parametrize("limit_ms", [-1, math.nan, -math.inf])
@pytest.mark.parametrize("name", ["deadline_ms", "timeout_ms"])
def test_a_limit_is_a_time(name, limit_ms):
    with pytest.raises(ConfigError, match=f"expected {name} of 0 or more"):
        world(**{name: limit_ms})


class Plain:
    """A world that keeps every event in one queue: slow, and plainly right."""

    def __init__(self, plan, rehearsal, around):
        self.plan, self.rehearsal, self.world = plan, rehearsal, around
        self.edge_free_ms, self.channel = 0.0, Channel(around.trace)
        self.seen = around.observer(plan, rehearsal)

    def latencies(self, times_ms):
        done, queue, turns = {}, [(at_ms, i, i, None, None) for i, at_ms in enumerate(times_ms)], 0
        while queue:
            now_ms, _, i, course, event = heapq.heappop(queue)
            try:
                if course is None:
                    course = walk(self.plan, now_ms, self.world.deadline_ms, self.seen)
                request = course.send(event)
            except (StopIteration, TransportError):
                done[i] = now_ms - times_ms[i]
                continue
            event = self.answer(request, now_ms, i % len(self.rehearsal))
            turns += 1
            heapq.heappush(queue, (event.now_ms, len(times_ms) + turns, i, course, event))
        return [done[i] for i in range(len(times_ms))]

    def answer(self, request, now_ms, row):
        score = self.rehearsal.score.get(request.path)
        score = None if score is None or request.step.then.kind != "fork" else float(score[row])
        if isinstance(request, Run):
            self.edge_free_ms = max(self.edge_free_ms, now_ms)
            self.edge_free_ms += self.world.prices.edge_ms[request.step.program]
            return Ran(self.edge_free_ms, score)
        size = int(self.rehearsal.payload_bytes[request.path, request.step.codec][row])
        limit_ms = self.world.timeout_ms if request.left_ms is None else request.left_ms
        arrival_s = self.channel.send(now_ms / 1e3, size, (now_ms + limit_ms) / 1e3)
        cloud_ms = self.world.prices.cloud_ms[request.step.program]
        if arrival_s is not None:
            told_ms = arrival_s * 1e3 + self.world.link.rtt_ms + cloud_ms
            if told_ms <= now_ms + limit_ms:
                return Told(told_ms, size, cloud_ms, score)
        return Failed(now_ms + limit_ms, size, "late", late=True)


@given(
    plan=plans() | plans(may_not_answer=True),
    seed=st.integers(0, 99),
    per_s=st.sampled_from([1.0, 20.0, 100.0]),
    deadline_ms=st.none() | st.floats(1, 500),
)
def test_what_is_handled_at_once_comes_out_as_if_it_had_queued(plan, seed, per_s, deadline_ms):
    rng = np.random.default_rng(seed)
    names = list(plan.programs)
    around = world(
        cellular(seed, 30, mean_mbps=0.02),
        prices=Prices(
            prices().device,
            dict(zip(names, rng.uniform(1, 20, len(names)).tolist(), strict=True)),
            dict(zip(names, rng.uniform(1, 20, len(names)).tolist(), strict=True)),
        ),
        deadline_ms=deadline_ms,
    )
    rehearsal = random_rehearsal(plan, rng)
    arrivals = at_random(per_s, 40, seed)
    done = emulate(plan, rehearsal, around, arrivals)
    expected = Plain(plan, rehearsal, around).latencies(arrivals.times_ms.tolist())
    np.testing.assert_allclose(done.latency_ms, expected, atol=1e-6)
    parts = done.edge_ms + done.link_ms + done.cloud_ms
    np.testing.assert_allclose(parts, done.latency_ms, atol=1e-6)
    for field in fields(done):
        assert np.isfinite(getattr(done, field.name)).all()
        assert len(getattr(done, field.name)) == 40
