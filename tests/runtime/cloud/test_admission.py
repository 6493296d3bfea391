"""Who is let in, by the time that batches took; the clock is the test's own."""

import asyncio
import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridge.runtime.cloud.admission import Admission, ExpiredError, OverloadedError, Room
from hybridge.runtime.cloud.pace import Pace


@pytest.fixture
def clock(monkeypatch):
    """Moves when told to."""

    class Clock:
        now_s = 100.0

        def __call__(self):
            return self.now_s

    clock = Clock()
    monkeypatch.setattr(time, "perf_counter", clock)
    return clock


def ran(admission, clock, rows, took_s):
    with admission.place(rows), admission.run(rows):
        clock.now_s += took_s


def test_no_more_rows_wait_than_may():
    admission = Admission(max_batch=4, max_waiting=10)
    with contextlib.ExitStack() as held:
        for _ in range(5):
            held.enter_context(admission.place(2))
        with pytest.raises(OverloadedError, match="10 rows are waiting, of at most 10"):
            held.enter_context(admission.place(1))
    with admission.place(10):
        assert admission.waiting == 10


def test_a_request_longer_than_the_queue_is_let_in_when_nothing_waits():
    admission = Admission(max_batch=4, max_waiting=10)
    with admission.place(50), pytest.raises(OverloadedError):
        admission.place(1).__enter__()
    assert admission.waiting == 0


def test_it_is_told_how_long_the_queue_takes(clock):
    admission = Admission(max_batch=4, max_waiting=8)
    ran(admission, clock, 4, 0.1)
    with admission.place(8), pytest.raises(OverloadedError, match="200 ms") as caught:
        admission.place(1).__enter__()
    assert caught.value.retry_after_ms == 200


def test_what_the_queue_would_make_late_is_refused_at_once(clock):
    admission = Admission(max_batch=4, max_waiting=100)
    ran(admission, clock, 4, 0.1)
    with admission.place(8):
        with admission.place(4, clock.now_s + 0.31):
            pass
        with pytest.raises(OverloadedError) as caught:
            admission.place(4, clock.now_s + 0.25).__enter__()
        assert caught.value.retry_after_ms == pytest.approx(50, abs=1)


def test_the_batch_under_way_counts_with_what_is_left_of_it(clock):
    admission = Admission(max_batch=4, max_waiting=100)
    ran(admission, clock, 4, 0.1)
    with admission.place(4), admission.run(4):
        with pytest.raises(OverloadedError):
            admission.place(4, clock.now_s + 0.15).__enter__()
        clock.now_s += 0.08
        with admission.place(4, clock.now_s + 0.15):
            pass


def test_what_would_be_late_alone_need_not_ask_again(clock):
    admission = Admission(max_batch=4, max_waiting=100)
    ran(admission, clock, 1, 0.1)
    with admission.place(1), pytest.raises(ExpiredError, match="about 100 ms"):
        admission.place(1, clock.now_s + 0.05).__enter__()


def test_an_idle_model_takes_anything_and_so_learns_that_it_is_fast_again(clock):
    admission = Admission(max_batch=4, max_waiting=100)
    ran(admission, clock, 1, 10.0)
    for _ in range(20):
        with admission.place(1, clock.now_s + 0.05), admission.run(1):
            clock.now_s += 0.01
    with admission.place(1), admission.place(1, clock.now_s + 0.2):
        pass


def test_a_batch_that_fails_teaches_nothing(clock):
    admission = Admission(max_batch=4, max_waiting=100)
    with contextlib.suppress(ValueError), admission.place(1), admission.run(1):
        clock.now_s += 9
        raise ValueError
    with admission.place(1), admission.place(1, clock.now_s + 0.01):
        pass


def test_emptied_once_the_last_place_is_given_up():
    async def scenario():
        admission = Admission(max_batch=4, max_waiting=100)
        await admission.emptied()
        with admission.place(3):
            waiting = asyncio.create_task(admission.emptied())
            await asyncio.sleep(0)
            assert not waiting.done()
        await asyncio.wait_for(waiting, 1)

    asyncio.run(scenario())


def test_a_size_that_never_ran_costs_the_least_it_can(clock):
    pace = Pace()
    assert pace.run_s(5) == 0
    pace.note(8, 0.8)
    assert pace.run_s(1) == pytest.approx(0.1)
    assert pace.run_s(32) == pytest.approx(0.8)
    pace.note(32, 1.6)
    assert pace.run_s(8) == pytest.approx(0.8)
    assert pace.run_s(40) == pytest.approx(1.6)


def test_what_ran_long_ago_is_not_known_any_more(clock):
    pace = Pace()
    pace.note(8, 5.0)
    clock.now_s += 61
    assert pace.run_s(8) == 0
    pace.note(8, 0.1)
    assert pace.run_s(8) == pytest.approx(0.1)


@given(st.lists(st.tuples(st.integers(1, 64), st.floats(1e-4, 10.0)), min_size=1, max_size=20))
def test_an_estimate_lies_among_what_was_measured(batches):
    pace = Pace()
    for rows, run_s in batches:
        pace.note(rows, run_s)
    most_s = max(run_s for _, run_s in batches)
    for rows in (1, 7, 64):
        assert 0 < pace.run_s(rows) <= most_s * (1 + 1e-9)


def test_an_idle_model_takes_a_batch_whatever_its_time_but_no_longer_request(clock):
    admission = Admission(max_batch=4, max_waiting=100)
    ran(admission, clock, 4, 0.1)
    with admission.place(4, clock.now_s + 0.05):
        pass
    with admission.place(40, clock.now_s + 1.01):
        pass
    with pytest.raises(ExpiredError, match="about 1000 ms, and 900 ms are left"):
        admission.place(40, clock.now_s + 0.9).__enter__()


def test_no_more_bytes_are_held_than_may_be():
    room = Room(100)
    with room.held(60):
        with pytest.raises(OverloadedError, match="under way") as caught:
            room.held(41).__enter__()
        with room.held(40):
            pass
    assert caught.value.retry_after_ms > 0
    with room.held(1000):  # alone it is possible
        pass
