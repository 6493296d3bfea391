"""A base network's program in 8-bit integers, as TensorFlow Lite for Microcontrollers runs it.

Post-training quantisation as TensorFlow Lite defines it: weights symmetric and per channel,
activations asymmetric and per tensor, by the ranges seen on calibration images. The logits alone
take 16 bits, since a router reads their differences.

Images lie row by row with their channels last; an ONNX program has channels first, and every
four-dimensional tensor is turned around while it is translated.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from hybridge.design.export.equalise import GATED, SWISH_LEAST, equalise
from hybridge.design.export.integer_layers import connect16, integer_layer
from hybridge.design.export.micro_router import Linear
from hybridge.design.export.onnx_steps import Step, Steps
from hybridge.design.export.tflite_file import Array, Quantisation, TFLiteFile
from hybridge.errors import ConfigError
from hybridge.registry import Registry

#: Of 16-bit logits: half of what fits, so that sums of two still do.
LOGIT_LEVELS = 16383
_RELU, _RELU6 = 1, 3
_SAME, _VALID = 0, 1
_PIXEL = Quantisation((1.0,), -128)
_GATE = Quantisation((1 / 255,), -128)
#: What clips above or below; the integers of `_GATE` do so by themselves.
_FUSED = {"Relu": _RELU, "Relu6": _RELU6, "HardSigmoid": 0}


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor in integers.

    Attributes:
        tensor: Its number in the file.
        shape: With channels last and a batch of one.
        quantisation: What its integers mean.
        flattened: Channels, height and width that a vector was made from, or None.
    """

    tensor: int
    shape: tuple[int, ...]
    quantisation: Quantisation
    flattened: tuple[int, int, int] | None = None


@dataclass(frozen=True, slots=True)
class Scaled:
    """Pixels that are scaled and shifted, channel by channel, and not yet written anywhere."""

    scale: Array
    shift: Array


@dataclass(slots=True)
class Translation:
    """A program on its way into a file.

    Attributes:
        file: Where it is written.
        steps: What it does, with ranges.
        values: What was translated, by the name of the ONNX value.
        readers: Operators that read a value, by its name.
    """

    file: TFLiteFile
    steps: Steps
    values: dict[str, Value | Scaled] = field(default_factory=dict)
    readers: dict[str, set[str]] = field(default_factory=dict)

    def integers(self, name: str) -> Value:
        """Return a value in integers; pixels that are only scaled are written first."""
        value = self.values[name]
        if isinstance(value, Scaled):
            value = self.values[name] = _normalise(self, name, value)
        return value

    def output(self, step: Step, shape: Sequence[int], fixed: Quantisation | None = None) -> Value:
        """Return a new tensor for what a step gives, by its range."""
        gate = _GATE if step.fused == "HardSigmoid" else None
        low, high = self.steps.range(step.output)
        if self.readers.get(step.output) == {"HardSwish"}:
            # A hard swish makes 0 of all that is below: no integers are spent on it.
            low = max(low, SWISH_LEAST)
        quantisation = fixed or gate or _activation(low, high)
        tensor = self.file.tensor(step.name, shape, "int8", quantisation)
        return Value(tensor, tuple(shape), quantisation)


Translate = Callable[[Translation, Step], "Value | Scaled"]
_translations: Registry[Translate] = Registry("operator")


def translate(steps: Steps, file: TFLiteFile, output: str) -> Value:
    """Write a program into a file, up to one of its values.

    Args:
        steps: The program.
        file: Where to; its input is added: pixels less 128, ``(1, H, W, C)``, int8.
        output: Name of the value, such as ``logits``.

    Raises:
        ConfigError: An operator cannot be translated; names it, its node and the way round.
    """
    run = Translation(file, steps)
    tensor = file.tensor("pixels", (1, *steps.pixels), "int8", _PIXEL)
    file.inputs.append(tensor)
    channels = np.ones(steps.pixels[-1])
    run.values[steps.input] = Scaled(channels, 0 * channels)
    run.values["$pixels"] = Value(tensor, (1, *steps.pixels), _PIXEL)
    run.steps, todo = equalise(steps, steps.until(output))
    for step in todo:
        for name in step.inputs:
            run.readers.setdefault(name, set()).add(step.kind)
    for step in todo:
        if step.kind not in _translations.names():
            raise _unsupported(step, f"operator {step.kind} has no counterpart here")
        run.values[step.output] = _translations.get(step.kind)(run, step)
    return run.integers(output)


