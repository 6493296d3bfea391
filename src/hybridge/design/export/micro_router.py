"""A router in the one operator that every microcontroller has: fully connected layers with ReLU.

What a router reads is not made of sums and products: its base's answers are sorted, and their
probabilities and entropy are exponentials and logarithms. All of it is piecewise linear, or nearly:

* a compare-exchange is ``max(a, b) = b + relu(a - b)`` and ``min(a, b) = a - relu(a - b)``, so each
  layer of a sorting network is one layer of the network, of weights -1, 0 and 1, and exact;
* differences are sums;
* ``exp(-x)`` and ``log(x)`` are sums of hinges, ``relu(knot - x)`` and ``relu(x - knot)``.

Of sorted logits ``x``: ``d_i = x_1 - x_i``, ``log u = log sum exp(-d)``, and ``a_i = d_i + log u``
give the probabilities ``exp(-a_i)``, and the entropy, the sum of ``a_i exp(-a_i)``. A confidence of
logits that are divided by ``T`` is a difference of such logarithms, and of ``d_2 / T``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from hybridge.design.export.hinges import exp_knots, exp_scales, falling, log_knots, rising
from hybridge.design.export.router_parts import RouterParts
from hybridge.design.export.sorting import Comparators, sorting_network
from hybridge.design.export.tflite_file import Array
from hybridge.errors import ConfigError

#: Hinges of ``exp`` in sums and in probabilities; where it ends, as a multiple of the temperature;
#: hinges of ``log``.
SUM_HINGES, EXP_HINGES, EXP_END, LOG_HINGES = 24, 44, 8.0, 16
#: Units of a layer: the router in C counts them in 16 bits.
MOST_UNITS = 32767
#: Log-odds that the confidence's are never below: there, nothing is sent.
REACH = 16.0


@dataclass(frozen=True)
class Linear:
    """Numbers that are sums of the units of a layer: ``weights @ units + bias``.

    Attributes:
        weights: ``(N, U)``.
        bias: ``(N,)``.
    """

    weights: Array
    bias: Array

    def __add__(self, other: "Linear | Array | float") -> "Linear":
        if isinstance(other, Linear):
            return Linear(self.weights + other.weights, self.bias + other.bias)
        return Linear(self.weights, self.bias + other)

    def __sub__(self, other: "Linear") -> "Linear":
        return Linear(self.weights - other.weights, self.bias - other.bias)

    def __mul__(self, factor: "Array | float") -> "Linear":
        factors = np.broadcast_to(np.asarray(factor, dtype=float), self.bias.shape)
        return Linear(self.weights * factors[:, None], self.bias * factors)

    def __len__(self) -> int:
        return len(self.bias)

    def rows(self, numbers: "list[int] | slice") -> "Linear":
        """Return some of the numbers."""
        return Linear(self.weights[numbers], self.bias[numbers])

    def mixed(self, by: Array) -> "Linear":
        """Return sums of the numbers, ``by @ self``."""
        return Linear(by @ self.weights, by @ self.bias)

    def total(self, factors: Array) -> "Linear":
        """Return one number: all of them, times factors that repeat."""
        return self.mixed(np.resize(factors, (1, len(self))))

    def __call__(self, units: Array) -> Array:
        """Return the numbers ``(B, N)`` for units ``(B, U)``."""
        return np.asarray(units @ self.weights.T + self.bias)


@dataclass(frozen=True)
class MicroRouter:
    """Layers from logits to a score: ReLU after every one but the last.

    Attributes:
        layers: What each gives of the units before.
        exact: How many of the first sort: their weights are whole numbers.
        end: Above it, what the layers of tables give makes no difference.
    """

    layers: tuple[Linear, ...]
    exact: int
    end: float

    @property
    def tables(self) -> range:
        """The layers of tables, whose weights are whole steps by design."""
        return range(self.exact, min(self.exact + 4, len(self.layers) - 1))

    def units(self, logits: Array) -> list[Array]:
        """Return what each layer gives, of logits ``(B, C)``; the last is the score ``(B, 1)``."""
        given = [np.asarray(logits, dtype=np.float64)]
        for layer in self.layers[:-1]:
            given.append(np.maximum(layer(given[-1]), 0))
        return [*given[1:], self.layers[-1](given[-1])]

    def score(self, logits: Array) -> Array:
        """Return scores ``(B,)`` of logits ``(B, C)``, in floating point."""
        return np.asarray(self.units(logits)[-1][:, 0])


class _Layers:
    """Layers that grow; `after` ends one and returns its units as numbers."""

    def __init__(self) -> None:
        self.made: list[Linear] = []

    def after(self, *parts: Linear) -> list[Linear]:
        """End a layer of these numbers, each through a ReLU; return them, part by part."""
        self.made.append(_joined(parts))
        ends = np.cumsum([0, *map(len, parts)])
        units = np.eye(ends[-1])
        return [Linear(units[start:end], np.zeros(end - start)) for start, end in pairwise(ends)]


def _joined(parts: "list[Linear] | tuple[Linear, ...]") -> Linear:
    return Linear(
        np.concatenate([part.weights for part in parts]),
        np.concatenate([part.bias for part in parts]),
    )


def build_micro_router(parts: RouterParts, least_logit: float) -> MicroRouter:
    """Return a router as layers.

    Args:
        parts: Weights of the router.
        least_logit: Logits below it are taken as this.

    Raises:
        ConfigError: The router starts from a confidence that layers cannot follow, or there are
            too many classes.
    """
    if parts.measure == "entropy":
        raise ConfigError(
            "this router starts from the logarithm of the entropy, which hinges cannot follow down "
            "to 0: train it with router.start: scratch, or export it with --target cortex-m"
        )
    count = parts.class_count
    _check_width(parts)
    layers = _Layers()
    numbers = Linear(np.eye(count), np.full(count, -least_logit))
    for comparators in sorting_network(count, parts.reads - 1):
        numbers = _compared(layers, numbers, comparators)
    exact = len(layers.made)
    gaps = numbers.rows([0] * (count - 1)) - numbers.rows(slice(1, None))
    tables = _Tables(parts)
    costs, anchor = tables.costs(layers, gaps)
    if parts.hidden:
        layers.made.append(_score(layers, parts, tables.summary(layers, costs, anchor)))
    else:
        assert anchor is not None, "a router without layers is a confidence"
        layers.made.append(anchor * parts.slope + parts.offset)
    return MicroRouter(tuple(layers.made), exact, tables.end)


def _check_width(parts: RouterParts) -> None:
    """Raise `ConfigError` where a layer would have more units than the router in C can count."""
    count = parts.class_count
    sums = (count - 1) * (1 + SUM_HINGES) + (count - 2) * SUM_HINGES * (parts.measure is not None)
    widest = max(sums, count * EXP_HINGES + 1 if parts.hidden else 0)
    if widest > MOST_UNITS:
        raise ConfigError(
            f"expected a router of at most {MOST_UNITS:,} units a layer, got {widest:,} for "
            f"{count:,} classes: take a base of fewer classes, or export it with --target cortex-m"
        )


def _compared(layers: _Layers, numbers: Linear, comparators: Comparators) -> Linear:
    """Exchange pairs of numbers, none below 0, so that the larger stands first."""
    first, second = ([pair[end] for pair in comparators] for end in (0, 1))
    kept, more = layers.after(numbers, numbers.rows(first) - numbers.rows(second))
    # Both of a pair begin from the other's number: the larger is b + relu(a - b).
    other = list(range(len(numbers)))
    order = np.zeros((len(numbers), len(comparators)))
    for column, (high, low) in enumerate(comparators):
        other[high], other[low] = low, high
        order[high, column], order[low, column] = 1, -1
    return kept.rows(other) + more.mixed(order)


class _Exp:
    """Hinges of ``exp(-x)``, and of what else is made of the same hinges."""

    def __init__(self, count: int, end: float) -> None:
        self._end = end
        self.knots = exp_knots(count, end)
        self.scales = exp_scales(self.knots)

    def hinges(self, numbers: Linear) -> Linear:
        """Return ``scale * (knot - number)`` of every number and knot, number by number."""
        count = len(numbers)
        each = np.repeat(-np.eye(count), len(self.knots), axis=0)
        return (numbers.mixed(each) + np.tile(self.knots, count)) * np.tile(self.scales, count)

    def exp(self, temperature: float = 1.0) -> Array:
        """Return factors of the hinges for ``exp(-x / T)``."""
        return self._factors(lambda x: np.exp(-x / temperature), 1 / temperature**2)

    def entropy(self) -> Array:
        """Return factors of the hinges for ``x exp(-x)``."""
        return self._factors(lambda x: x * np.exp(-x), -2.0)

    def _factors(self, function: Callable[[Array], Array], bend: float) -> Array:
        # A line between knots is off to the side that the function bends to; half of that is
        # taken off. Its bend falls as exp(-x) does, and knots are set by that.
        error = bend / (4 * len(self.knots) ** 2)

        def values(x: Array) -> Array:
            inside = function(x) - error * (x > 0)
            return np.asarray(np.where(x >= self._end, 0.0, inside))

        return falling(values, self.knots, self.scales)


class _Tables:
    """Exponentials and logarithms, for one router."""

    def __init__(self, parts: RouterParts) -> None:
        self.parts = parts
        self.end = EXP_END * max(1.0, parts.temperature if parts.measure else 1.0)
        self._sum = _Exp(SUM_HINGES, self.end)
        self._each = _Exp(EXP_HINGES, self.end)

    def costs(self, layers: _Layers, gaps: Linear) -> tuple[Linear, Linear | None]:
        """Return ``-log`` of every probability, sorted, and the confidence's log-odds, if any.

        Args:
            layers: Two are added.
            gaps: How far each sorted logit is below the first, ``C - 1`` numbers.
        """
        measure, temperature = self.parts.measure, self.parts.temperature
        asked = [gaps, self._sum.hinges(gaps)]
        if measure:
            inner = gaps.rows(slice(1, None)) - gaps.rows([0] * (len(gaps) - 1))
            asked.append(self._sum.hinges(inner))
        gaps, falls, *below = layers.after(*asked)
        totals = [falls.total(self._sum.exp()) + 1.0]
        if measure:
            tempered = self._sum.exp(temperature)
            totals.append(below[0].total(tempered) + (1.0 if measure == "top1" else 2.0))
        if measure == "margin":
            totals.append(falls.total(tempered) + 1.0)
        gaps, *logs = self._logs(layers, gaps, totals)
        spread = np.eye(len(gaps) + 1)[:, 1:]
        costs = gaps.mixed(spread) + logs[0].mixed(np.ones((len(gaps) + 1, 1)))
        if not measure:
            return costs, None
        anchor = logs[1] - gaps.rows([0]) * (1 / temperature)
        return costs, anchor - logs[2] if measure == "margin" else anchor

    def _logs(self, layers: _Layers, gaps: Linear, totals: list[Linear]) -> list[Linear]:
        """Return the gaps, and the logarithm of every total, each at least 1."""
        knots = log_knots(LOG_HINGES, len(gaps) + 2.0)
        factors = rising(np.log, knots)
        opened = [one.rows([0] * LOG_HINGES) + -knots[:-1] for one in totals]
        held = layers.after(gaps, *opened)
        return [held[0], *(one.total(factors) for one in held[1:])]

    def summary(self, layers: _Layers, costs: Linear, anchor: Linear | None) -> list[Linear]:
        """Return entropy and largest probabilities, then the log-odds plus `REACH`, if any."""
        anchors = [] if anchor is None else [anchor + REACH]
        costs, *anchors = layers.after(costs, *anchors)
        hinges, *anchors = layers.after(self._each.hinges(costs), *anchors)
        entropy = hinges.total(self._each.entropy())
        each = hinges.mixed(np.kron(np.eye(len(costs)), self._each.exp()))
        return [_joined([entropy, each.rows(slice(self.parts.reads - 1))]), *anchors]


def _score(layers: _Layers, parts: RouterParts, held: list[Linear]) -> Linear:
    """Return the score, from the summary and the log-odds plus `REACH`, if any."""
    held = layers.after(*held)
    for weights, bias in parts.hidden:
        held = layers.after(held[0].mixed(weights) + bias, *held[1:])
    score = held[0].mixed(parts.head[0]) + parts.head[1]
    if len(held) == 1:
        return score
    return score + (held[1] * parts.slope + (parts.offset - parts.slope * REACH))
