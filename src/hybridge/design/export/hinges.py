"""Functions as sums of hinges, with factors that 8-bit weights can hold.

A weight of a layer is a whole number of steps, `STEP` of the largest. Rounded one by one, the
factors of a function's hinges would add up their errors. Here each is chosen by what those before
it left over, so that at every knot the sum is off by half a step of slope over one interval.
"""

import math
from collections.abc import Callable

import numpy as np

from hybridge.design.export.tflite_file import Array

#: Of weights, where the largest is 1.
STEP = 1 / 127
Function = Callable[[Array], Array]


def exp_knots(count: int, end: float) -> Array:
    """Return knots, the last at ``end``, between which lines are equally far from ``exp(-x)``."""
    share = np.arange(1, count + 1) / count * (1 - math.exp(-end / 2))
    return np.asarray(-2 * np.log(1 - share))


def exp_scales(knots: Array) -> Array:
    """Return a power of two for each knot, at least 1/16: hinges of small factors are small."""
    return np.asarray(2.0 ** -np.clip(np.round(knots / 2 / math.log(2)), 0, 4))


def log_knots(count: int, end: float) -> Array:
    """Return knots from 1 to ``end``, between which lines are equally far from ``log(x)``."""
    return np.exp(np.linspace(0, math.log(end), count + 1))


def falling(function: Function, knots: Array, scales: Array) -> Array:
    """Return factors ``(K,)`` of ``scale * relu(knot - x)`` for a function that ends at 0.

    Args:
        function: From 0 on; taken as 0 from the last knot on.
        knots: ``(K,)``, rising.
        scales: ``(K,)``, of the hinges.
    """
    ends = np.concatenate(([0.0], knots))
    wanted = function(ends)
    factors = np.zeros(len(knots))
    value, slope = 0.0, 0.0
    for number in range(len(knots) - 1, -1, -1):
        width = ends[number + 1] - ends[number]
        more = (wanted[number] - value) / width - slope
        factors[number] = _whole(more / scales[number])
        slope += factors[number] * scales[number]
        value += slope * width
    return factors


def rising(function: Function, knots: Array) -> Array:
    """Return factors ``(K - 1,)`` of ``relu(x - knot)``, for what a function gains after the first.

    Args:
        function: Between the first knot and the last.
        knots: ``(K,)``, rising.
    """
    wanted = function(knots) - function(knots[:1])
    factors = np.zeros(len(knots) - 1)
    value, slope = 0.0, 0.0
    for number in range(len(factors)):
        width = knots[number + 1] - knots[number]
        factors[number] = _whole((wanted[number + 1] - value) / width - slope)
        slope += factors[number]
        value += slope * width
    return factors


def _whole(factor: float) -> float:
    return float(np.clip(round(factor / STEP), -127, 127) * STEP)
