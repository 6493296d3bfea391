"""A micro router in integers: 16-bit units, 8-bit weights with one scale a layer."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from hybridge.design.export.micro_router import Linear, MicroRouter
from hybridge.design.export.tflite_file import Array, Quantisation, TFLiteFile

_MOST = 32767
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

    def __call__(self, units: Array) -> Array:
        """Return units ``(B, N)`` for units ``(B, U)``, as the kernel does but for its rounding."""
        sums = units.astype(np.int64) @ self.weights.T.astype(np.int64) + self.bias
        scaled = np.round(sums * (self.reads * self.scale / self.gives))
        return np.clip(scaled, 0 if self.relu else -_MOST - 1, _MOST).astype(np.int64)


def quantise(router: MicroRouter, step: float, logits: Array) -> tuple[IntegerLayer, ...]:
    """Return a router in integers.

    Args:
        router: In floating point.
        step: Scale of the logits' integers.
        logits: ``(N, C)``, of calibration images: they give the ranges.
    """
    layers = _equalised(router)
    made: list[IntegerLayer] = []
    units, reads = np.asarray(logits, dtype=np.float64), step
    for number, layer in enumerate(layers):
        last = number == len(layers) - 1
        seen = layer(units)
        units = seen if last else np.maximum(seen, 0)
        if number < router.exact:
            scale, gives = 1.0, step
        else:
            most = max(float(np.abs(units).max()) * _ROOM, 1e-6)
            if number in router.tables:
                most = min(most, max(router.end, 16.0) * _ROOM)
            scale, gives = float(np.abs(layer.weights).max()) / 127, most / _MOST
        made.append(integer_layer(layer, scale, reads, gives, relu=not last))
        reads = gives
    return tuple(made)


def integer_layer(
    layer: Linear, scale: float, reads: float, gives: float, relu: bool
) -> IntegerLayer:
    """Return a layer rounded to integers, by the scales of its weights, inputs and outputs."""
    weights = np.clip(np.round(layer.weights / scale), -127, 127).astype(np.int8)
    bias = np.round(layer.bias / (scale * reads)).astype(np.int64)
    return IntegerLayer(weights, bias, scale, reads, gives, relu)


def _equalised(router: MicroRouter) -> list[Linear]:
    """Scale units behind the tables so that weights to and from each are alike (Nagel 2019)."""
    layers = list(router.layers)
    for number in range(router.tables.stop, len(layers) - 1):
        into = np.abs(layers[number].weights).max(axis=1)
        out = np.abs(layers[number + 1].weights).max(axis=0)
        factor = np.ones(len(into))
        alive = (into > 0) & (out > 0)
        factor[alive] = np.sqrt(out[alive] / into[alive])
        layers[number] = layers[number] * factor
        after = layers[number + 1]
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
