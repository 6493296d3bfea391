"""Synthetic traces: a link like a moving phone's, from a seed."""

import math

import numpy as np

from hybridge.errors import ConfigError
from hybridge.links.trace import Trace

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
