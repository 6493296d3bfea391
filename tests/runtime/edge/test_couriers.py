import threading
import time

import pytest

from hybridge.runtime.edge.couriers import BusyError, Couriers, OverdueError


def test_what_a_call_returns_or_raises_comes_back():
    couriers = Couriers(2)
    assert couriers.call(lambda: 7, 10) == 7
    with pytest.raises(ValueError, match="this"):
        couriers.call(lambda: int("this"), 10)


def test_calls_one_after_another_share_a_thread():
    couriers = Couriers(1)
    assert len({couriers.call(threading.get_ident, 10) for _ in range(20)}) == 1
    couriers.close()


def test_a_call_that_does_not_come_back_holds_up_nobody():
    couriers, gate = Couriers(1), threading.Event()
    began_s = time.perf_counter()
    with pytest.raises(OverdueError):
        couriers.call(lambda: gate.wait(30), 0.05)
    # The only thread is still out: the next is told so at once, and its call is not begun.
    with pytest.raises(BusyError, match="1 calls are overdue"):
        couriers.call(lambda: pytest.fail("begun"), 30)
    assert time.perf_counter() - began_s < 10
    gate.set()
    ends_s = time.perf_counter() + 10
    while time.perf_counter() < ends_s:
        try:
            assert couriers.call(lambda: 7, 10) == 7
            return
        except BusyError:
            time.sleep(0.001)
    pytest.fail("the thread that came back takes no calls")


def test_calls_that_have_time_are_never_too_many():
    couriers, together = Couriers(2), threading.Barrier(20)
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(couriers.call(lambda: together.wait(30), 30)))
        for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(20))  # all of them were under way at once
    couriers.close()


def test_where_no_thread_can_be_started_the_call_is_not_begun(monkeypatch):
    couriers = Couriers(1)

    def start(self):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        with pytest.raises(BusyError, match="can't start new thread"):
            couriers.call(lambda: pytest.fail("begun"), 30)
    assert couriers.call(lambda: 7, 10) == 7
    couriers.close()


def test_threads_end_once_closed():
    couriers = Couriers(4)
    courier = couriers.call(threading.current_thread, 10)
    couriers.close()
    courier.join(10)
    assert not courier.is_alive()
