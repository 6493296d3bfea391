"""Calls that may not come back in time, carried by threads that may be left behind."""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, TypeVar

from hybridge.runtime.wire.message import UnsentError

Result = TypeVar("Result")


class OverdueError(Exception):
    """The call had not come back when its time was up; it may still be under way."""


class BusyError(UnsentError):
    """No thread can be had for another call; link and cloud are not to blame for this one."""


class Couriers(Generic[Result]):
    """Makes calls on other threads, and waits for each no longer than it was told to.

    A thread whose call has come back takes the next one; one whose call never does is left to it,
    and keeps nobody from ending the process. Safe to use from several threads.

    Args:
        most: Most calls that may be overdue at once, and most threads kept for the next calls.
            Calls that still have time do not count, however many there are.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._idle: list[_Courier[Result]] = []
        self._overdue = 0
        self._closed = False

    def call(self, errand: Callable[[], Result], within_s: float) -> Result:
        """Return what ``errand`` returns, or raise what it raises.

        Raises `OverdueError` where it does neither in time, and `BusyError` at once, without having
        begun it, where as many calls are overdue as may be, or the system starts no more threads.
        """
        courier = self._take()
        job = _Job(errand, self._leave)
        courier.jobs.put(job)
        if not job.done.acquire(timeout=within_s):
            self._leave_behind(job)
            raise OverdueError
        return job.outcome()

    def close(self) -> None:
        """Let the threads end; those whose calls are under way, once they come back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for courier in idle:
            courier.jobs.put(None)

    def _take(self) -> "_Courier[Result]":
        with self._lock:
            if self._overdue >= self._most:
                raise BusyError(f"{self._most} calls are overdue, and have not come back")
            if self._idle:
                return self._idle.pop()
        try:
            return _Courier()
        except RuntimeError as error:
            raise BusyError(f"no thread can be started for the call: {error}") from error

    def _leave_behind(self, job: "_Job[Result]") -> None:
        with self._lock:
            if not job.is_back:
                job.is_overdue = True
                self._overdue += 1

    def _leave(self, courier: "_Courier[Result]", job: "_Job[Result]") -> None:
        with self._lock:
            job.is_back = True
            self._overdue -= job.is_overdue
            if not self._closed and len(self._idle) < self._most:
                self._idle.append(courier)
                return
        courier.jobs.put(None)


class _Job(Generic[Result]):
    """One call, and what came of it once ``done`` can be acquired."""

    def __init__(
        self,
        errand: Callable[[], Result],
        then: "Callable[[_Courier[Result], _Job[Result]], None]",
    ) -> None:
        self._errand, self._then = errand, then
        self._results: list[Result] = []
        self._error: BaseException | None = None
        self.is_back = self.is_overdue = False
        self.done = threading.Lock()
        self.done.acquire()

    def run(self, courier: "_Courier[Result]") -> None:
        try:
            self._results.append(self._errand())
        except BaseException as error:  # whoever waits is to see it, not this thread
            self._error = error
        self._then(courier, self)
        self.done.release()

    def outcome(self) -> Result:
        if self._error is not None:
            raise self._error
        return self._results[0]


class _Courier(Generic[Result]):
    """One thread; a daemon, so that a call which hangs does not keep the process alive."""

    def __init__(self) -> None:
        self.jobs: SimpleQueue[_Job[Result] | None] = SimpleQueue()
        threading.Thread(target=self._serve, name="hybridge-courier", daemon=True).start()

    def _serve(self) -> None:
        while (job := self.jobs.get()) is not None:
            job.run(self)
            del job  # what it holds is not kept until the next one comes
