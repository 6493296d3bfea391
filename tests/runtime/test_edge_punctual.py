"""Transports that break their word: the answer comes in time all the same."""

import threading
import time
from statistics import median

import numpy as np
import pytest

from hybridge.closing import Closing
from hybridge.cost.device import devices
from hybridge.cost.price import compute_ms
from hybridge.errors import TransportError
from hybridge.plan.bundle import Bundle
from hybridge.plan.variants import with_threshold
from hybridge.runtime.clock import ManualClock
from hybridge.runtime.edge.edge import MAX_THREADS, EdgeRuntime
from hybridge.runtime.edge.mock import MockTransport
from hybridge.runtime.sessions import ProgramSession
from hybridge.runtime.wire.message import LateError, Reply
from hybridge.walk.breaker import BreakerSettings
from priced_plans import conv
from tiny_plans import images, pair_plan, partition_plan

IMAGE = images(1)[0]
PHONE = devices.get("xiaomi-mi6x")
PATIENT = BreakerSettings(failures=10**6, cooldown_ms=1e-3)


class Stuck(Closing):
    """A transport that comes back when it is let go, and no sooner."""

    def __init__(self):
        self.gate, self.calls = threading.Event(), 0

    def send(self, message, timeout_ms=None):
        self.calls += 1
        assert self.gate.wait(30)
        return Reply({"logits": np.array([[0, 0, 9]], np.float32)})

    def close(self):
        self.gate.set()


@pytest.fixture
def bundle(tmp_path):
    return Bundle(with_threshold(pair_plan(tmp_path), -1e9))


def took_ms(act):
    began_s = time.perf_counter()
    act()
    return 1e3 * (time.perf_counter() - began_s)


def test_an_answer_comes_at_the_deadline_whatever_the_transport_does(bundle):
    """At most 10 ms after it, and what this machine adds to any wait, at the median of several."""
    answers, late_ms, jitter_ms = [], [], []
    nobody = threading.Event()
    with Stuck() as cloud, EdgeRuntime(bundle, cloud, breaker=PATIENT) as edge:
        for _ in range(9):
            edge.observer.tracker = None  # or nothing would be sent any more
            jitter_ms.append(took_ms(lambda: nobody.wait(0.06)) - 60)
            late_ms.append(
                took_ms(lambda: answers.append(edge.predict(IMAGE, deadline_ms=60))) - 60
            )
    assert -30 < median(late_ms) < 10 + max(median(jitter_ms), 0)
    for answer in answers:
        assert answer.source == "edge"
        assert "did not come back" in answer.failure
        assert answer.asked


def test_without_a_deadline_a_transport_has_its_own_time_and_no_more(bundle):
    with Stuck() as cloud, EdgeRuntime(bundle, cloud, breaker=PATIENT) as edge:
        cloud.timeout_ms = 50.0
        answers = [edge.predict(IMAGE) for _ in range(2)]
    assert {answer.source for answer in answers} == {"edge"}
    assert {"did not come back within the 50 ms" in answer.failure for answer in answers} == {True}
    assert all(50 <= answer.latency_ms < 10_000 for answer in answers)


def test_where_no_thread_can_be_started_the_edge_answers(bundle, monkeypatch):
    replies = iter((TransportError("away"), Reply({"logits": np.array([[0, 0, 9]], np.float32)})))

    def reply(message):
        told = next(replies)
        if isinstance(told, Exception):
            raise told
        return told

    def start(self):
        raise RuntimeError("can't start new thread")

    at_once = BreakerSettings(failures=1, cooldown_ms=1e-3)
    with EdgeRuntime(bundle, MockTransport(reply), breaker=at_once) as edge:
        assert edge.predict(IMAGE).failure == "away"
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", start)
            answer = edge.predict(IMAGE, deadline_ms=5000)
        assert (answer.source, answer.asked) == ("edge", False)
        assert "can't start new thread" in answer.failure
        assert edge.observer.breaker_state == "open"  # the probe's turn is the next one's
        assert edge.predict(IMAGE, deadline_ms=5000).source == "cloud"


