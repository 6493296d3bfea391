"""Convolutions and linear layers in 8-bit integers, and the pixels that the first one reads."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hybridge.design.export.integer_layers import connect16, integer_layer
from hybridge.design.export.micro_router import Linear
from hybridge.design.export.moments import nearest, scaled
from hybridge.design.export.onnx_steps import Step
from hybridge.design.export.tflite_file import Array, Quantisation
from hybridge.design.export.translation import (
    LOGIT_LEVELS,
    PIXEL_LEVELS,
    PIXELS,
    SAME,
    VALID,
    Scaled,
    Translation,
    Value,
    operator,
    unsupported,
)


def integers(run: Translation, name: str) -> Value:
    """Return a value in integers; pixels that are only scaled are written first."""
    value = run.values[name]
    if isinstance(value, Scaled):
        value = run.values[name] = _normalise(run, name, value)
    return value


def laid_out(run: Translation, value: Value) -> Value:
    """Return a value whose tensor has the value's own shape; one that was only viewed so is copied.

    Most kernels go by the number of numbers alone; convolutions and broadcasts go by the shape.
    """
    if run.file.shape(value.tensor) == value.shape:
        return value
    tensor = run.file.tensor("view", value.shape, run.dtype, value.quantisation)
    run.file.operator("RESHAPE", (value.tensor,), (tensor,), "ReshapeOptions")
    return replace(value, tensor=tensor)


@dataclass(frozen=True)
class Weights:
    """Weights and bias in integers.

    Attributes:
        whole: ``(O, ...)``, int8.
        scale: ``(O,)``, of the weights.
        bias: ``(O,)``.
        sums: ``(O,)``, scale of the bias.
    """

    whole: Array
    scale: Array
    bias: Array
    sums: Array

    def constants(self, run: Translation, name: str, laid: Array, axis: int) -> tuple[int, int]:
        """Write both; return their numbers.

        Args:
            run: Where to.
            name: Of the layer.
            laid: `whole`, as the kernel wants it.
            axis: Of the outputs in it.
        """
        scales = Quantisation(tuple(self.scale.tolist()), 0, axis)
        sums = Quantisation(tuple(self.sums.tolist()))
        return (
            run.file.constant(f"{name}.weight", laid, scales),
            run.file.constant(f"{name}.bias", self.bias, sums),
        )


def rounded(
    run: Translation, weights: Array, bias: Array, reads: Quantisation, seen: Array | None = None
) -> Weights:
    """Return weights ``(O, ...)`` in integers, with a scale for each output.

    Args:
        run: Whose bits it is for.
        weights: Outputs first.
        bias: ``(O,)``.
        reads: What the integers mean that they are multiplied with.
        seen: Moments of what is read, or None.
    """
    flat = weights.reshape(len(weights), -1)
    scale = np.abs(flat).max(axis=1) / 127
    if run.bits == 8:
        # A channel of small weights and a large bias must not make the bias overflow.
        scale = np.maximum(scale, np.abs(bias) / reads.step / 2**30)
    scale = scale.clip(1e-12)
    if seen is not None and seen.shape[1] != flat.shape[1]:
        seen = None
    whole = nearest(flat, scale, seen).astype(np.int8).reshape(weights.shape)
    sums = scale * reads.step
    return Weights(
        whole, scale, np.round(bias / sums).astype(np.int32 if run.bits == 8 else np.int64), sums
    )


def convolve(
    run: Translation, step: Step, reads: Value, weights: Weights, gives: Value, **options: Any
) -> None:
    """Write a convolution: weights are ``(O, I, kh, kw)``, or ``(C, 1, kh, kw)`` depthwise."""
    depthwise = options.pop("depthwise", False)
    order = (1, 2, 3, 0) if depthwise else (0, 2, 3, 1)
    laid = weights.whole.transpose(order)
    constants = weights.constants(run, step.name, laid, 3 if depthwise else 0)
    inputs = (reads.tensor, *constants)
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
        fusedActivationFunction=run.clips(step),
        dilationHFactor=1,
        dilationWFactor=1,
        **options,
    )


def _normalise(run: Translation, name: str, pixels: Scaled) -> Value:
    """Write scaled pixels: every channel times a number, and a number added."""
    reads = read_pixels(run)
    if np.all(pixels.scale == 1) and not pixels.shift.any():
        return reads
    ends = np.stack([pixels.shift, pixels.shift + 255 * pixels.scale])
    quantisation = run.range(float(ends.min()), float(ends.max()))
    step = Step("Normalise", "normalise", (), name, {})
    tensor = run.file.tensor("normalise", reads.shape, run.dtype, quantisation)
    gives = Value(tensor, reads.shape, quantisation)
    weights = rounded(run, pixels.scale.reshape(-1, 1, 1, 1), pixels.shift, reads.quantisation)
    convolve(run, step, reads, weights, gives, depthwise=True)
    return gives


def read_pixels(run: Translation, zero: int = 0) -> Value:
    """Return the pixels as layers read them: ``zero`` is the pixel that is 0 then."""
    pixels = run.values[PIXELS]
    assert isinstance(pixels, Value)
    quantisation = Quantisation((1.0,), zero - 128)
    run.file.requantise(pixels.tensor, quantisation)
    pixels = run.values[PIXELS] = replace(pixels, quantisation=quantisation)
    if run.bits == 8:
        return pixels
    finer = Quantisation((1 / PIXEL_LEVELS,))
    tensor = run.file.tensor("pixels.fine", pixels.shape, run.dtype, finer)
    run.file.operator("QUANTIZE", (pixels.tensor,), (tensor,), "QuantizeOptions")
    return Value(tensor, pixels.shape, finer)


@operator("Conv")
def _conv(run: Translation, step: Step) -> Value:
    weights, bias = run.steps.weights(step)
    if step.fused == "HardSigmoid":
        slope, level = step.attributes["alpha"], step.attributes["beta"]
        weights, bias = slope * weights, slope * bias + level
    stride, pad = _plain(step)
    groups = step.attributes.get("group", 1)
    depthwise = groups > 1
    if depthwise and not (weights.shape[1] == 1 and groups == len(weights)):
        raise unsupported(step, f"a convolution in {groups} groups")
    source, seen = run.values[step.inputs[0]], run.steps.moments.get(step.name)
    zero = _zero(source, pad) if isinstance(source, Scaled) and not depthwise else None
    if isinstance(source, Scaled) and zero is not None:
        reads = read_pixels(run, zero)
        bias = bias + weights.sum(axis=(2, 3)) @ (source.shift + source.scale * zero)
        weights = weights * source.scale.reshape(1, -1, 1, 1)
        seen = None if seen is None else scaled(seen, 1 / source.scale)
    else:
        reads = laid_out(run, integers(run, step.inputs[0]))
    made = rounded(run, weights, bias, reads.quantisation, seen)
    whole, padding = _padded(step, made.whole, reads.shape[1:3], stride, pad)
    _, _, high, wide = run.steps.shapes[step.output]
    gives = run.output(step, (1, high, wide, len(weights)))
    options = {"strideH": stride, "strideW": stride, "padding": padding, "depthwise": depthwise}
    convolve(run, step, reads, replace(made, whole=whole), gives, **options)
    return gives


def _plain(step: Step) -> tuple[int, int]:
    """Return the stride and the padding of a convolution, the same in all directions."""
    strides, pads = step.attributes["strides"], step.attributes["pads"]
    automatic = step.attributes.get("auto_pad", b"NOTSET") != b"NOTSET"
    if len(set(strides)) > 1 or automatic:
        raise unsupported(step, "a convolution with two strides, or with automatic padding")
    if set(step.attributes.get("dilations", (1,))) != {1}:
        raise unsupported(step, "a dilated convolution")
    if len(set(pads)) > 1:
        raise unsupported(step, f"a padding of {pads}, not the same all round")
    return strides[0], pads[0]


def _zero(pixels: Scaled, pad: int) -> int | None:
    """Return the pixel that normalises to 0, which is what pads; None where there is none.

    With it the normalisation folds into the first layer, whose border stays what it was: all
    channels need the same one then.
    """
    zeros = -pixels.shift / pixels.scale
    zero = round(float(zeros.mean()))
    if pad and (np.abs(zeros - zero).max() > 0.5 or not 0 <= zero <= 255):
        return None
    return min(max(zero, 0), 255)


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
    reads, seen = integers(run, step.inputs[0]), run.steps.moments.get(step.name)
    if step.attributes.get("transA") or weights.shape[1] != int(np.prod(reads.shape)):
        raise unsupported(step, f"weights {weights.shape} of what is no vector of as many numbers")
    if step.output == run.steps.logits:
        return _logits(run, step, reads, weights, bias, seen)
    gives = run.output(step, (1, len(weights)))
    made = rounded(run, weights, bias, reads.quantisation, seen)
    constants = made.constants(run, step.name, _ordered(made.whole, reads), 0)
    run.file.operator(
        "FULLY_CONNECTED",
        (reads.tensor, *constants),
        (gives.tensor,),
        "FullyConnectedOptions",
        fusedActivationFunction=run.clips(step),
    )
    return gives


def _ordered(weights: Array, reads: Value) -> Array:
    """Return weights ``(O, K)`` in the order of what they read, whose channels are last."""
    if reads.flattened is None:
        return weights
    laid = weights.reshape(len(weights), *reads.flattened).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(laid).reshape(len(weights), -1)


def _logits(
    run: Translation, step: Step, reads: Value, weights: Array, bias: Array, seen: Array | None
) -> Value:
    """Write the last layer in 16 bits: what it reads is made finer first."""
    if step.fused not in (None, "Relu"):
        raise unsupported(step, f"logits through {step.fused}")
    tensor, finer = reads.tensor, reads.quantisation
    if run.bits == 8:
        most = max(abs(end) for end in run.steps.range(step.inputs[0])) or 1.0
        finer = Quantisation((most / 32767,))
        tensor = run.file.tensor(f"{step.name}.fine", (1, weights.shape[1]), "int16", finer)
        run.file.operator("QUANTIZE", (reads.tensor,), (tensor,), "QuantizeOptions")
    high = max(abs(end) for end in run.steps.range(step.output))
    quantisation = Quantisation((1.25 * max(high, 1e-3) / LOGIT_LEVELS,))
    gives = run.file.tensor(step.name, (1, len(weights)), "int16", quantisation)
    scale = max(float(np.abs(weights).max()) / 127, 1e-12)
    whole = _ordered(nearest(weights, np.full(len(weights), scale), seen), reads)
    held, relu = Linear(whole * scale, bias), step.fused == "Relu"
    layer = integer_layer(held, scale, finer.step, quantisation.step, relu=relu)
    connect16(run.file, step.name, layer, tensor, gives)
    return Value(gives, (1, len(weights)), quantisation)
