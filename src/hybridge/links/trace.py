"""Bandwidth over time: piecewise constant, and repeated for ever.

Letters: ``N`` pieces.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from hybridge.errors import ConfigError

Floats = np.ndarray[Any, np.dtype[np.float64]]

#: More pieces than any recording has, and fewer than fill the memory.
MAX_PIECES = 10_000_000


class Trace:
    """Bandwidth as a function of time.

    Piece ``i`` holds ``bandwidth_bps[i]`` from ``times_s[i]`` to ``times_s[i + 1]``, the last one
    to ``duration_s``; then the trace begins again.

    Args:
        times_s: ``(N,)`` starts of the pieces, rising from 0.
        bandwidth_bps: ``(N,)`` bits per second, none negative; 0 is an outage.
        duration_s: Length of the whole, beyond the last start.

    Raises `ValueError` where these do not hold.
    """

    def __init__(
        self, times_s: Sequence[float], bandwidth_bps: Sequence[float], duration_s: float
    ) -> None:
        self.times_s = tuple(map(float, times_s))
        self.bandwidth_bps = tuple(map(float, bandwidth_bps))
        self.duration_s = float(duration_s)
        _check(self.times_s, self.bandwidth_bps, self.duration_s)
        self._slowest_bps, self._fastest_bps = min(self.bandwidth_bps), max(self.bandwidth_bps)
        ends_s = (*self.times_s[1:], self.duration_s)
        bits = (
            rate * (end - begin)
            for begin, end, rate in zip(self.times_s, ends_s, self.bandwidth_bps, strict=True)
        )
        # Bits that crossed by the start of each piece, and by the end of the trace.
        self._bits = tuple(accumulate(bits, initial=0.0))

    @classmethod
    def constant(cls, bandwidth_bps: float) -> "Trace":
        """Return a trace that never changes."""
        return cls([0.0], [bandwidth_bps], 1.0)

    @property
    def mean_bps(self) -> float:
        """Mean bandwidth over the whole trace."""
        return self._bits[-1] / self.duration_s

    def at(self, time_s: float) -> float:
        """Return the bandwidth at ``time_s`` (from 0 on), in bits per second."""
        piece = bisect_right(self.times_s, time_s % self.duration_s) - 1
        return self.bandwidth_bps[piece]

    def bits_by(self, time_s: float) -> float:
        """Return the bits that can cross between 0 and ``time_s``."""
        rounds, within_s = divmod(time_s, self.duration_s)
        piece = bisect_right(self.times_s, within_s) - 1
        part = self._bits[piece] + self.bandwidth_bps[piece] * (within_s - self.times_s[piece])
        return rounds * self._bits[-1] + part

    def mean_between_bps(self, begin_s: float, end_s: float) -> float:
        """Return the mean bandwidth from ``begin_s`` (0 or later) to ``end_s``, which is later."""
        mean = (self.bits_by(end_s) - self.bits_by(begin_s)) / (end_s - begin_s)
        # No mean of rates lies beyond them, whatever a difference of large sums says.
        return min(max(mean, self._slowest_bps), self._fastest_bps)

    def time_of(self, bits: float) -> float:
        """Return the first time by which ``bits`` have crossed; infinity where they never do."""
        total = self._bits[-1]
        if bits <= 0:
            return 0.0
        if total == 0:
            return math.inf
        # The last bit of a round crosses in that round, however long an outage follows it.
        rounds = math.ceil(bits / total) - 1
        within = min(bits - rounds * total, total)
        if within <= 0:  # the division was rounded up across a round's end
            rounds, within = rounds - 1, total
        piece = bisect_left(self._bits, within) - 1
        left = within - self._bits[piece]
        return rounds * self.duration_s + self.times_s[piece] + left / self.bandwidth_bps[piece]

    @property
    def lengths_s(self) -> Floats:
        """``(N,)`` lengths of the pieces."""
        return np.diff(self.times_s, append=self.duration_s)

    def resampled(self, step_s: float) -> "Trace":
        """Return the trace in pieces of ``step_s``, each at its mean: no bit is lost.

        The last piece is shorter where ``step_s`` does not divide the duration. Raises
        `ConfigError` where ``step_s`` is no length, or makes more than 10 million pieces.
        """
        edges_s = grid(self.duration_s, step_s)
        bits = np.interp(edges_s, (*self.times_s, self.duration_s), self._bits)
        rates = np.diff(bits) / np.diff(edges_s)
        return Trace(edges_s[:-1].tolist(), rates.tolist(), self.duration_s)

    def between(self, begin_s: float, end_s: float) -> "Trace":
        """Return what lies between two times of the trace, on a clock that begins at 0 again.

        Raises `ConfigError` unless ``0 <= begin_s < end_s <= duration_s``.
        """
        if not 0 <= begin_s < end_s <= self.duration_s:
            raise ConfigError(
                f"expected a begin before an end in a trace of {self.duration_s:g} s, "
                f"got {begin_s:g} and {end_s:g}"
            )
        first, last = bisect_right(self.times_s, begin_s), bisect_left(self.times_s, end_s)
        times_s = [0.0, *(self.times_s[at] - begin_s for at in range(first, last))]
        return Trace(times_s, self.bandwidth_bps[first - 1 : last], end_s - begin_s)


def joined(traces: Sequence[Trace]) -> Trace:
    """Return the traces one after another; raises `ConfigError` where there is none."""
    if not traces:
        raise ConfigError("expected at least one trace to join, got none")
    begins_s = accumulate((trace.duration_s for trace in traces), initial=0.0)
    parts = list(zip(begins_s, traces, strict=False))
    times_s = [begin_s + time_s for begin_s, trace in parts for time_s in trace.times_s]
    bps = [rate for trace in traces for rate in trace.bandwidth_bps]
    return Trace(times_s, bps, parts[-1][0] + traces[-1].duration_s)


def grid(duration_s: float, step_s: float) -> Floats:
    """Return ``(M + 1,)`` edges of pieces of ``step_s`` that fill a duration.

    The last piece is shorter where ``step_s`` does not divide the duration. Raises `ConfigError`
    where either is no length, or where there are more than 10 million pieces.
    """
    if not (0 < step_s < math.inf and 0 < duration_s < math.inf):
        raise ConfigError(
            f"expected a step and a duration of more than 0 s, got {step_s:g} and {duration_s:g}"
        )
    steps = duration_s / step_s
    if steps > MAX_PIECES:
        raise ConfigError(
            f"expected at most {MAX_PIECES:,} steps, got {steps:.3g}: {duration_s:g} s in steps of "
            f"{step_s:g} s"
        )
    # Less a little: what rounding leaves over is no piece of its own.
    whole = max(1, math.ceil(steps * (1 - 1e-12)))
    edges_s: Floats = np.arange(whole + 1, dtype=np.float64) * step_s
    edges_s[-1] = duration_s
    return edges_s


def _check(times_s: tuple[float, ...], bandwidth_bps: tuple[float, ...], duration_s: float) -> None:
    if not times_s or len(times_s) != len(bandwidth_bps):
        raise ValueError(
            f"expected as many bandwidths as times, and at least one, "
            f"got {len(bandwidth_bps)} and {len(times_s)}"
        )
    edges = (*times_s, duration_s)
    if times_s[0] != 0 or any(not b > a for a, b in pairwise(edges)):
        raise ValueError("expected times_s that rise from 0 and end before duration_s")
    if any(not 0 <= rate < math.inf for rate in bandwidth_bps):
        raise ValueError("expected finite bandwidths of 0 bit/s or more")
