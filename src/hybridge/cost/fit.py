"""Speeds fitted to measured layers (model tree, section V-B), and how well they predict others."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np

from hybridge.cost.device import Device, Sourced, Speed, SpeedKind, amounts_ms
from hybridge.cost.operating import Floats
from hybridge.cost.price import layer_ms
from hybridge.errors import DataError
from hybridge.plan.layers import Layer

#: A layer shorter than this counts as this long where errors are relative: clocks see no less.
LEAST_MS = 0.002
_GRAIN_MS = 0.0005
#: A term that adds less than this share to layers is left at zero.
_NOTHING = 1e-4
#: Layers of one class and kernel that a fit needs at least: one for each of its four terms.
LEAST_LAYERS = 4


class Timing(NamedTuple):
    """A layer, and what it was measured to take, in milliseconds."""

    layer: Layer
    ms: float


class Quality(NamedTuple):
    """How well speeds predict layers that they were not fitted on.

    Attributes:
        name: Class and kernel.
        layers: How many there were.
        mape: Mean absolute error, as a share of what was measured.
        r2: Share of the variance that is explained; NaN where there is none.
    """

    name: str
    layers: int
    mape: float
    r2: float


def class_of(layer: Layer) -> str:
    """Return class and kernel of a layer, as `Speed.name` has them."""
    return f"{layer.kind} {layer.kernel}" if layer.kernel else layer.kind


def fit_speeds(timings: Iterable[Timing], source: str) -> tuple[Speed, ...]:
    """Return one speed for each class and kernel, none of its terms negative.

    Squares of the logarithms of predicted over measured are least: short layers count as much as
    long ones, and twice as much is as wrong as half as much. (Squares of relative errors would
    draw the fit below what was measured.)

    Args:
        timings: Measured layers.
        source: Where they come from, for the profile.

    Raises:
        DataError: There are too few layers of one class and kernel.
    """
    speeds = []
    for name, group in _by_class(timings):
        if len(group) < LEAST_LAYERS:
            raise DataError(
                f"expected at least {LEAST_LAYERS} layers of {name!r} to fit, got {len(group)}"
            )
        about = f"{source}; {len(group)} layers"
        per_mac, per_weight, per_output, per_layer = (
            Sourced(value=value, source=about) for value in _solve(group)
        )
        speeds.append(
            Speed(
                kind=_kind(group[0].layer),
                kernel=group[0].layer.kernel or None,
                ns_per_mac=per_mac,
                ns_per_weight_byte=per_weight,
                ns_per_output_byte=per_output,
                layer_us=per_layer,
            )
        )
    return tuple(speeds)


def judge(device: Device, timings: Iterable[Timing]) -> list[Quality]:
    """Return for each class and kernel how well ``device`` predicts layers measured on it."""
    return [_quality(name, device, group) for name, group in _by_class(timings)]


def _quality(name: str, device: Device, timings: Sequence[Timing]) -> Quality:
    measured = np.array([timing.ms for timing in timings])
    predicted = np.array([layer_ms(timing.layer, device) for timing in timings])
    relative = (predicted - measured) / np.maximum(measured, LEAST_MS)
    spread = float(((measured - measured.mean()) ** 2).sum())
    left = float(((predicted - measured) ** 2).sum())
    r2 = 1 - left / spread if spread > 0 else float("nan")
    return Quality(name, len(timings), float(np.abs(relative).mean()), r2)


def fit_rate(macs: Sequence[float], ms: Sequence[float]) -> float:
    """Return the nanoseconds per MAC at which networks' relative errors have least squares.

    Args:
        macs: Multiply-accumulates of whole networks, none of them 0.
        ms: What each was measured to take.

    Raises:
        DataError: There is no network, or they do not pair up.
    """
    if not len(macs) == len(ms) > 0:
        raise DataError(f"expected a time for each network, got {len(ms)} for {len(macs)}")
    rates = np.asarray(ms, np.float64) * 1e6 / np.asarray(macs, np.float64)
    # With r = ns / MAC of each network, sum (x / r - 1)^2 is least at sum(1/r) / sum(1/r^2).
    return float((1 / rates).sum() / (1 / rates**2).sum())


def _by_class(timings: Iterable[Timing]) -> list[tuple[str, list[Timing]]]:
    def name(timing: Timing) -> str:
        return class_of(timing.layer)

    return [(each, list(group)) for each, group in groupby(sorted(timings, key=name), name)]


def _kind(layer: Layer) -> SpeedKind:
    kind: SpeedKind = layer.kind  # type: ignore[assignment]  # `Speed` checks it
    return kind


def _solve(timings: Sequence[Timing]) -> list[float]:
    """Return the terms of a `Speed`, in its own order."""
    from scipy.optimize import least_squares, nnls  # an extra, which pricing does not need

    amounts = np.array([amounts_ms(timing.layer) for timing in timings])
    measured = np.array([timing.ms for timing in timings])
    met = amounts.any(axis=0)
    scale = np.where(met, amounts.mean(axis=0), 1.0)
    weights = 1 / np.maximum(measured, LEAST_MS)
    begin, _ = nnls(amounts / scale * weights[:, None], measured * weights)

    def residuals(shares: Floats) -> Floats:
        # What is far below the clock's grain is as good as nothing, and must not weigh.
        return np.log((amounts / scale @ shares + _GRAIN_MS) / (measured + _GRAIN_MS))

    found = least_squares(residuals, np.maximum(begin, 1e-6), bounds=(0, np.inf))
    terms = np.where(met & (found.x * weights.mean() > _NOTHING), found.x / scale, 0.0)
    return [float(term) for term in terms]
