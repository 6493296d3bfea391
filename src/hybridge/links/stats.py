"""Statistics of a trace, each weighted by the time for which a bandwidth holds.

Letters: ``N`` pieces, ``Q`` quantiles.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hybridge.links.trace import MAX_PIECES, Floats, Trace

#: Below this, one packet of 1,500 bytes takes more than a second.
OUTAGE_BPS = 12_000.0
_MBPS = 1e6


@dataclass(frozen=True, slots=True)
class TraceStatistics:
    """What a trace is like.

    Attributes:
        duration_s: Its length before it repeats.
        mean_mbps: Mean bandwidth.
        p25_mbps: Lower quartile of the bandwidth: the "poor" type of the model tree.
        p50_mbps: Its median.
        p75_mbps: Its upper quartile: the "good" type.
        coefficient_of_variation: Standard deviation over mean; 0 where nothing ever crosses.
        outage_share: Share of the time in which one packet of 1,500 bytes would take more than a
            second.
        autocorrelation_1s: Correlation of each second's mean with the next one's; None where the
            trace never changes or is shorter than three seconds.
    """

    duration_s: float
    mean_mbps: float
    p25_mbps: float
    p50_mbps: float
    p75_mbps: float
    coefficient_of_variation: float
    outage_share: float
    autocorrelation_1s: float | None


def statistics(trace: Trace) -> TraceStatistics:
    """Return what ``trace`` is like."""
    rates, shares = np.asarray(trace.bandwidth_bps), trace.lengths_s / trace.duration_s
    mean = trace.mean_bps
    deviation = math.sqrt(float(shares @ (rates - mean) ** 2))
    lower, median, upper = (quantiles_bps(trace, (0.25, 0.5, 0.75)) / _MBPS).tolist()
    return TraceStatistics(
        duration_s=trace.duration_s,
        mean_mbps=mean / _MBPS,
        p25_mbps=lower,
        p50_mbps=median,
        p75_mbps=upper,
        coefficient_of_variation=deviation / mean if mean else 0.0,
        outage_share=float(shares[rates < OUTAGE_BPS].sum()),
        autocorrelation_1s=_next_second(trace),
    )


def quantiles_bps(trace: Trace, shares: Sequence[float]) -> Floats:
    """Return ``(Q,)`` bandwidths that are not exceeded for given shares of the time.

    Pieces are laid end to end by bandwidth. Each holds its value, save that from the middle of one
    to the middle of the next the value runs straight, over the length of a median piece at most.
    Where all pieces are equally long, that is numpy's linear quantile; a piece of many times the
    others' length counts as that many.

    Args:
        trace: Whose bandwidth.
        shares: ``(Q,)`` numbers in [0, 1].
    """
    order = np.argsort(trace.bandwidth_bps, kind="stable")
    rates, lengths_s = np.asarray(trace.bandwidth_bps)[order], trace.lengths_s[order]
    ends_s = np.cumsum(lengths_s)
    ramps_s = np.minimum(lengths_s, np.median(lengths_s)) / 2
    knots_s = np.stack([ends_s - lengths_s + ramps_s, ends_s - ramps_s], axis=1).ravel()
    # Rounding may set the two knots of a short piece a hair the wrong way round.
    knots_s = np.maximum.accumulate(knots_s)
    at_s = knots_s[0] + np.asarray(shares) * (knots_s[-1] - knots_s[0])
    found: Floats = np.interp(at_s, knots_s, np.repeat(rates, 2))
    return found


def autocorrelation(trace: Trace, lags: int, step_s: float = 1.0) -> Floats | None:
    """Return ``(lags,)`` correlations of the means of steps with those 1, 2, … steps later.

    The usual estimate: deviations from the one mean, sums over what overlaps, divided by the sum
    over all. A last step that is not whole is left out.

    Returns:
        None where the trace never changes, or has no two steps more than ``lags``.
    """
    steps = trace.duration_s / step_s * (1 + 1e-12)
    if not lags + 2 <= steps <= MAX_PIECES:
        return None
    rates = np.asarray(trace.resampled(step_s).bandwidth_bps)[: int(steps)]
    off = rates - rates.mean()
    energy = float(off @ off)
    if energy <= 1e-18 * float(rates @ rates):  # nothing but rounding
        return None
    return np.array([off[lag:] @ off[:-lag] / energy for lag in range(1, lags + 1)])


def _next_second(trace: Trace) -> float | None:
    found = autocorrelation(trace, 1)
    return None if found is None else float(found[0])
