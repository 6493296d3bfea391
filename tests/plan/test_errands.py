import logging
import subprocess
import sys
import threading

import pytest

from hybridge.plan.errands import Errands

PATIENT_S = 30.0


@pytest.fixture
def gate():
    gate = threading.Event()
    yield gate
    gate.set()


def held_up(gate, most=10, patience_s=PATIENT_S):
    """Return errands whose thread waits for the gate."""
    errands, begun = Errands(most, patience_s), threading.Event()

    def wait():
        begun.set()
        gate.wait(30)

    assert errands.add(wait)
    assert begun.wait(30)
    return errands


def test_errands_are_done_in_order_on_another_thread():
    errands, done = Errands(1000, PATIENT_S), []
    for number in range(100):
        assert errands.add(lambda number=number: done.append((number, threading.get_ident())))
    assert errands.finish() == 0
    assert [number for number, _ in done] == list(range(100))
    assert {thread for _, thread in done}.isdisjoint({threading.get_ident()})


def test_nobody_waits_for_an_errand_and_too_many_are_refused(gate):
    errands, done = held_up(gate, most=2), []
    assert [errands.add(lambda: done.append(1)) for _ in range(3)] == [True, True, False]
    assert (errands.waiting, done) == (2, [])
    gate.set()
    assert errands.finish() == 0
    assert done == [1, 1]


def test_what_takes_too_long_is_given_up(gate):
    errands, done = held_up(gate, patience_s=0.01), []
    errands.add(lambda: done.append(1))
    assert errands.finish() == 2  # the one that hangs counts
    gate.set()
    errands.close()
    assert done == []


def test_an_errand_that_fails_keeps_none_from_being_done(caplog):
    errands, done = Errands(10, PATIENT_S), []
    with caplog.at_level(logging.ERROR):
        errands.add(lambda: int("this"))
        errands.add(lambda: done.append(1))
        assert errands.finish() == 0
    assert done == [1]
    assert "an errand failed" in caplog.text


def test_the_thread_ends_and_another_begins():
    errands, threads = Errands(10, PATIENT_S), []
    for _ in range(2):
        errands.add(lambda: threads.append(threading.current_thread()))
        errands.finish()
        errands.close()
        threads[-1].join(30)
        assert not threads[-1].is_alive()
    assert len(threads) == 2


def test_where_no_thread_can_begin_nothing_waits(monkeypatch):
    def start(self):
        raise RuntimeError("can't start new thread")

    errands = Errands(10, PATIENT_S)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        assert not errands.add(lambda: pytest.fail("done"))
    assert errands.waiting == 0
    assert errands.add(lambda: None)
    assert errands.finish() == 0


ENDS_AT_ONCE = """
import time
from hybridge.plan.errands import Errands
errands = Errands(10, 30.0)
for number in range(3):
    errands.add(lambda number=number: (time.sleep(0.05), print(number)))
"""


def test_a_process_that_ends_does_first_what_waits():
    command = [sys.executable, "-c", ENDS_AT_ONCE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["0", "1", "2"]
