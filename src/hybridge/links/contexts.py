"""What a link is like where it is used: types of bandwidth, and scenes to take traces from.

A context is a kind of link, a mobility and a place (model tree, table III). At run time all that a
device sees of it is bandwidth; the model tree forks by its K types (section VI-A), which this
module makes. Its own two are the lower and the upper quartile, "poor" and "good" (section VII).

Letters: ``K`` types, ``N`` pieces of a trace.
"""

import math
from bisect import bisect_right
from dataclasses import dataclass
from itertools import groupby, pairwise

import numpy as np

from hybridge.errors import ConfigError
from hybridge.links.clusters import cluster
from hybridge.links.stats import OUTAGE_BPS, quantiles_bps
from hybridge.links.trace import Floats, Trace


@dataclass(frozen=True, slots=True)
class BandwidthTypes:
    """K types of bandwidth, from the poorest to the best.

    Attributes:
        typical_bps: ``(K,)`` bandwidths that stand for the types, rising and positive. Types may be
            equal, as of a link that never changes.

    Raises `ConfigError` where they do not rise, or one is not positive.
    """

    typical_bps: tuple[float, ...]

    def __post_init__(self) -> None:
        rising = all(low <= high < math.inf for low, high in pairwise(self.typical_bps))
        if not rising or not self.typical_bps or not 0 < min(self.typical_bps) < math.inf:
            raise ConfigError(
                f"expected positive typical bandwidths that rise, got {list(self.typical_bps)}"
            )

    @property
    def borders_bps(self) -> tuple[float, ...]:
        """``(K - 1,)`` bandwidths at which one type becomes the next: the geometric means."""
        return tuple(math.sqrt(low) * math.sqrt(high) for low, high in pairwise(self.typical_bps))

    def type_of(self, bandwidth_bps: float) -> int:
        """Return the type, from 0 on, that is nearest to a bandwidth by ratio.

        By ratio, since what a transfer takes is: 15 Mbit/s is nearer to 50 than to 1. A bandwidth
        on a border is of the better type.
        """
        return bisect_right(self.borders_bps, bandwidth_bps)


def quartile_types(trace: Trace) -> BandwidthTypes:
    """Return the model tree's two types: the lower and the upper quartile of the bandwidth."""
    return quantile_types(trace, 2)


def quantile_types(trace: Trace, count: int) -> BandwidthTypes:
    """Return K types, each typical of an equal share of the time: its middle quantile.

    Two of them are the quartiles. A typical bandwidth of less than a packet a second counts as
    that, so that what a transfer takes is always a number.

    Raises `ConfigError` where ``count`` is less than 1.
    """
    _check(count)
    shares = (np.arange(count) + 0.5) / count
    return BandwidthTypes(_floored(quantiles_bps(trace, shares.tolist())))


def clustered_types(trace: Trace, count: int) -> BandwidthTypes:
    """Return K types that lie as near as can be to the bandwidths of ``trace``, by ratio.

    The exact optimum of one-dimensional k-means on logarithms, weighted by time: a small share of
    the time may get a type of its own. Less than a packet a second counts as that.

    Raises `ConfigError` where ``count`` is less than 1, or more than there are bandwidths.
    """
    _check(count)
    rates, where = np.unique(np.maximum(trace.bandwidth_bps, OUTAGE_BPS), return_inverse=True)
    if count > len(rates):
        raise ConfigError(
            f"expected at most {len(rates)} types, as many as there are bandwidths, got {count}"
        )
    held_s: Floats = np.bincount(where, weights=trace.lengths_s).astype(np.float64)
    return BandwidthTypes(_floored(np.exp(cluster(np.log(rates), held_s, count))))


def _check(count: int) -> None:
    if count < 1:
        raise ConfigError(f"expected 1 type of bandwidth or more, got {count}")


def _floored(typical_bps: Floats) -> tuple[float, ...]:
    return tuple(np.maximum.accumulate(np.maximum(typical_bps, OUTAGE_BPS)).tolist())


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a trace that is of one type.

    Attributes:
        begin_s: Where it begins.
        end_s: Where it ends.
        type: Its type of bandwidth, from 0 on.
    """

    begin_s: float
    end_s: float
    type: int


def stretches(trace: Trace, types: BandwidthTypes) -> list[Stretch]:
    """Return the stretches of one type that make up ``trace``, in order."""
    ends_s = (*trace.times_s[1:], trace.duration_s)
    pieces = zip(trace.times_s, ends_s, map(types.type_of, trace.bandwidth_bps), strict=True)
    found = []
    for kind, run in groupby(pieces, key=lambda piece: piece[2]):
        first, *rest = run
        last = rest[-1] if rest else first
        found.append(Stretch(first[0], last[1], kind))
    return found


def windows(trace: Trace, length_s: float) -> list[Trace]:
    """Return ``trace`` cut into windows of one length; what is left over at the end is not.

    Raises `ConfigError` where ``length_s`` is no length, or longer than the trace.
    """
    if not 0 < length_s <= trace.duration_s:
        raise ConfigError(
            f"expected windows of more than 0 s and up to the trace's {trace.duration_s:g} s, "
            f"got {length_s:g}"
        )
    count = int(trace.duration_s / length_s * (1 + 1e-12))
    edges_s = [min(at * length_s, trace.duration_s) for at in range(count + 1)]
    return [trace.between(begin_s, end_s) for begin_s, end_s in pairwise(edges_s)]