def test_what_comes_too_late_is_not_taken_for_another_answer(bundle):
    with Stuck() as cloud, EdgeRuntime(bundle, cloud, breaker=PATIENT) as edge:
        before = edge.predict(IMAGE, deadline_ms=30)
        cloud.gate.set()
        time.sleep(0.05)
        after = edge.predict(IMAGE, deadline_ms=5000)
    assert (before.source, after.source) == ("edge", "cloud")
    assert after.label == 2


def test_no_more_calls_are_left_behind_than_there_are_threads(bundle):
    with Stuck() as cloud, EdgeRuntime(bundle, cloud, breaker=PATIENT) as edge:
        while cloud.calls < MAX_THREADS:  # on a busy machine there may be no time left to send
            edge.observer.tracker = None  # or nothing would be sent any more
            edge.predict(IMAGE, deadline_ms=3)
        left = cloud.calls
        answer = edge.predict(IMAGE, deadline_ms=5000)
        assert cloud.calls == left
    assert answer.source == "edge"
    assert left <= MAX_THREADS


def test_errors_of_a_transport_reach_the_caller(bundle):
    with EdgeRuntime(bundle, MockTransport(fail=KeyError("bug"))) as edge, pytest.raises(KeyError):
        edge.predict(IMAGE, deadline_ms=5000)


def test_time_that_is_told_by_hand_is_not_waited_for(bundle):
    clock = ManualClock()

    class Late(MockTransport):
        def send(self, message, timeout_ms=None):
            time.sleep(0.05)  # of the tester's time; none of the clock's
            return super().send(message, timeout_ms)

    cloud = Late(Reply({"logits": np.array([[0, 0, 9]], np.float32)}))
    with EdgeRuntime(bundle, cloud, clock=clock) as edge:
        assert edge.predict(IMAGE, deadline_ms=1).source == "cloud"


def test_a_crowd_is_no_failure_of_the_cloud(bundle):
    count = MAX_THREADS + 16
    together, answers = threading.Barrier(count), []

    def reply(message):
        together.wait(30)  # so many are under way at once
        return Reply({"logits": np.array([[0, 0, 9]], np.float32)})

    with EdgeRuntime(bundle, MockTransport(reply)) as edge:
        threads = [
            threading.Thread(target=lambda: answers.append(edge.predict(IMAGE, deadline_ms=3e4)))
            for _ in range(count)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [answer.source for answer in answers] == ["cloud"] * count
    assert edge.observer.breaker_state == "closed"


def test_calls_that_are_left_behind_are_the_devices_own_trouble(bundle):
    with Stuck() as cloud, EdgeRuntime(bundle, cloud, breaker=PATIENT) as edge:
        edge._couriers._most = 1
        edge.predict(IMAGE, deadline_ms=3)
        edge.observer.tracker, heard = None, []
        edge.observer.heard = lambda event, ask, asked_ms: heard.append(event)
        answer = edge.predict(IMAGE, deadline_ms=5000)
    assert "1 calls are overdue" in answer.failure
    assert (answer.asked, heard[0].cloud_failed) == (False, False)


def test_the_first_way_home_is_as_punctual_as_the_next(tmp_path):
    """A home that takes long: what it takes is known before the first request."""
    plan = partition_plan(tmp_path)
    x = np.random.default_rng(0).normal(size=7).astype(np.float32)
    if float(ProgramSession(plan.programs["front"]).run({"x": x[np.newaxis]})["score"][0]) > 0:
        x = -x  # kept by the fork, whose first child is in the cloud
    slow = plan.programs["near"].model_copy(update={"layers": (conv(400 * 10**6),)})
    plan = plan.model_copy(update={"programs": plan.programs | {"near": slow}})
    home_ms = compute_ms(slow.layers, PHONE)
    with Stuck() as cloud, EdgeRuntime(Bundle(plan), cloud, pace=PHONE) as edge:
        answer = edge.predict(x, deadline_ms=home_ms + 60)
    assert (answer.source, answer.asked) == ("edge", True)
    assert answer.latency_ms < home_ms + 70


def test_a_transport_tells_that_time_was_up_by_its_own_limit(bundle):
    clock, heard = ManualClock(), []

    def slow(message):
        clock.sleep_ms(100.0)
        raise LateError("nothing within 100 ms")

    with EdgeRuntime(bundle, MockTransport(slow), clock=clock) as edge:
        edge.observer.heard = lambda event, ask, asked_ms: heard.append(event)
        edge.predict(IMAGE)
    assert heard[0].late
