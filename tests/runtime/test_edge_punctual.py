"""Transports that break their word: the answer comes in time all the same."""

import threading
import time

import numpy as np
import pytest

from hybridge.closing import Closing
from hybridge.plan.bundle import Bundle
from hybridge.plan.variants import with_threshold
from hybridge.runtime.clock import ManualClock
from hybridge.runtime.edge.edge import MAX_THREADS, EdgeRuntime
from hybridge.runtime.edge.mock import MockTransport
from hybridge.runtime.wire.message import Reply
from hybridge.walk.breaker import BreakerSettings
from tiny_plans import images, pair_plan

IMAGE = images(1)[0]
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


def test_an_answer_comes_at_the_deadline_whatever_the_transport_does(bundle):
    with Stuck() as cloud, EdgeRuntime(bundle, cloud) as edge:
        began_s = time.perf_counter()
        answer = edge.predict(IMAGE, deadline_ms=60)
        assert 0.03 < time.perf_counter() - began_s < 5
    assert answer.source == "edge"
    assert "did not come back" in answer.failure
    assert answer.asked


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
        for _ in range(MAX_THREADS):
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
