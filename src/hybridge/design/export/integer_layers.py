"""A micro router in integers: 16-bit units, 8-bit weights with one scale a layer."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hybridge.design.export.micro_router import REACH, Linear, MicroRouter
from hybridge.design.export.tflite_file import Array, Quantisation, TFLiteFile

_MOST = 32767
#: From here on, a multiplier would round up to one bit too many.
_LARGEST = 0x7FFF0000
#: How much larger than what was seen a number may be, before it is cut off.
_ROOM = 1.25


@dataclass(frozen=True)
class IntegerLayer:
    """A fully connected layer in integers.

    Attributes:
        weights: ``(N, U)``, int8.
        bias: ``(N,)``, int64, in steps of ``reads * scale``.
        scale: Of the weights.
        reads: Scale of the units it reads.
        gives: Scale of the units it gives.
        relu: Whether what is below 0 becomes 0.
    """

    weights: Array
    bias: Array
    scale: float
    reads: float
    gives: float
    relu: bool

    @property
    def fixed_point(self) -> tuple[int, int]:
        """What sums are multiplied with, and by how many bits they are then shifted down.

        As the kernel for 16 bits finds them: from scales in single precision, in 15 bits.
        """
        product = float(np.float32(self.reads) * np.float32(self.scale))
        share, exponent = math.frexp(product / float(np.float32(self.gives)))
        fixed = math.floor(share * 2**31 + 0.5)
        if fixed == 2**31:
            fixed, exponent = fixed // 2, exponent + 1
        reduced = (fixed + 2**15) >> 16 if fixed < _LARGEST else 2**15 - 1
        return reduced, 15 - exponent

    def __call__(self, units: Array) -> Array:
        """Return units ``(B, N)`` for units ``(B, U)``, to the bit as the kernel does."""
        factor, shift = self.fixed_point
        sums = units.astype(np.int64) @ self.weights.T.astype(np.int64) + self.bias
        scaled = (sums * factor + (1 << (shift - 1))) >> shift
        return np.asarray(np.clip(scaled, 0 if self.relu else -_MOST - 1, _MOST), np.int64)


def quantise(
    router: MicroRouter, step: float, logits: Array, threshold: float | None = None
) -> tuple[IntegerLayer, ...]:
    """Return a router in integers.

    What rounded weights shift on the mean is taken off the biases; those of the last layer are
    right on the mean of the images that are nearest to the threshold.

    Args:
        router: In floating point.
        step: Scale of the logits' integers.
        logits: ``(N, C)``, of calibration images: they give the ranges.
        threshold: Of the score; None counts all images alike.
    """
    layers = _equalised(router)
    made: list[IntegerLayer] = []
    exact = np.asarray(logits, dtype=np.float64)
    units, reads = np.round(exact / step).astype(np.int64), step
    for number, layer in enumerate(layers):
        last = number == len(layers) - 1
        seen = layer(exact)
        exact = seen if last else np.maximum(seen, 0)
        if number < router.exact:
            scale, gives = 1.0, step
        else:
            scale, gives = float(np.abs(layer.weights).max()) / 127, _range(router, number, exact)
        rounded = integer_layer(layer, scale, reads, gives, relu=not last)
        if number >= router.exact:
            rows = _nearest(seen[:, 0], threshold) if last else slice(None)
            rounded = _corrected(rounded, units[rows], seen[rows])
        made.append(rounded)
        units, reads = rounded(units), gives
    return tuple(made)


def _range(router: MicroRouter, number: int, units: Array) -> float:
    """Return what a step of a layer's integers is worth."""
    most = max(float(np.abs(units).max()) * _ROOM, 1e-6)
    if number in router.tables:
        most = min(most, max(router.end, REACH) * _ROOM)
    return most / _MOST


def _nearest(scores: Array, threshold: float | None) -> Array:
    """Return which quarter of the images is nearest to the threshold."""
    if threshold is None:
        return np.arange(len(scores))
    return np.argsort(np.abs(scores - threshold))[: max(1, len(scores) // 4)]


def _corrected(layer: IntegerLayer, units: Array, wanted: Array) -> IntegerLayer:
    """Take off the biases what sums are too large on the mean."""
    one = layer.reads * layer.scale
    sums = units @ layer.weights.T.astype(np.int64) + layer.bias
    open_ = wanted > 0 if layer.relu else np.ones_like(wanted, dtype=bool)
    counts = np.maximum(open_.sum(axis=0), 1)
    error = ((sums * one - wanted) * open_).sum(axis=0) / counts
    return replace(layer, bias=layer.bias - np.round(error / one).astype(np.int64))


def integer_layer(
    layer: Linear, scale: float, reads: float, gives: float, relu: bool
) -> IntegerLayer:
    """Return a layer rounded to integers, by the scales of its weights, inputs and outputs."""
    weights = np.clip(np.round(layer.weights / scale), -127, 127).astype(np.int8)
    bias = np.round(layer.bias / (scale * reads)).astype(np.int64)
    return IntegerLayer(weights, bias, scale, reads, gives, relu)


def _equalised(router: MicroRouter) -> list[Linear]:
    """Scale units behind the tables so that weights to and from each are alike (Nagel 2019).

    A unit that only hands another on gets the layer's largest weight, which is never rounded.
    """
    layers = list(router.layers)
    for number in range(router.tables.stop, len(layers) - 1):
        weights, after = np.abs(layers[number].weights), layers[number + 1]
        into, out = weights.max(axis=1), np.abs(after.weights).max(axis=0)
        factor = np.ones(len(into))
        alive = (into > 0) & (out > 0)
        factor[alive] = np.sqrt(out[alive] / into[alive])
        alone = alive & ((weights > 0).sum(axis=1) == 1)
        if not alone.all():
            factor[alone] = (into * factor)[~alone].max() / into[alone]
        layers[number] = layers[number] * factor
        layers[number + 1] = Linear(after.weights / factor, after.bias)
    return layers


def write_layers(
    file: TFLiteFile, layers: tuple[IntegerLayer, ...], logits: int, name: str = "router"
) -> int:
    """Write layers that read a tensor of 16-bit logits; return the number of the score's."""
    reads = logits
    for number, layer in enumerate(layers, start=1):
        label = f"{name}.{number}" if number < len(layers) else "score"
        gives = file.tensor(label, (1, len(layer.bias)), "int16", Quantisation((layer.gives,)))
        connect16(file, label, layer, reads, gives)
        reads = gives
    return reads


def connect16(file: TFLiteFile, name: str, layer: IntegerLayer, reads: int, gives: int) -> None:
    """Write one layer between two tensors."""
    options: dict[str, Any] = {"fusedActivationFunction": int(layer.relu)}
    inputs = (
        reads,
        file.constant(f"{name}.weight", layer.weights, Quantisation((layer.scale,))),
        file.constant(f"{name}.bias", layer.bias, Quantisation((layer.scale * layer.reads,))),
    )
    file.operator("FULLY_CONNECTED", inputs, (gives,), "FullyConnectedOptions", **options)
