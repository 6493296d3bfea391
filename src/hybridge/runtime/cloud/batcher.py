"""Dynamic batching: requests that wait for a model are run together.

Letters: ``B`` rows of one request, ``M`` rows of a batch.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from hybridge.errors import ConfigError, TransportError
from hybridge.runtime.cloud.admission import Admission, ExpiredError
from hybridge.runtime.cloud.model_thread import (
    Array,
    Computed,
    Handed,
    ModelThread,
    Tensors,
    Waiting,
)

SHUTTING_DOWN = "the server is shutting down; ask again, or another one"
#: Turns of the event loop without a new request after which a batch that is not full begins: one
#: that has arrived takes several until it is read, checked and queued.
_QUIET_TURNS = 3


class DrainingError(TransportError):
    """The server is shutting down and takes no more requests."""


@dataclass(frozen=True, slots=True)
class Batching:
    """How requests are run together; raises `ConfigError` for what cannot work.

    Attributes:
        max_batch: Most rows that are computed at once; a longer request is computed in parts.
        max_wait_ms: How long an idle model waits for more rows before it begins. Under load,
            batches form without: they gather while the model is busy.
        max_waiting: Most rows that wait for a model; what comes beyond is refused at once.
    """

    max_batch: int = 32
    max_wait_ms: float = 0.0
    max_waiting: int = 1024

    def __post_init__(self) -> None:
        if self.max_batch < 1 or not 0 <= self.max_wait_ms < math.inf:
            raise ConfigError(
                "expected max_batch of 1 or more and a finite max_wait_ms of 0 or more, "
                f"got {self.max_batch} and {self.max_wait_ms}"
            )
        if self.max_waiting < 1:
            raise ConfigError(f"expected max_waiting of 1 or more rows, got {self.max_waiting}")


class Batcher:
    """Runs one model on a thread of its own, so that the event loop never waits for it.

    Whatever has come while a batch was computed forms the next one; where that is as long as it
    may be, the thread has it before it is done with the one before. A request whose time is spent,
    or whose client has gone, is not computed, nor is what is left of one longer than a batch.

    Args:
        run: Computes a batch: inputs ``(M, ...)`` to outputs ``(M, ...)``, by name.
        batching: How long a batch may be, and may be waited for.
        on_batch: Told the rows of every batch that has been computed.

    Attributes:
        admission: Where whoever submits gets a place first.
    """

    def __init__(
        self,
        run: Callable[[Tensors], dict[str, Array]],
        batching: Batching,
        on_batch: Callable[[int], None] | None = None,
    ) -> None:
        self.admission = Admission(batching.max_batch, batching.max_waiting)
        self._on_batch = on_batch
        self._thread = ModelThread(run, batching.max_batch)
        self._max_batch = batching.max_batch
        self._max_wait_s = batching.max_wait_ms / 1e3
        self._queue: deque[Waiting] = deque()
        self._rows = 0
        self._filled = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None
        self._running = False
        self._next: Handed | None = None
        self._draining = False

    async def submit(self, tensors: Tensors, expires_at_s: float | None = None) -> Computed:
        """Return the outputs ``(B, ...)`` for checked inputs ``(B, ...)``, by name.

        Args:
            tensors: The inputs, all of ``B`` rows, at least one.
            expires_at_s: When the answer is of no more use, by `time.perf_counter`, or None.

        Raises:
            ExpiredError: That time came before the computation could begin.
            DrainingError: The batcher has been closed.
            BundleError: The program failed.
        """
        if self._draining:
            raise DrainingError(SHUTTING_DOWN)
        loop = asyncio.get_running_loop()
        rows = len(next(iter(tensors.values())))
        now_s = time.perf_counter()
        waiting = Waiting(tensors, rows, now_s, expires_at_s, loop.create_future())
        self._queue.append(waiting)
        self._rows += rows
        if self._rows >= self._max_batch:
            self._filled.set()
            self._hand_ahead()
        if self._pump is None or self._pump.done():
            self._pump = loop.create_task(self._empty_queue())
        try:
            return await waiting.done
        finally:
            self._forget(waiting)

    def _forget(self, waiting: Waiting) -> None:
        """Drop a request whose client has gone while it waited, and its tensors with it."""
        if waiting.done.cancelled() and waiting in self._queue:
            self._queue.remove(waiting)
            self._rows -= waiting.rows

    async def close(self) -> None:
        """Finish what is queued, then stop the thread; takes nothing more from now on."""
        self._draining = True
        self._filled.set()
        if self._pump is not None:
            await self._pump
        self._thread.close()

    async def _empty_queue(self) -> None:
        await self._wait_for_more()
        while self._queue or self._next is not None:
            handed, self._next = self._next, None
            if handed is None:
                await self._gather()
                batch = self._take()
                handed = self._thread.hand(batch) if batch else None
            if handed is not None:
                await self._compute(handed)

    def _hand_ahead(self) -> None:
        """Hand over the next batch if it is full, so that the thread need not wait for the loop."""
        if self._running and self._next is None and self._rows >= self._max_batch:
            batch = self._take()
            self._next = self._thread.hand(batch) if batch else None

    async def _gather(self) -> None:
        """Let the loop hand over what has arrived, until it has nothing more, or a batch is full.

        Handing a batch to the thread costs the same whatever its length, and where the loop is
        busier than the model, requests would go there one by one.
        """
        quiet = 0
        while quiet < _QUIET_TURNS and self._rows < self._max_batch and not self._draining:
            rows = self._rows
            await asyncio.sleep(0)
            quiet = 0 if self._rows > rows else quiet + 1

    async def _wait_for_more(self) -> None:
        if self._draining or self._rows >= self._max_batch or self._max_wait_s <= 0:
            return
        self._filled.clear()
        try:
            async with asyncio.timeout(self._max_wait_s):
                await self._filled.wait()
        except TimeoutError:
            pass

    def _take(self) -> list[Waiting]:
        """Take from the queue what makes up the next batch, leaving out what needs no answer."""
        batch: list[Waiting] = []
        rows = 0
        now_s = time.perf_counter()
        while self._queue:
            first = self._queue[0]
            if batch and rows + first.rows > self._max_batch:
                break
            self._queue.popleft()
            self._rows -= first.rows
            if first.done.done():  # its client has gone
                continue
            if first.is_late(now_s):
                first.done.set_exception(_late())
                continue
            batch.append(first)
            rows += first.rows
        return batch

    async def _compute(self, handed: Handed) -> None:
        self._running = True
        self._hand_ahead()
        progress = handed.progress
        try:
            with self.admission.run(handed.rows, progress):
                answers = await handed.answers
        except Exception as error:
            await self._compute_apart(handed.batch, error)
            return
        finally:
            self._running = False
        run_ms = (time.perf_counter() - progress.began_s) * 1e3
        if self._on_batch is not None and progress.rows:
            self._on_batch(progress.rows)
        for waiting, answer in zip(handed.batch, answers, strict=True):
            if not waiting.done.done():
                _tell(waiting, answer, progress.began_s, run_ms)

    async def _compute_apart(self, batch: list[Waiting], error: Exception) -> None:
        """Compute each request of a batch that failed by itself: its neighbours may be well."""
        for waiting in batch:
            if waiting.done.done():
                continue
            if len(batch) > 1:
                await self._compute(self._thread.hand([waiting]))
            else:
                waiting.done.set_exception(error)


def _tell(waiting: Waiting, answer: dict[str, Array] | None, began_s: float, run_ms: float) -> None:
    """Give a request its answer, or say that its time was spent before its batch began."""
    if answer is None:
        waiting.done.set_exception(_late())
    else:
        waiting.done.set_result(Computed(answer, (began_s - waiting.came_s) * 1e3, run_ms))


def _late() -> ExpiredError:
    return ExpiredError("its time was spent in the queue")
