"""Convolutions and linear layers in 8-bit integers, and the pixels that the first one reads."""

from dataclasses import replace
from typing import Any

import numpy as np

from hybridge.design.export.integer_layers import connect16, integer_layer
from hybridge.design.export.micro_router import Linear
from hybridge.design.export.onnx_steps import Step
from hybridge.design.export.tflite_file import Array, Quantisation
from hybridge.design.export.translation import (
    FUSED,
    LOGIT_LEVELS,
    PIXELS,
    SAME,
    VALID,
    Scaled,
    Translation,
    Value,
    activation,
    operator,
    unsupported,
)


def integers(run: Translation, name: str) -> Value:
    """Return a value in integers; pixels that are only scaled are written first."""
    value = run.values[name]
    if isinstance(value, Scaled):
        value = run.values[name] = _normalise(run, name, value)
    return value


def rounded(weights: Array, bias: Array, reads: Quantisation, axis: int) -> tuple[Any, ...]:
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


def convolve(
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
    whole, scales, bias_whole, sums = rounded(weights, bias, reads.quantisation, axis)
    inputs = (
        reads.tensor,
        run.file.constant(f"{step.name}.weight", whole, scales),
        run.file.constant(f"{step.name}.bias", bias_whole, sums),
    )
    kind = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
    table = "DepthwiseConv2DOptions" if depthwise else "Conv2DOptions"
    if depthwise:
        options["depthMultiplier"] = 1
    options = {"strideH": 1, "strideW": 1, "padding": VALID, **options}
    run.file.operator(
        kind,
        inputs,
        (gives.tensor,),
        table,
        fusedActivationFunction=FUSED.get(step.fused or "", 0),
        dilationHFactor=1,
        dilationWFactor=1,
        **options,
    )


def _normalise(run: Translation, name: str, scaled: Scaled) -> Value:
    """Write scaled pixels: every channel times a number, and a number added."""
    reads = run.values[PIXELS]
    assert isinstance(reads, Value)
    if np.all(scaled.scale == 1) and not scaled.shift.any():
        return reads
    ends = np.stack([scaled.shift, scaled.shift + 255 * scaled.scale])
    quantisation = activation(float(ends.min()), float(ends.max()))
    step = Step("Normalise", "normalise", (), name, {})
    tensor = run.file.tensor("normalise", reads.shape, "int8", quantisation)
    gives = Value(tensor, reads.shape, quantisation)
    weights = scaled.scale.reshape(1, 1, 1, -1)
    convolve(run, step, reads, weights, scaled.shift, gives, depthwise=True)
    return gives


@operator("Conv")
def _conv(run: Translation, step: Step) -> Value:
    weights, bias = run.steps.weights(step)
    if step.fused == "HardSigmoid":
        slope, level = step.attributes["alpha"], step.attributes["beta"]
        weights, bias = slope * weights, slope * bias + level
    groups, strides = step.attributes.get("group", 1), step.attributes["strides"]
    stride = strides[0]
    if strides != [stride, stride] or step.attributes.get("auto_pad", b"NOTSET") != b"NOTSET":
        raise unsupported(step, "a convolution with two strides, or with automatic padding")
    depthwise = groups > 1
    if depthwise and not (weights.shape[1] == 1 and groups == len(weights)):
        raise unsupported(step, f"a convolution in {groups} groups")
    if set(step.attributes.get("dilations", (1,))) != {1}:
        raise unsupported(step, "a dilated convolution")
    pad = step.attributes["pads"][0]
    if set(step.attributes["pads"]) != {pad}:
        raise unsupported(step, f"a padding of {step.attributes['pads']}, not the same all round")
    source = run.values[step.inputs[0]]
    if isinstance(source, Scaled) and not depthwise:
        reads, weights, bias = _folded(run, step, source, weights, bias, pad)
    else:
        reads = integers(run, step.inputs[0])
    weights, padding = _padded(step, weights, reads.shape[1:3], stride, pad)
    _, _, high, wide = run.steps.shapes[step.output]
    gives = run.output(step, (1, high, wide, len(weights)))
    laid = weights.transpose(1, 2, 3, 0) if depthwise else weights.transpose(0, 2, 3, 1)
    options = {"strideH": stride, "strideW": stride, "padding": padding, "depthwise": depthwise}
    convolve(run, step, reads, laid, bias, gives, **options)
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
        return integers(run, step.inputs[0]), weights, bias
    zero = min(max(zero, 0), 255)
    pixels = run.values[PIXELS]
    assert isinstance(pixels, Value)
    reads = replace(pixels, quantisation=Quantisation((1.0,), zero - 128))
    run.file.requantise(pixels.tensor, reads.quantisation)
    rest = scaled.shift + scaled.scale * zero
    return (
        reads,
        weights * scaled.scale.reshape(1, -1, 1, 1),
        bias + (weights.sum(axis=(2, 3)) @ rest),
    )


def _padded(
    step: Step, weights: Array, sides: tuple[int, ...], stride: int, pad: int
) -> tuple[Array, int]:
    """Return weights and the kind of padding that pads ``pad`` at both sides.

    TensorFlow Lite pads a stride of 2 by one less before than behind. A kernel with a row and a
    column of zeros behind is padded as ours, and needs no padded copy of the image.
    """
    if pad == 0:
        return weights, VALID
    kernels = set(weights.shape[2:])
    for more in (0, 1):
        if all(
            _pads_alike(side, kernel, stride, pad, more) for side in sides for kernel in kernels
        ):
            return np.pad(weights, ((0, 0), (0, 0), (0, more), (0, more))), SAME
    raise unsupported(
        step, f"a padding of {pad} with kernels of {kernels}, stride {stride}, images of {sides}"
    )


def _pads_alike(side: int, kernel: int, stride: int, pad: int, more: int) -> bool:
    """Return whether a kernel with ``more`` zeros behind is padded by ``pad`` before."""
    given = -(-side // stride)
    total = max((given - 1) * stride + kernel + more - side, 0)
    return total // 2 == pad and given == (side + 2 * pad - kernel) // stride + 1


@operator("Gemm", "MatMul")
def _linear(run: Translation, step: Step) -> Value:
    weights, bias = run.steps.weights(step)
    reads = integers(run, step.inputs[0])
    if reads.flattened is not None:
        channels, high, wide = reads.flattened
        laid = weights.reshape(len(weights), channels, high, wide).transpose(0, 2, 3, 1)
        weights = laid.reshape(len(weights), -1)
    if step.output == run.steps.logits:
        return _logits(run, step, reads, weights, bias)
    gives = run.output(step, (1, len(weights)))
    whole, scales, bias_whole, sums = rounded(weights, bias, reads.quantisation, 0)
    inputs = (
        reads.tensor,
        run.file.constant(f"{step.name}.weight", whole, scales),
        run.file.constant(f"{step.name}.bias", bias_whole, sums),
    )
    fused = FUSED.get(step.fused or "", 0)
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
