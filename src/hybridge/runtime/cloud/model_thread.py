"""The thread that computes a model's batches, one after another.

Letters: ``B`` rows of one request, ``M`` rows of a batch.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from hybridge.errors import BundleError
from hybridge.runtime.cloud.admission import ExpiredError, Progress

Array = np.ndarray[Any, Any]
Tensors = Mapping[str, Array]


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
class Waiting:
    """A request that waits for its answer.

    Attributes:
        tensors: Its inputs ``(B, ...)``, by name.
        rows: ``B``.
        came_s: When it was queued, by `time.perf_counter`.
        expires_at_s: When its answer is of no more use, or None.
        done: Where the answer goes.
    """

    tensors: Tensors
    rows: int
    came_s: float
    expires_at_s: float | None
    done: "asyncio.Future[Computed]"

    def is_awaited(self, now_s: float) -> bool:
        """Return whether its client is there, and its time not spent."""
        return not self.done.done() and not self.is_late(now_s)

    def is_late(self, now_s: float) -> bool:
        """Return whether its time is spent."""
        return self.expires_at_s is not None and self.expires_at_s <= now_s


#: The outputs of each request of a batch, or None for one that was awaited no more.
Answers = list[dict[str, Array] | None]


@dataclass(frozen=True, slots=True, eq=False)
class Handed:
    """A batch that the thread computes, or will when it has computed those before.

    Attributes:
        batch: Its requests.
        progress: How far it has come.
        answers: What comes of it.
    """

    batch: list[Waiting]
    progress: Progress
    answers: "asyncio.Future[Answers]"

    @property
    def rows(self) -> int:
        """Return how many rows its requests have."""
        return sum(waiting.rows for waiting in self.batch)


class ModelThread:
    """Computes what it is handed, in order; belongs to one event loop.

    Args:
        run: Computes a batch: inputs ``(M, ...)`` to outputs ``(M, ...)``, by name.
        max_batch: Most rows that are computed at once; a longer batch is computed in parts.
    """

    def __init__(self, run: Callable[[Tensors], dict[str, Array]], max_batch: int) -> None:
        self._run = run
        self._max_batch = max_batch
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="hybridge-model")

    def hand(self, batch: list[Waiting]) -> Handed:
        """Let the thread compute ``batch``; what its answers raise is `ExpiredError` or the run's.

        `ExpiredError` comes between its parts where nobody waits for them any more.
        """
        progress = Progress()
        loop = asyncio.get_running_loop()
        answers = loop.run_in_executor(self._worker, self._compute, batch, progress)
        return Handed(batch, progress, answers)

    def close(self) -> None:
        """Stop the thread, once it has computed what it was handed."""
        self._worker.shutdown()

    def _compute(self, batch: list[Waiting], progress: Progress) -> Answers:
        progress.began_s = time.perf_counter()
        wanted = [waiting for waiting in batch if waiting.is_awaited(progress.began_s)]
        if not wanted:
            return [None] * len(batch)
        outputs = self._outputs(wanted, progress)
        ends = np.cumsum([waiting.rows for waiting in wanted]).tolist()
        found = {
            id(waiting): {name: array[end - waiting.rows : end] for name, array in outputs.items()}
            for waiting, end in zip(wanted, ends, strict=True)
        }
        return [found.get(id(waiting)) for waiting in batch]

    def _outputs(self, batch: list[Waiting], progress: Progress) -> dict[str, Array]:
        """Return the outputs ``(M, ...)`` of all requests together."""
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
        return outputs


def _concatenated(parts: list[Tensors] | list[dict[str, Array]]) -> dict[str, Array]:
    """Return tensors joined along their rows, without a copy where there is one part."""
    if len(parts) == 1:
        return dict(parts[0])
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
