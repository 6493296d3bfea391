"""Who is let in: no more than can wait, and nobody who cannot be answered in time.

A queue without an end would answer everybody, and everybody too late. What is refused is told so
at once, before its input is decoded, with the time after which it may ask again.
"""

import asyncio
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from hybridge.errors import RefusedError, TransportError
from hybridge.runtime.cloud.pace import Pace

#: When there should be room again where nothing tells how long it takes, about.
_ROOM_AFTER_S = 0.1


class ExpiredError(TransportError):
    """The request's time is spent, or does not suffice for the computation alone."""


class OverloadedError(RefusedError):
    """More is asked than can be computed in time.

    Args:
        reason: What there is too much of.
        after_s: Seconds after which there should be room.

    Attributes:
        retry_after_ms: The same in whole milliseconds, at least one.
    """

    def __init__(self, reason: str, after_s: float) -> None:
        self.retry_after_ms = max(1, math.ceil(after_s * 1e3))
        super().__init__(f"{reason}; ask again in {self.retry_after_ms} ms")


class Room:
    """Counts the bytes that requests hold, and refuses what would be too many.

    Args:
        most_bytes: How many there may be. A request that is larger is let in where no other is.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._held_bytes = 0

    @contextmanager
    def held(self, more_bytes: int) -> Iterator[None]:
        """Hold so many until the context ends; raises `OverloadedError` where they are too many."""
        if self._held_bytes and self._held_bytes + more_bytes > self._most_bytes:
            raise OverloadedError(
                f"requests of {self._held_bytes >> 20} MiB are under way, of at most "
                f"{self._most_bytes >> 20}",
                _ROOM_AFTER_S,
            )
        self._held_bytes += more_bytes
        try:
            yield
        finally:
            self._held_bytes -= more_bytes


@dataclass(slots=True)
class Progress:
    """How far a batch has come.

    Attributes:
        rows: How many of its rows have been computed.
        began_s: When it began, by `time.perf_counter`.
    """

    rows: int = 0
    began_s: float = field(default_factory=lambda: time.perf_counter())


class Admission:
    """Counts the rows that one model has taken in, and refuses what would be too many.

    Args:
        max_batch: Most rows that are computed at once.
        max_waiting: Most rows that may wait. A request longer than that is let in where nothing
            waits, so that it is possible at all.
    """

    def __init__(self, max_batch: int, max_waiting: int) -> None:
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._pace = Pace()
        self._taken = 0
        self._empty = asyncio.Event()
        self._empty.set()
        self._running = 0
        self._began_s = 0.0

    @property
    def waiting(self) -> int:
        """Rows that have been let in and are not being computed yet."""
        return max(self._taken - self._running, 0)

    @contextmanager
    def place(self, rows: int, expires_at_s: float | None = None) -> Iterator[None]:
        """Hold a place for ``rows`` until the context ends.

        Args:
            rows: How many, at least one.
            expires_at_s: When the answer is of no more use, by `time.perf_counter`, or None.

        Raises:
            OverloadedError: Too much waits already, or so much that the answer would be late.
            ExpiredError: It would be late if nothing waited. A model that has nothing to do
                takes one batch all the same, because only running it tells how long it takes now.
        """
        self._check(rows, expires_at_s)
        self._taken += rows
        self._empty.clear()
        try:
            yield
        finally:
            self._taken -= rows
            if not self._taken:
                self._empty.set()

    async def emptied(self) -> None:
        """Return once no place is held."""
        await self._empty.wait()

    @contextmanager
    def run(self, rows: int, progress: Progress | None = None) -> Iterator[None]:
        """Learn from how long a batch takes until the context ends, if it succeeds.

        From one that stops because its time is spent it learns what is known by its progress.

        Args:
            rows: How many it has.
            progress: Its progress, where it is known; else it begins now, and is computed whole.
        """
        self._running = rows
        progress = progress or Progress(rows)
        self._began_s = time.perf_counter()
        try:
            yield
            self._learn(progress)
        except ExpiredError:
            self._learn(progress)
            raise
        finally:
            self._running = 0

    def _learn(self, progress: Progress) -> None:
        if progress.rows:
            # A request that is longer than a batch runs as several.
            batches = math.ceil(progress.rows / self._max_batch)
            took_s = time.perf_counter() - progress.began_s
            self._pace.note(math.ceil(progress.rows / batches), took_s / batches)

    def _check(self, rows: int, expires_at_s: float | None) -> None:
        waiting = self.waiting
        if waiting and waiting + rows > self._max_waiting:
            raise OverloadedError(
                f"{waiting} rows are waiting, of at most {self._max_waiting}",
                self._ahead_s() + self._needed_s(waiting) or _ROOM_AFTER_S,
            )
        idle = not self._taken
        if expires_at_s is None or (idle and rows <= self._max_batch):
            return
        left_s = expires_at_s - time.perf_counter()
        alone_s = self._needed_s(rows)
        if alone_s > left_s:
            raise ExpiredError(
                f"it takes about {alone_s * 1e3:.0f} ms, and {max(left_s, 0) * 1e3:.0f} ms are left"
            )
        queued_s = self._ahead_s() + self._needed_s(waiting + rows)
        if queued_s > left_s:
            raise OverloadedError(
                f"its turn would end in about {queued_s * 1e3:.0f} ms, and only "
                f"{left_s * 1e3:.0f} ms are left",
                queued_s - left_s,
            )

    def _ahead_s(self) -> float:
        """Return how long the batch that is being computed should still take."""
        if not self._running:
            return 0.0
        return max(self._began_s + self._needed_s(self._running) - time.perf_counter(), 0.0)

    def _needed_s(self, rows: int) -> float:
        """Return how long ``rows`` take, in batches as long as they may be."""
        batches, rest = divmod(rows, self._max_batch)
        whole_s = batches * self._pace.run_s(self._max_batch) if batches else 0.0
        return whole_s + (self._pace.run_s(rest) if rest else 0.0)
