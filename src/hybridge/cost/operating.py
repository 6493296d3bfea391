"""Operating points of a selective query: a threshold, and what it costs and brings.

Letters: ``N`` inputs, ``K`` operating points of a curve. An input goes to the cloud iff its score
is above the threshold. The cost of a point is ``edge + share sent * cloud`` (selective query,
eq. 2), for MACs, bytes, latency and energy alike; the edge's part counts the router.
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from hybridge.errors import ConfigError, DataError
from hybridge.plan.tensors import Frozen

Floats = np.ndarray[Any, np.dtype[np.float64]]
Bools = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True, slots=True)
class UnitCost:
    """What one input costs.

    Attributes:
        edge: Spent on every input: router and base (``R_router + R_base``).
        cloud: Spent on top for an input that is sent (``R_global``): one number, or ``(N,)``.
    """

    edge: float
    cloud: float | Floats

    def at(self, coverage: float) -> float:
        """Return the mean cost at a ``coverage``, any input being as likely sent as another."""
        return self.edge + (1 - coverage) * float(np.mean(self.cloud))


@dataclass(frozen=True, slots=True)
class Costs:
    """Unit costs of one selective query; None where they are not known.

    Attributes:
        macs: Multiply-accumulates, on the edge and in the cloud.
        payload_bytes: Encoded bytes that are sent.
        latency_ms: Edge time; link and cloud time.
        energy_mj: The device's energy: for computing; for sending and waiting.
    """

    macs: UnitCost
    payload_bytes: UnitCost | None = None
    latency_ms: UnitCost | None = None
    energy_mj: UnitCost | None = None


class OperatingPoint(Frozen, ser_json_inf_nan="strings"):
    """A threshold and what it brings, as means over the inputs it was measured on.

    Attributes:
        threshold: An input is sent iff its score is above it; may be infinite.
        coverage: Share of inputs that are kept.
        accuracy: Share of inputs answered right.
        accuracy_kept: The same among those kept, or None where none is.
        macs: Multiply-accumulates.
        payload_bytes: Encoded bytes sent, or None where their unit cost is not known.
        latency_ms: Latency, or None likewise.
        energy_mj: The device's energy, or None likewise.
    """

    threshold: float
    coverage: float
    accuracy: float
    accuracy_kept: float | None
    macs: float
    payload_bytes: float | None = None
    latency_ms: float | None = None
    energy_mj: float | None = None

    @property
    def query_rate(self) -> float:
        """Share of inputs that are sent."""
        return 1 - self.coverage


@dataclass(frozen=True)
class Curve:
    """Every distinct operating point, from all kept to all sent; each array is ``(K,)``.

    Attributes are those of `OperatingPoint`, with NaN for None.
    """

    threshold: Floats
    coverage: Floats
    accuracy: Floats
    accuracy_kept: Floats
    macs: Floats
    payload_bytes: Floats
    latency_ms: Floats
    energy_mj: Floats

    def __len__(self) -> int:
        return len(self.threshold)

    def point(self, index: int) -> OperatingPoint:
        """Return the operating point at ``index``."""
        values = {field.name: float(getattr(self, field.name)[index]) for field in fields(self)}
        return _point(values)


def sweep(score: Floats, kept_correct: Bools, sent_correct: Bools, costs: Costs) -> Curve:
    """Return every distinct operating point on the inputs at hand, in O(N log N).

    Inputs of equal score are kept or sent together. Each threshold lies midway between two
    neighbouring scores, so that noise in the last digit cannot flip a decision; it is plus
    infinity where all are kept and minus infinity where all are sent.

    Args:
        score: ``(N,)`` router scores.
        kept_correct: ``(N,)`` whether the answer is right where the input is kept.
        sent_correct: ``(N,)`` whether it is right where the input is sent: global's, or fused.
        costs: What inputs cost.

    Raises:
        DataError: The arrays do not fit each other, are empty, or a score is not finite.
    """
    score = _check(score, kept_correct, sent_correct)
    order = np.argsort(-score, kind="stable")
    sent = _sent_counts(score[order])
    kept = len(score) - sent
    right_kept = kept_correct.sum() - _running(kept_correct[order])[sent]
    right_sent = _running(sent_correct[order])[sent]
    with np.errstate(invalid="ignore"):
        accuracy_kept = np.where(kept > 0, right_kept / kept, np.nan)
    return Curve(
        threshold=_thresholds(score[order], sent),
        coverage=kept / len(score),
        accuracy=(right_kept + right_sent) / len(score),
        accuracy_kept=accuracy_kept,
        macs=_mean_cost(costs.macs, order, sent),
        payload_bytes=_mean_cost(costs.payload_bytes, order, sent),
        latency_ms=_mean_cost(costs.latency_ms, order, sent),
        energy_mj=_mean_cost(costs.energy_mj, order, sent),
    )


def measure_at(
    threshold: float, score: Floats, kept_correct: Bools, sent_correct: Bools, costs: Costs
) -> OperatingPoint:
    """Return what a ``threshold`` chosen elsewhere brings on these inputs.

    Choose on the calibration split, measure on the reporting split. Arguments and errors are
    those of `sweep`.
    """
    score = _check(score, kept_correct, sent_correct)
    sent = score > threshold
    # All that is sent comes first: the point is the one entry of a curve cut after it.
    order, count = np.argsort(~sent, kind="stable"), np.array([sent.sum()])
    right = np.where(sent, sent_correct, kept_correct)
    names = ("macs", "payload_bytes", "latency_ms", "energy_mj")
    return _point(
        {
            "threshold": float(threshold),
            "coverage": 1 - float(sent.mean()),
            "accuracy": float(right.mean()),
            "accuracy_kept": float(kept_correct[~sent].mean()) if not sent.all() else np.nan,
            **{name: float(_mean_cost(getattr(costs, name), order, count)[0]) for name in names},
        }
    )


def _check(score: Floats, kept_correct: Bools, sent_correct: Bools) -> Floats:
    shapes = {np.shape(score), np.shape(kept_correct), np.shape(sent_correct)}
    if len(shapes) != 1 or len(np.shape(score)) != 1 or not len(score):
        raise DataError(
            "expected score, kept_correct and sent_correct of one shape (N,), N > 0, got "
            f"{np.shape(score)}, {np.shape(kept_correct)} and {np.shape(sent_correct)}"
        )
    for name, correct in (("kept_correct", kept_correct), ("sent_correct", sent_correct)):
        if correct.dtype != np.bool_:
            raise DataError(f"expected {name} as bool, got {correct.dtype}")
    if not np.isfinite(score).all():
        first = int(np.flatnonzero(~np.isfinite(score))[0])
        raise DataError(f"expected finite scores, got {score[first]} at input {first}")
    return np.asarray(score, np.float64)


def _sent_counts(descending: Floats) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return how many inputs each distinct threshold sends, from none to all."""
    last_of_group = np.flatnonzero(descending[1:] != descending[:-1]) + 1
    return np.concatenate(([0], last_of_group, [len(descending)]))


