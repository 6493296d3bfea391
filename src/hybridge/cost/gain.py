"""What sending an input gains, by its router score.

Letters: ``N`` rehearsed inputs, ``Q`` bins.
"""

import math
from bisect import bisect_left
from dataclasses import dataclass
from typing import Any

import numpy as np

from hybridge.cost.reach import selective_query
from hybridge.errors import ConfigError
from hybridge.plan.plan import Plan
from hybridge.plan.rehearsal import Rehearsal

_INPUTS_OF_BIN = 50
_MOST_BINS = 64

Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Gains:
    """How many more inputs are right in the cloud than at home, at every router score.

    Attributes:
        scores: Scores of the calibration inputs on the device's own axis, ascending: ``(N,)``.
        lows: Lowest score of each bin, ascending: ``(Q,)``; the first is minus infinity.
        points: Gain of each bin in percentage points, never falling: ``(Q,)``.
    """

    scores: tuple[float, ...]
    lows: tuple[float, ...]
    points: tuple[float, ...]

    def threshold(self, least_points: float) -> float:
        """Return the threshold above which sending gains at least so many points."""
        worth = bisect_left(self.points, least_points)
        if worth == len(self.points):
            return math.inf
        return math.nextafter(self.lows[worth], -math.inf)


@dataclass(frozen=True, eq=False)
class Bins:
    """Means over inputs of neighbouring router scores.

    Attributes:
        lows: Lowest score of each bin, ascending: ``(Q,)``; the first is minus infinity.
        means: Of the inputs in each: ``(Q,)``.
        sizes: How many inputs each holds: ``(Q,)``.
    """

    lows: Floats
    means: Floats
    sizes: Floats

    def at(self, score: Floats) -> Floats:
        """Return the mean of each score's bin: ``(R,)``; a score that is NaN is the highest."""
        found: Floats = self.means[np.searchsorted(self.lows, score, side="right") - 1]
        return found


def bins_by_score(rehearsal: Rehearsal, values: Floats) -> Bins:
    """Return what ``values`` ``(N,)`` come to by the score at a plan's first fork.

    Inputs are told apart by held-out scores where there are some, by rank, since those of
    different routers share no axis; ``lows`` are scores of the device's own router.
    """
    score = np.sort(rehearsal.score[()])
    judged = rehearsal.held_out_score.get((), rehearsal.score[()])
    ranked = np.asarray(values, np.float64)[np.argsort(judged, kind="stable")]
    count = min(max(len(ranked) // _INPUTS_OF_BIN, 1), _MOST_BINS)
    edges = np.arange(count) * len(ranked) // count
    sizes = np.diff(np.append(edges, len(ranked)))
    lows = score[edges]
    lows[0] = -math.inf
    return Bins(lows, np.add.reduceat(ranked, edges) / sizes, sizes.astype(np.float64))


def gains(plan: Plan, rehearsal: Rehearsal) -> Gains:
    """Return what sending gains, as a bundle's rehearsal has it.

    Bins are those of `bins_by_score`. Those that fall are joined until none does: a router's score
    is to say the more, the more sending helps.

    Raises:
        ConfigError: The plan is not one fork by score with an answer on either side.
    """
    query = selective_query(plan)
    if query is None:
        raise ConfigError(
            "expected a plan with one fork by score, an answer at once for what is kept and one "
            "cloud step for what is sent; a policy of the threshold needs one"
        )
    right = [
        rehearsal.answers(leaf, codec) == rehearsal.truth
        for leaf, codec in ((query.kept, None), (query.sent, query.codec))
    ]
    bins = bins_by_score(rehearsal, 100.0 * (right[1].astype(np.float64) - right[0]))
    means = _never_falling(bins.means, bins.sizes)
    score = np.sort(rehearsal.score[()])
    return Gains(tuple(score.tolist()), tuple(bins.lows.tolist()), tuple(means.tolist()))


def _never_falling(values: Floats, weights: np.ndarray[Any, Any]) -> Floats:
    """Return the nearest values that never fall, pooling adjacent violators (Ayer et al. 1955)."""
    blocks: list[tuple[float, float, int]] = []  # mean, weight, values
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        mean, total, count = value, float(weight), 1
        while blocks and blocks[-1][0] >= mean:
            before, mass, before_count = blocks.pop()
            mean = (before * mass + mean * total) / (mass + total)
            total, count = total + mass, count + before_count
        blocks.append((mean, total, count))
    return np.concatenate([np.full(count, mean) for mean, _, count in blocks])