def _unsupported(step: Step, why: str) -> ConfigError:
    known = ", ".join(sorted(set(_translations.names()) - {GATED}))
    return ConfigError(
        f"node {step.name!r} cannot be written for TensorFlow Lite for Microcontrollers: {why}; "
        f"build the base from {known}, or export it with --target cortex-m"
    )


def _operator(*kinds: str) -> Callable[[Translate], Translate]:
    def register(translate_: Translate) -> Translate:
        for kind in kinds:
            _translations.add(kind, translate_)
        return translate_

    return register


def _activation(low: float, high: float) -> Quantisation:
    """Return asymmetric 8-bit integers for a range, which always has 0."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = max((high - low) / 255, 1e-8)
    return Quantisation((scale,), int(np.clip(round(-128 - low / scale), -128, 127)))


def _weights(weights: Array, bias: Array, reads: Quantisation, axis: int) -> tuple[Any, ...]:
    """Return integers and scales of weights, one a channel, and of the bias."""
    moved = np.moveaxis(weights, axis, 0)
    most = np.abs(moved.reshape(len(moved), -1)).max(axis=1)
    # A channel of small weights and a large bias must not make the bias overflow.
    scale = np.maximum(most / 127, np.abs(bias) / reads.step / 2**30).clip(1e-12)
    shaped = scale.reshape([-1 if side == axis else 1 for side in range(weights.ndim)])
    integers = np.clip(np.round(weights / shaped), -127, 127).astype(np.int8)
    whole = np.round(bias / (scale * reads.step)).astype(np.int32)
    scales = Quantisation(tuple(scale.tolist()), 0, axis)
    return integers, scales, whole, Quantisation(tuple((scale * reads.step).tolist()))


def _convolve(
    run: Translation,
    step: Step,
    reads: Value,
    weights: Array,
    bias: Array,
    gives: Value,
    **options: Any,
) -> None:
    """Write a convolution: ``weights`` are ``(O, kh, kw, I)``, or ``(1, kh, kw, C)`` depthwise."""
    depthwise = options.pop("depthwise", False)
    axis = 3 if depthwise else 0
    integers, scales, whole, sums = _weights(weights, bias, reads.quantisation, axis)
    inputs = (
        reads.tensor,
        run.file.constant(f"{step.name}.weight", integers, scales),
        run.file.constant(f"{step.name}.bias", whole, sums),
    )
    kind = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
    table = "DepthwiseConv2DOptions" if depthwise else "Conv2DOptions"
    if depthwise:
        options["depthMultiplier"] = 1
    options = {"strideH": 1, "strideW": 1, "padding": _VALID, **options}
    run.file.operator(
        kind,
        inputs,
        (gives.tensor,),
        table,
        fusedActivationFunction=_FUSED.get(step.fused or "", 0),
        dilationHFactor=1,
        dilationWFactor=1,
        **options,
    )


def _normalise(run: Translation, name: str, scaled: Scaled) -> Value:
    """Write scaled pixels: every channel times a number, and a number added."""
    reads = run.values["$pixels"]
    assert isinstance(reads, Value)
    if np.all(scaled.scale == 1) and not scaled.shift.any():
        return reads
    ends = np.stack([scaled.shift, scaled.shift + 255 * scaled.scale])
    quantisation = _activation(float(ends.min()), float(ends.max()))
    step = Step("Normalise", "normalise", (), name, {})
    tensor = run.file.tensor("normalise", reads.shape, "int8", quantisation)
    gives = Value(tensor, reads.shape, quantisation)
    weights = scaled.scale.reshape(1, 1, 1, -1)
    _convolve(run, step, reads, weights, scaled.shift, gives, depthwise=True)
    return gives


@_operator("Cast", "Transpose", "Identity", "Dropout")
def _same(run: Translation, step: Step) -> "Value | Scaled":
    value = run.values[step.inputs[0]]
    if step.kind == "Transpose" and not isinstance(value, Scaled):
        raise _unsupported(step, "axes are turned around in the middle of the network")
    return value


@_operator("Sub", "Div")
def _shift(run: Translation, step: Step) -> "Value | Scaled":
    value, constant = run.values.get(step.inputs[0]), run.steps.constants.get(step.inputs[1])
    if not isinstance(value, Scaled) or constant is None:
        raise _unsupported(step, f"{step.kind} is known of pixels and constants alone")
    by = np.broadcast_to(constant.reshape(-1), value.scale.shape).astype(np.float64)
    if step.kind == "Sub":
        return Scaled(value.scale, value.shift - by)
    return Scaled(value.scale / by, value.shift / by)


@_operator("Conv")
def _conv(run: Translation, step: Step) -> Value:
    weights, bias = run.steps.weights(step)
    if step.fused == "HardSigmoid":
        slope, level = step.attributes["alpha"], step.attributes["beta"]
        weights, bias = slope * weights, slope * bias + level
    groups, (stride, _) = step.attributes.get("group", 1), step.attributes["strides"]
    depthwise = groups > 1
    if depthwise and not (weights.shape[1] == 1 and groups == len(weights)):
        raise _unsupported(step, f"a convolution in {groups} groups")
    if set(step.attributes.get("dilations", (1,))) != {1}:
        raise _unsupported(step, "a dilated convolution")
    pad = step.attributes["pads"][0]
    if set(step.attributes["pads"]) != {pad}:
        raise _unsupported(step, f"a padding of {step.attributes['pads']}, not the same all round")
    source = run.values[step.inputs[0]]
    if isinstance(source, Scaled) and not depthwise:
        reads, weights, bias = _folded(run, step, source, weights, bias, pad)
    else:
        reads = run.integers(step.inputs[0])
    weights, padding = _padded(step, weights, reads.shape[1], stride, pad)
    side = (reads.shape[1] + 2 * pad - step.attributes["kernel_shape"][0]) // stride + 1
    wide = (reads.shape[2] + 2 * pad - step.attributes["kernel_shape"][1]) // stride + 1
    gives = run.output(step, (1, side, wide, len(weights)))
    laid = weights.transpose(1, 2, 3, 0) if depthwise else weights.transpose(0, 2, 3, 1)
    options = {"strideH": stride, "strideW": stride, "padding": padding, "depthwise": depthwise}
    _convolve(run, step, reads, laid, bias, gives, **options)
    return gives


def _folded(
    run: Translation, step: Step, scaled: Scaled, weights: Array, bias: Array, pad: int
) -> tuple[Value, Array, Array]:
    """Fold the normalisation into the first layer, where its border stays what it was.

    What pads is the pixel that normalises to 0: one for all channels, or an own for each.
    """
    zeros = -scaled.shift / scaled.scale
    zero = round(float(zeros.mean()))
    if pad and (np.abs(zeros - zero).max() > 0.5 or not 0 <= zero <= 255):
        return run.integers(step.inputs[0]), weights, bias
    zero = min(max(zero, 0), 255)
    pixels = run.values["$pixels"]
    assert isinstance(pixels, Value)
    reads = replace(pixels, quantisation=Quantisation((1.0,), zero - 128))
    run.file.requantise(pixels.tensor, reads.quantisation)
    rest = scaled.shift + scaled.scale * zero
    return (
        reads,
        weights * scaled.scale.reshape(1, -1, 1, 1),
        bias + (weights.sum(axis=(2, 3)) @ rest),
    )


def _padded(step: Step, weights: Array, side: int, stride: int, pad: int) -> tuple[Array, int]:
    """Return weights and the kind of padding that pads ``pad`` at both sides.

    TensorFlow Lite pads a stride of 2 by one less before than behind. A kernel with a row and a
    column of zeros behind is padded as ours, and needs no padded copy of the image.
    """
    if pad == 0:
        return weights, _VALID
    kernel = weights.shape[2]
    for more in (0, 1):
        given = -(-side // stride)
        total = max((given - 1) * stride + kernel + more - side, 0)
        if total // 2 == pad and given == (side + 2 * pad - kernel) // stride + 1:
            return np.pad(weights, ((0, 0), (0, 0), (0, more), (0, more))), _SAME
    raise _unsupported(
        step, f"a padding of {pad} with kernel {kernel}, stride {stride} and side {side}"
    )


@_operator("Gemm", "MatMul")
def _linear(run: Translation, step: Step) -> Value:
    weights, bias = run.steps.weights(step)
    reads = run.integers(step.inputs[0])
    if reads.flattened is not None:
        channels, high, wide = reads.flattened
        laid = weights.reshape(len(weights), channels, high, wide).transpose(0, 2, 3, 1)
        weights = laid.reshape(len(weights), -1)
    if step.output == run.steps.logits:
        return _logits(run, step, reads, weights, bias)
    gives = run.output(step, (1, len(weights)))
    integers, scales, whole, sums = _weights(weights, bias, reads.quantisation, 0)
    inputs = (
        reads.tensor,
        run.file.constant(f"{step.name}.weight", integers, scales),
        run.file.constant(f"{step.name}.bias", whole, sums),
    )
    fused = _FUSED.get(step.fused or "", 0)
    table = "FullyConnectedOptions"
    run.file.operator(
        "FULLY_CONNECTED", inputs, (gives.tensor,), table, fusedActivationFunction=fused
    )
    return gives


def _logits(run: Translation, step: Step, reads: Value, weights: Array, bias: Array) -> Value:
    """Write the last layer in 16 bits: what it reads is made finer first."""
    most = max(abs(end) for end in run.steps.range(step.inputs[0])) or 1.0
    finer = Quantisation((most / 32767,))
    tensor = run.file.tensor(f"{step.name}.fine", (1, weights.shape[1]), "int16", finer)
    run.file.operator("QUANTIZE", (reads.tensor,), (tensor,), "QuantizeOptions")
    high = max(abs(end) for end in run.steps.range(step.output))
    quantisation = Quantisation((1.25 * max(high, 1e-3) / LOGIT_LEVELS,))
    gives = run.file.tensor(step.name, (1, len(weights)), "int16", quantisation)
    scale = max(float(np.abs(weights).max()) / 127, 1e-12)
    layer = integer_layer(Linear(weights, bias), scale, finer.step, quantisation.step, relu=False)
    connect16(run.file, step.name, layer, tensor, gives)
    return Value(gives, (1, len(weights)), quantisation)


@_operator("Relu", "Relu6", "HardSwish")
def _activate(run: Translation, step: Step) -> Value:
    reads = run.integers(step.inputs[0])
    gives = run.output(step, reads.shape)
    options = "HardSwishOptions" if step.kind == "HardSwish" else ""
    kind = {"HardSwish": "HARD_SWISH"}.get(step.kind, step.kind.upper())
    run.file.operator(kind, (reads.tensor,), (gives.tensor,), options)
    return gives


@_operator(GATED)
def _gated(run: Translation, step: Step) -> Value:
    """Write a hard swish whose channels were multiplied: a gate that undoes it, and a product."""
    reads = run.integers(step.inputs[0])
    gate = Value(
        run.file.tensor(f"{step.name}.gate", reads.shape, "int8", _GATE), reads.shape, _GATE
    )
    opens = 1 / (6 * step.attributes["factors"])
    half = np.full(opens.shape, 0.5)
    label = replace(step, name=f"{step.name}.gate", fused=None)
    _convolve(run, label, reads, opens.reshape(1, 1, 1, -1), half, gate, depthwise=True)
    gives = run.output(step, reads.shape)
    tensors = (reads.tensor, gate.tensor)
    run.file.operator("MUL", tensors, (gives.tensor,), "MulOptions", fusedActivationFunction=0)
    return gives


@_operator("Add", "Mul")
def _join(run: Translation, step: Step) -> "Value | Scaled":
    if any(name in run.steps.constants for name in step.inputs):
        raise _unsupported(step, f"{step.kind} with a constant")
    left, right = (run.integers(name) for name in step.inputs)
    shape = np.broadcast_shapes(left.shape, right.shape)
    gives = run.output(step, shape)
    run.file.operator(
        step.kind.upper(),
        (left.tensor, right.tensor),
        (gives.tensor,),
        f"{step.kind}Options",
        fusedActivationFunction=_FUSED.get(step.fused or "", 0),
    )
    return gives


@_operator("ReduceMean", "GlobalAveragePool")
def _mean(run: Translation, step: Step) -> Value:
    reads = run.integers(step.inputs[0])
    axes = run.steps.constants.get(step.inputs[1]) if len(step.inputs) > 1 else np.array([2, 3])
    if axes is None or len(reads.shape) != 4 or sorted(int(axis) % 4 for axis in axes) != [2, 3]:
        raise _unsupported(step, "a mean over other axes than height and width")
    keeps = bool(step.attributes.get("keepdims", 1))
    gives = run.output(step, (1, 1, 1, reads.shape[3]) if keeps else (1, reads.shape[3]))
    over = run.file.constant(f"{step.name}.axes", np.array([1, 2], np.int32))
    run.file.operator(
        "MEAN", (reads.tensor, over), (gives.tensor,), "ReducerOptions", keepDims=keeps
    )
    return gives


@_operator("MaxPool", "AveragePool")
def _pool(run: Translation, step: Step) -> Value:
    reads = run.integers(step.inputs[0])
    (high, wide), strides = step.attributes["kernel_shape"], step.attributes["strides"]
    if any(step.attributes.get("pads", ())):
        raise _unsupported(step, "pooling with a padding")
    shape = (
        1,
        (reads.shape[1] - high) // strides[0] + 1,
        (reads.shape[2] - wide) // strides[1] + 1,
        reads.shape[3],
    )
    # Pooling does not rescale: what it gives means what it read.
    gives = run.output(step, shape, fixed=reads.quantisation)
    run.file.operator(
        "MAX_POOL_2D" if step.kind == "MaxPool" else "AVERAGE_POOL_2D",
        (reads.tensor,),
        (gives.tensor,),
        "Pool2DOptions",
        padding=_VALID,
        strideH=strides[0],
        strideW=strides[1],
        filterHeight=high,
        filterWidth=wide,
        fusedActivationFunction=0,
    )
    return gives


@_operator("Reshape", "Flatten", "Squeeze", "Gather")
def _view(run: Translation, step: Step) -> Value:
    """Take a tensor as a vector, or back: nothing is written, since no number moves."""
    reads, shape = run.integers(step.inputs[0]), run.steps.shapes[step.output]
    if step.kind == "Gather" and not _takes_all(run.steps.constants.get(step.inputs[1]), reads):
        raise _unsupported(step, "numbers are picked from a tensor")
    if int(np.prod(shape)) != int(np.prod(reads.shape)):
        raise _unsupported(step, f"a view of shape {shape}")
    flat = reads.flattened
    if len(reads.shape) == 4 and reads.shape[1:3] != (1, 1):
        if len(shape) > 2:
            raise _unsupported(step, f"a view of shape {shape}")
        flat = (reads.shape[3], reads.shape[1], reads.shape[2])
    laid = (1, 1, 1, shape[1]) if len(shape) == 4 else (1, int(np.prod(shape)))
    return Value(reads.tensor, laid, reads.quantisation, flat)


def _takes_all(indices: Array | None, reads: Value) -> bool:
    """Return whether a ``Gather`` takes every number once, in order."""
    count = int(np.prod(reads.shape))
    return indices is not None and np.array_equal(indices.reshape(-1), np.arange(count))
