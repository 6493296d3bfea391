"""Synthetic traces, from a seed: like a recorded one, or like a moving phone's.

Letters: ``N`` steps of a recorded trace, ``M`` steps of a sample.
"""

import math
from typing import Annotated, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from hybridge.errors import ConfigError
from hybridge.links.trace import Trace, grid

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


class Synthesiser(BaseModel):
    """A Markov-modulated generator: a chain over states of bandwidth, which modulates a record.

    It plays the record step by step. On average every ``stretch_s`` it leaves it where it stands,
    and goes on from any other moment of the same state, all being as likely. The record is a
    circle, so every moment is played equally often in the long run: the share of time at each
    bandwidth is the record's exactly. With ``stretch_s`` equal to ``step_s`` this is the textbook's
    process, in which a state's bandwidths come independently; such forget within a second or two
    what real links remember for ten.

    Attributes:
        step_s: Length of a step.
        stretch_s: Mean time until the record is left; at least a step.
        bandwidth_bps: ``(N,)`` means of the record's steps.
        states: ``(N,)`` state of each step, counted from 0 by bandwidth.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    step_s: float = Field(gt=0, allow_inf_nan=False)
    stretch_s: float = Field(gt=0, allow_inf_nan=False)
    bandwidth_bps: tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...] = Field(
        min_length=1
    )
    states: tuple[Annotated[int, Field(ge=0)], ...]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(self.states) != len(self.bandwidth_bps):
            raise ValueError(
                f"expected a state for each of {len(self.bandwidth_bps)} steps, "
                f"got {len(self.states)}"
            )
        if self.stretch_s < self.step_s:
            raise ValueError(
                f"expected a stretch_s of at least a step of {self.step_s:g} s, "
                f"got {self.stretch_s:g}"
            )
        return self

    def sample(self, seed: int, duration_s: float) -> Trace:
        """Return a trace; the same seed gives the same.

        Raises `ConfigError` where the seed is negative or ``duration_s`` is no length.
        """
        if seed < 0:
            raise ConfigError(f"expected a seed of 0 or more, got {seed}")
        edges_s = grid(duration_s, self.step_s)
        rates = np.asarray(self.bandwidth_bps)[self._walk(seed, len(edges_s) - 1)]
        return Trace(edges_s[:-1].tolist(), rates.tolist(), duration_s)

    def _walk(self, seed: int, steps: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Return ``(M,)`` steps of the record, in the order in which they are played."""
        rng = np.random.default_rng(seed)
        count, states = len(self.states), np.asarray(self.states)
        alike = {state: np.flatnonzero(states == state) for state in set(self.states)}
        leaves = np.flatnonzero(rng.random(steps - 1) < self.step_s / self.stretch_s) + 1
        played = np.empty(steps, np.int64)
        at = int(rng.integers(count))
        begins = 0
        for ends in (*leaves.tolist(), steps):
            played[begins:ends] = np.arange(at, at + ends - begins) % count
            at = int(rng.choice(alike[self.states[played[ends - 1]]])) + 1
            begins = ends
        return played


def fit_synthesiser(
    trace: Trace, states: int = 8, step_s: float = 1.0, stretch_s: float = 15.0
) -> Synthesiser:
    """Return a generator of traces like ``trace``.

    States part the bandwidths into shares of equal time. On each of 90 recorded links (Wi-Fi, 3G
    and 4G, from half a minute to a quarter of an hour), six hours of synthetic trace have the
    record's mean within 10 %, are below each of its quartiles for a quarter, half and three
    quarters of the time within 7 points, and have its autocorrelation within 0.2 at each lag from
    1 to 10 s, within 0.1 on average over them. Nine in ten are within 2 % of the mean, and their
    quartiles within 6 % of it; longer samples come nearer.

    Args:
        trace: The record; what is left of it after the last whole step is left out.
        states: How many states there are; fewer where bandwidths repeat.
        step_s: Length of a step.
        stretch_s: Mean time for which the record is followed before it is left.

    Raises `ConfigError` where one of these cannot be.
    """
    if states < 1 or not step_s <= stretch_s < math.inf:
        raise ConfigError(
            f"expected at least 1 state and a stretch_s of at least a step of {step_s:g} s, "
            f"got {states} and {stretch_s:g}"
        )
    coarse = trace.resampled(step_s)
    whole = max(1, int(trace.duration_s / step_s * (1 + 1e-12)))
    rates = np.asarray(coarse.bandwidth_bps[:whole])
    borders = np.unique(np.quantile(rates, np.arange(1, states) / states))
    return Synthesiser(
        step_s=step_s,
        stretch_s=stretch_s,
        bandwidth_bps=tuple(rates.tolist()),
        states=tuple(np.searchsorted(borders, rates, side="right").tolist()),
    )
