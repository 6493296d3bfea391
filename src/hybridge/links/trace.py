"""Bandwidth over time: piecewise constant, and repeated for ever.

Letters: ``N`` pieces.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np

from hybridge.errors import ConfigError


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


#: States of the cellular generator: share of the mean bandwidth, and mean stay in seconds.
_STATES = ((0.05, 2.0), (0.4, 6.0), (1.0, 10.0), (1.9, 8.0))
_SPREAD = 0.25  # standard deviation of the logarithm of bandwidth within a state


def cellular(
    seed: int, duration_s: float = 600.0, mean_mbps: float = 5.0, step_s: float = 1.0
) -> Trace:
    """Return a trace that changes as a moving phone's uplink does.

    A Markov chain walks between four neighbouring states, from nearly an outage to twice the
    mean; within a state, bandwidth scatters log-normally from step to step.

    Args:
        seed: Same seed, same trace.
        duration_s: Length before it repeats.
        mean_mbps: Mean bandwidth of the whole trace, met exactly.
        step_s: Length of a piece.

    Raises `ConfigError` where the seed is negative or the mean is not a positive number.
    """
    if seed < 0 or not 0 < mean_mbps < math.inf:
        raise ConfigError(
            f"expected a seed of 0 or more and a positive mean_mbps, got {seed} and {mean_mbps}"
        )
    rng = np.random.default_rng(seed)
    steps = max(1, math.ceil(duration_s / step_s))
    state = int(rng.integers(len(_STATES)))
    shares = np.empty(steps)
    for step in range(steps):
        share, stay_s = _STATES[state]
        shares[step] = share * rng.lognormal(0.0, _SPREAD)
        if rng.random() < step_s / stay_s:
            state = _neighbour(state, rng)
    times_s = np.arange(steps) * step_s
    lengths_s = np.diff(times_s, append=duration_s)
    mean_share = float(shares @ lengths_s) / duration_s
    return Trace(times_s.tolist(), (shares / mean_share * mean_mbps * 1e6).tolist(), duration_s)


def _neighbour(state: int, rng: np.random.Generator) -> int:
    if state == 0:
        return 1
    if state == len(_STATES) - 1:
        return state - 1
    return state + (1 if rng.random() < 0.5 else -1)
