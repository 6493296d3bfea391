"""How long batches take, learnt from those that ran."""

import time
from dataclasses import dataclass

#: Weight of the newest batch in the mean of its size.
_NEWEST = 0.25
#: A size that has not run for this long is not known any more: the machine may have changed.
_FORGOTTEN_S = 60.0


@dataclass(frozen=True, slots=True)
class _Size:
    """Batches of about one size: their mean rows and duration, and when the last one ended."""

    rows: float
    run_s: float
    at_s: float


class Pace:
    """Durations of batches by size, since a batch of 32 takes less than 32 batches of one.

    Sizes are kept apart by powers of two. One that has not run lately is taken to cost what the
    next shorter one does, or its share of the next longer one. That is the least it can be:
    nothing is refused that might have been in time.
    """

    def __init__(self) -> None:
        self._sizes: dict[int, _Size] = {}

    def note(self, rows: int, run_s: float) -> None:
        """Learn that a batch of ``rows`` took ``run_s`` just now."""
        now_s = time.perf_counter()
        old = self._sizes.get(rows.bit_length())
        if old is None or now_s - old.at_s > _FORGOTTEN_S:
            old = _Size(rows, run_s, now_s)
        self._sizes[rows.bit_length()] = _Size(
            old.rows + _NEWEST * (rows - old.rows),
            old.run_s + _NEWEST * (run_s - old.run_s),
            now_s,
        )

    def run_s(self, rows: int) -> float:
        """Return the seconds that a batch of ``rows`` is expected to take, 0 if none has run."""
        oldest_s = time.perf_counter() - _FORGOTTEN_S
        known = [size for _, size in sorted(self._sizes.items()) if size.at_s >= oldest_s]
        shorter = [size for size in known if size.rows <= rows]
        if shorter:
            return shorter[-1].run_s
        return known[0].run_s * rows / known[0].rows if known else 0.0
