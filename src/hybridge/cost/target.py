"""Choosing a threshold for a target (selective query, algorithm 2)."""

from typing import Self

import numpy as np
from pydantic import Field, model_validator

from hybridge.cost.operating import Bools, Costs, Curve, Floats, OperatingPoint, UnitCost, sweep
from hybridge.cost.reach import check_share
from hybridge.errors import ConfigError, InfeasibleError
from hybridge.plan.tensors import Frozen

#: Share by which a sum of costs may exceed its target through rounding alone.
ROUNDING = 1e-9


class Target(Frozen):
    """What an operating point is to reach; exactly one of these is given.

    Attributes:
        coverage: Share of inputs to be kept, at least.
        macs_m: Mean multiply-accumulates, in millions, at most.
        payload_bytes: Mean encoded bytes sent, at most.
        latency_ms: Mean latency, at most.
        energy_mj: Mean energy of the device, at most.
        accuracy: Share of inputs answered right, at least; the cheapest point is taken.
    """

    coverage: float | None = Field(default=None, ge=0, le=1)
    macs_m: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    payload_bytes: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    latency_ms: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    energy_mj: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    accuracy: float | None = Field(default=None, ge=0, le=1)

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [name for name, value in self if value is not None]
        if len(given) != 1:
            names = ", ".join(type(self).model_fields)
            raise ValueError(f"expected exactly one of {names}; got {', '.join(given) or 'none'}")
        return self

    @property
    def what(self) -> str:
        """Name of what is given."""
        return next(name for name, value in self if value is not None)

    @property
    def value(self) -> float:
        """Its value."""
        value: float = getattr(self, self.what)
        return value


def threshold_for_coverage(score: Floats, coverage: float) -> float:
    """Return the ``coverage``-quantile of the scores ``(N,)`` as a threshold.

    The realised query rate never exceeds ``1 - coverage``: inputs of equal score are all kept
    where sending them all would exceed it.

    Raises:
        ConfigError: ``coverage`` is not within 0 and 1.
        DataError: There is no score, or one is not finite.
    """
    check_share("coverage", coverage)
    nothing = np.zeros(np.shape(score), np.bool_)
    curve = sweep(score, nothing, nothing, Costs(macs=UnitCost(0, 0)))
    return pick(curve, Target(coverage=coverage)).threshold


def choose(
    score: Floats, kept_correct: Bools, sent_correct: Bools, costs: Costs, target: Target
) -> OperatingPoint:
    """Return the operating point that reaches ``target`` on calibration data.

    For a target cost this is algorithm 2 with costs that may differ from input to input: where
    the cloud costs the same for all, the threshold is the quantile of the scores at the coverage
    ``1 - (limit - edge) / cloud``.

    Args:
        score: ``(N,)`` router scores.
        kept_correct: ``(N,)`` whether the answer is right where the input is kept.
        sent_correct: ``(N,)`` whether it is right where the input is sent: global's, or fused.
        costs: What inputs cost.
        target: What to reach.

    Raises:
        InfeasibleError: No point reaches the target; the message names the nearest value.
        ConfigError: The target is a cost that ``costs`` does not know.
        DataError: The arrays do not fit each other.
    """
    return pick(sweep(score, kept_correct, sent_correct, costs), target)


def pick(curve: Curve, target: Target) -> OperatingPoint:
    """Return the point of a ``curve`` that reaches ``target``; see `choose`."""
    match target.what:
        case "coverage":
            return curve.point(_last(curve.coverage >= target.value - ROUNDING))
        case "accuracy":
            return curve.point(_first_reaching(curve, target.value))
        case "macs_m":
            return curve.point(_last_within(curve.macs / 1e6, "macs_m", target.value))
        case what:
            return curve.point(_last_within(getattr(curve, what), what, target.value))


def _first_reaching(curve: Curve, accuracy: float) -> int:
    reached = curve.accuracy >= accuracy - ROUNDING
    if not reached.any():
        best = int(np.argmax(curve.accuracy))
        raise InfeasibleError(
            f"no operating point reaches an accuracy of {accuracy:.2%}; the best is "
            f"{curve.accuracy[best]:.2%}, at a coverage of {curve.coverage[best]:.2%}"
        )
    return int(np.argmax(reached))


def _last_within(cost: Floats, what: str, limit: float) -> int:
    if np.isnan(cost).any():
        raise ConfigError(f"expected unit costs for a target in {what}, got none; give them")
    within = cost <= limit * (1 + ROUNDING)
    if not within.any():
        raise InfeasibleError(
            f"no operating point keeps {what} down to {limit:g}: keeping every input costs "
            f"{cost[0]:g}, which is the nearest feasible value"
        )
    return _last(within)


def _last(mask: Bools) -> int:
    return int(np.flatnonzero(mask)[-1])
