"""Times of calls on a machine that others use as well."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

#: A call is repeated for about so long before the next one has its turn.
BURST_MS = 15.0
#: Quantile of the rounds that counts: what a call takes where nothing is in its way, less the luck
#: of a single round.
QUANTILE = 0.2


def interleaved_ms(
    calls: Sequence[Callable[[], object]], rounds: int
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the milliseconds ``(calls,)`` that each call takes on a machine at rest.

    All take turns, round after round, so that a load from outside meets them alike.

    Args:
        calls: What is timed.
        rounds: How many turns each has.
    """
    repeats = [max(1, round(BURST_MS / max(_once_ms(call), 1e-6))) for call in calls]
    found_ms = np.empty((rounds, len(calls)))
    for row in found_ms:
        for column, (call, count) in enumerate(zip(calls, repeats, strict=True)):
            call()  # the caches hold what the call before it needed
            row[column] = _burst_ms(call, count) / count
    return np.quantile(found_ms, QUANTILE, axis=0)


def _once_ms(call: Callable[[], object]) -> float:
    call()
    return _burst_ms(call, 1)


def _burst_ms(call: Callable[[], object], count: int) -> float:
    began = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - began) * 1e3