def _thresholds(descending: Floats, sent: np.ndarray[Any, Any]) -> Floats:
    lowest_sent, highest_kept = descending[sent[1:-1] - 1], descending[sent[1:-1]]
    # Halving first cannot overflow; between neighbouring floats the midpoint may round up.
    midway = highest_kept / 2 + lowest_sent / 2
    between = np.where((midway < lowest_sent) & (midway >= highest_kept), midway, highest_kept)
    return np.concatenate(([np.inf], between, [-np.inf]))


def _running(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the sum of the first 0, 1, ... N values: ``(N + 1,)``."""
    return np.concatenate(([0], np.cumsum(values)))


def _mean_cost(
    unit: UnitCost | None, order: np.ndarray[Any, Any], sent: np.ndarray[Any, Any]
) -> Floats:
    """Return the mean cost ``(K,)`` where the first ``sent`` inputs in ``order`` are sent."""
    if unit is None:
        return np.full(len(sent), np.nan)
    cloud = np.asarray(unit.cloud, np.float64)
    if cloud.shape not in ((), order.shape) or (cloud < 0).any():
        raise DataError(
            f"expected a cloud cost of at least 0, one number or {order.shape}, got "
            f"shape {cloud.shape}, least {cloud.min(initial=0)}"
        )
    total: Floats = cloud * sent if cloud.ndim == 0 else _running(cloud[order])[sent]
    mean: Floats = unit.edge + total / len(order)
    return mean


def _point(values: dict[str, float]) -> OperatingPoint:
    return OperatingPoint.model_validate(
        {name: None if np.isnan(value) else value for name, value in values.items()}
    )


def area_under(curve: Curve, lowest_macs: float, highest_macs: float) -> float:
    """Return the mean hybrid accuracy over a range of MACs: the area under it, by its width.

    Give all curves that are to be compared one range, so that a router's own MACs count.

    Raises:
        ConfigError: The range is empty, or the curve does not reach from end to end of it.
    """
    begin, end = float(curve.macs[0]), float(curve.macs[-1])
    if not begin <= lowest_macs < highest_macs <= end:
        raise ConfigError(
            f"expected a range of MACs within the curve's, {begin:g} to {end:g}, "
            f"got {lowest_macs:g} to {highest_macs:g}"
        )
    inside = (curve.macs > lowest_macs) & (curve.macs < highest_macs)
    macs = np.concatenate(([lowest_macs], curve.macs[inside], [highest_macs]))
    accuracy = np.interp(macs, curve.macs, curve.accuracy)
    return float(np.trapezoid(accuracy, macs) / (highest_macs - lowest_macs))
