"""Dynamic batching: requests that wait for a model are run together.

Letters: ``B`` rows of one request, ``M`` rows of a batch.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from hybridge.errors import BundleError, ConfigError, TransportError
from hybridge.runtime.cloud.admission import Admission, ExpiredError, Progress

Array = np.ndarray[Any, Any]
Tensors = Mapping[str, Array]

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


@dataclass(frozen=True, slots=True)
class Computed:
    """What a request came to.

    Attributes:
        outputs: The program's outputs ``(B, ...)``, by name.
        queue_ms: How long it waited for its batch to begin.
        run_ms: How long its batch took.
    """

    outputs: dict[str, Array]
    queue_ms: float
    run_ms: float


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    tensors: Tensors
    rows: int
    came_s: float
    expires_at_s: float | None
    done: "asyncio.Future[Computed]"

    def is_awaited(self, now_s: float) -> bool:
        """Return whether its client is there, and its time not spent."""
        return not self.done.done() and (self.expires_at_s is None or self.expires_at_s > now_s)


class Batcher:
    """Runs one model on a thread of its own, so that the event loop never waits for it.

    Whatever has come while a batch was computed forms the next one. A request whose time is
    spent, or whose client has gone, is not computed, nor is what is left of one longer than a
    batch.

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
        self._run = run
        self._max_batch = batching.max_batch
        self._max_wait_s = batching.max_wait_ms / 1e3
        self._queue: deque[_Waiting] = deque()
        self._rows = 0
        self._filled = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="hybridge-model")
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
        waiting = _Waiting(tensors, rows, now_s, expires_at_s, loop.create_future())
        self._queue.append(waiting)
        self._rows += rows
        if self._rows >= self._max_batch:
            self._filled.set()
        if self._pump is None or self._pump.done():
            self._pump = loop.create_task(self._empty_queue())
        try:
            return await waiting.done
        finally:
            self._forget(waiting)

    def _forget(self, waiting: _Waiting) -> None:
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
        self._worker.shutdown()

    async def _empty_queue(self) -> None:
        await self._wait_for_more()
        while self._queue:
            await self._gather()
            if batch := self._take():
                await self._compute(batch)

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

    def _take(self) -> list[_Waiting]:
        """Take from the queue what makes up the next batch, leaving out what needs no answer."""
        batch: list[_Waiting] = []
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
            if first.expires_at_s is not None and first.expires_at_s <= now_s:
                first.done.set_exception(ExpiredError("its time was spent in the queue"))
                continue
            batch.append(first)
            rows += first.rows
        return batch

    async def _compute(self, batch: list[_Waiting]) -> None:
        loop = asyncio.get_running_loop()
        rows = sum(waiting.rows for waiting in batch)
        began_s = time.perf_counter()
        try:
            with self.admission.run(rows) as progress:
                answers = await loop.run_in_executor(
                    self._worker, self._run_together, batch, progress
                )
        except Exception as error:
            await self._compute_apart(batch, error)
            return
        run_ms = (time.perf_counter() - began_s) * 1e3
        if self._on_batch is not None:
            self._on_batch(rows)
        for waiting, answer in zip(batch, answers, strict=True):
            if not waiting.done.done():
                queue_ms = (began_s - waiting.came_s) * 1e3
                waiting.done.set_result(Computed(answer, queue_ms, run_ms))

    async def _compute_apart(self, batch: list[_Waiting], error: Exception) -> None:
        """Compute each request of a batch that failed by itself: its neighbours may be well."""
        for waiting in batch:
            if waiting.done.done():
                continue
            if len(batch) > 1:
                await self._compute([waiting])
            else:
                waiting.done.set_exception(error)

    def _run_together(self, batch: list[_Waiting], progress: Progress) -> list[dict[str, Array]]:
        """Run a batch, and give each request its rows of the outputs.

        Raises `ExpiredError` between its parts where nobody waits for them any more.
        """
        inputs = _concatenated([waiting.tensors for waiting in batch])
        rows = sum(waiting.rows for waiting in batch)
        parts = []
        for at in range(0, rows, self._max_batch):
            now_s = time.perf_counter()
            if at and not any(waiting.is_awaited(now_s) for waiting in batch):
                raise ExpiredError(f"its time was spent after {at} of its {rows} rows")
            part = {name: array[at : at + self._max_batch] for name, array in inputs.items()}
            parts.append(self._run(part))
            progress.rows = min(at + self._max_batch, rows)
        outputs = _concatenated(parts)
        for name, array in outputs.items():
            if array.shape[:1] != (rows,):
                raise BundleError(f"output {name!r} of {rows} rows has shape {array.shape}")
        if len(batch) == 1:
            return [outputs]
        ends = np.cumsum([waiting.rows for waiting in batch]).tolist()
        return [
            {name: array[end - waiting.rows : end] for name, array in outputs.items()}
            for waiting, end in zip(batch, ends, strict=True)
        ]


def _concatenated(parts: list[Tensors] | list[dict[str, Array]]) -> dict[str, Array]:
    """Return tensors joined along their rows, without a copy where there is one part."""
    if len(parts) == 1:
        return dict(parts[0])
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
