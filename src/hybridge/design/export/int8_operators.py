"""Operators without weights in 8-bit integers."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hybridge.design.export.equalise import GATED
from hybridge.design.export.int8_convolutions import convolve, integers, laid_out, rounded
from hybridge.design.export.onnx_steps import Step
from hybridge.design.export.tflite_file import Array
from hybridge.design.export.translation import (
    GATES,
    VALID,
    Scaled,
    Translation,
    Value,
    operator,
    unsupported,
)
from hybridge.errors import ConfigError

#: Where an axis of an ONNX value stands when channels are last.
_LAST = (0, 3, 1, 2)


@operator("Cast", "Transpose", "Identity", "Dropout")
def _same(run: Translation, step: Step) -> "Value | Scaled":
    value = run.values[step.inputs[0]]
    turned = [0, 3, 1, 2] if isinstance(value, Scaled) else None
    if step.kind == "Transpose" and step.attributes.get("perm") != turned:
        raise unsupported(step, "axes are turned around in the middle of the network")
    return value


@operator("Sub", "Div")
def _shift(run: Translation, step: Step) -> "Value | Scaled":
    value, constant = run.values.get(step.inputs[0]), run.steps.constants.get(step.inputs[1])
    if not isinstance(value, Scaled) or constant is None:
        raise unsupported(step, f"{step.kind} is known of pixels and constants alone")
    by = np.broadcast_to(constant.reshape(-1), value.scale.shape).astype(np.float64)
    if step.kind == "Sub":
        return Scaled(value.scale, value.shift - by)
    return Scaled(value.scale / by, value.shift / by)


@operator("Relu", "Relu6", "HardSwish")
def _activate(run: Translation, step: Step) -> "Value | Scaled":
    reads = integers(run, step.inputs[0])
    if step.kind == "HardSwish" and run.bits == 16:
        # There is no kernel for it.
        ones = np.ones(reads.shape[-1])
        return _gated(run, replace(step, attributes=step.attributes | {"factors": ones}))
    gives = run.output(step, reads.shape, flattened=reads.flattened)
    options = "HardSwishOptions" if step.kind == "HardSwish" else ""
    kind = {"HardSwish": "HARD_SWISH"}.get(step.kind, step.kind.upper())
    run.file.operator(kind, (reads.tensor,), (gives.tensor,), options)
    return gives


@operator(GATED)
def _gated(run: Translation, step: Step) -> Value:
    """Write a hard swish whose channels were multiplied: a gate that undoes it, and a product."""
    given = integers(run, step.inputs[0])
    channels = step.attributes["factors"].size
    shape = given.shape if len(given.shape) == 4 else (1, 1, 1, channels)
    reads = laid_out(run, replace(given, shape=shape))
    closes = GATES[run.bits]
    tensor = run.file.tensor(f"{step.name}.gate", reads.shape, run.dtype, closes)
    gate = Value(tensor, reads.shape, closes)
    opens = 1 / (6 * step.attributes["factors"])
    half = np.full(opens.shape, 0.5)
    label = replace(step, name=f"{step.name}.gate", fused="HardSigmoid")
    weights = rounded(run, opens.reshape(-1, 1, 1, 1), half, reads.quantisation)
    convolve(run, label, reads, weights, gate, depthwise=True)
    gives = run.output(step, reads.shape, flattened=given.flattened)
    tensors = (reads.tensor, gate.tensor)
    run.file.operator("MUL", tensors, (gives.tensor,), "MulOptions", fusedActivationFunction=0)
    return replace(gives, shape=given.shape)


@operator("Add", "Mul")
def _join(run: Translation, step: Step) -> "Value | Scaled":
    if any(name in run.steps.constants for name in step.inputs):
        raise unsupported(step, f"{step.kind} with a constant")
    left, right = (laid_out(run, integers(run, name)) for name in step.inputs)
    if left.flattened != right.flattened or len(left.shape) != len(right.shape):
        raise unsupported(step, f"{step.kind} of an image's numbers and of a vector's")
    shape = np.broadcast_shapes(left.shape, right.shape)
    gives = run.output(step, shape, flattened=left.flattened)
    run.file.operator(
        step.kind.upper(),
        (left.tensor, right.tensor),
        (gives.tensor,),
        f"{step.kind}Options",
        fusedActivationFunction=run.clips(step),
    )
    return gives


@operator("ReduceMean", "GlobalAveragePool")
def _mean(run: Translation, step: Step) -> Value:
    reads = laid_out(run, integers(run, step.inputs[0]))
    axes = step.attributes.get("axes", [2, 3] if step.kind == "GlobalAveragePool" else None)
    if len(step.inputs) > 1:
        axes = run.steps.constants.get(step.inputs[1])
    if axes is None or len(reads.shape) != 4 or sorted(int(axis) % 4 for axis in axes) != [2, 3]:
        raise unsupported(step, "a mean over other axes than height and width")
    keeps = bool(step.attributes.get("keepdims", 1))
    gives = run.output(step, (1, 1, 1, reads.shape[3]) if keeps else (1, reads.shape[3]))
    over = run.file.constant(f"{step.name}.axes", np.array([1, 2], np.int32))
    run.file.operator(
        "MEAN", (reads.tensor, over), (gives.tensor,), "ReducerOptions", keepDims=keeps
    )
    return gives


@operator("MaxPool", "AveragePool")
def _pool(run: Translation, step: Step) -> Value:
    reads = laid_out(run, integers(run, step.inputs[0]))
    if len(reads.shape) != 4:
        raise unsupported(step, "pooling of a vector")
    (high, wide), strides = step.attributes["kernel_shape"], step.attributes["strides"]
    if any(step.attributes["pads"]) or step.attributes.get("ceil_mode"):
        raise unsupported(step, "pooling with a padding")
    padded = step.attributes.get("auto_pad", b"NOTSET") != b"NOTSET"
    if {1, *step.attributes.get("dilations", ())} != {1} or padded:
        raise unsupported(step, "pooling that is dilated, or pads by itself")
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
        padding=VALID,
        strideH=strides[0],
        strideW=strides[1],
        filterHeight=high,
        filterWidth=wide,
        fusedActivationFunction=0,
    )
    return gives


@operator("Reshape", "Flatten", "Squeeze", "Gather")
def _view(run: Translation, step: Step) -> Value:
    """Take a tensor as a vector, or back: nothing is written, since no number moves."""
    if isinstance(run.values[step.inputs[0]], Scaled) and step.kind == "Gather":
        raise ConfigError(
            f"node {step.name!r} scales images down inside the base (its option scaled_to), for "
            "which TensorFlow Lite for Microcontrollers has no kernel in integers: take a base "
            "without it, trained on images of that size (the recipe's data.geometry), or export it "
            "with --target cortex-m"
        )
    reads, shape = integers(run, step.inputs[0]), run.steps.shapes[step.output]
    if step.kind == "Gather" and not _takes_all(run.steps.constants.get(step.inputs[1]), reads):
        raise unsupported(step, "numbers are picked from a tensor")
    if int(np.prod(shape)) != int(np.prod(reads.shape)):
        raise unsupported(step, f"a view of shape {shape}")
    flat = reads.flattened
    if len(reads.shape) == 4 and reads.shape[1:3] != (1, 1):
        if len(shape) > 2:
            raise unsupported(step, f"a view of shape {shape}")
        flat = (reads.shape[3], reads.shape[1], reads.shape[2])
    count = int(np.prod(shape))
    if count != max(shape) or (len(shape) == 4 and (flat or shape[1] != count)):
        # Numbers that are no longer one row, or one pixel, would have to change their places.
        raise unsupported(step, f"a view of shape {shape}")
    laid = (1, 1, 1, count) if len(shape) == 4 else (1, count)
    return Value(reads.tensor, laid, reads.quantisation, flat)


@operator("Slice")
def _slice(run: Translation, step: Step) -> Value:
    reads, shape = laid_out(run, integers(run, step.inputs[0])), run.steps.shapes[step.output]
    limits = [run.steps.constants.get(name) for name in step.inputs[1:]]
    if len(limits) != 4 or any(limit is None for limit in limits) or len(reads.shape) != 4:
        raise unsupported(step, "a slice of a vector, or by numbers that are computed")
    begin, stride = np.zeros(4, np.int32), np.ones(4, np.int32)
    starts, _, axes, steps = (np.asarray(limit).reshape(-1).tolist() for limit in limits)
    for start, axis, by in zip(starts, axes, steps, strict=True):
        place = _LAST[axis % 4]
        begin[place] = start if start >= 0 else start + reads.shape[place]
        stride[place] = by
    if stride.min() < 1:
        raise unsupported(step, "a slice that goes backwards")
    laid = np.array(_channels_last(shape), np.int32)
    ends = (begin + (laid - 1) * stride + 1).astype(np.int32)
    gives = run.output(step, laid.tolist(), fixed=reads.quantisation)
    parts = (("begin", begin), ("end", ends), ("stride", stride))
    constants = [run.file.constant(f"{step.name}.{name}", value) for name, value in parts]
    inputs = (reads.tensor, *constants)
    run.file.operator("STRIDED_SLICE", inputs, (gives.tensor,), "StridedSliceOptions")
    return gives


@operator("Pad")
def _pad(run: Translation, step: Step) -> Value:
    reads, shape = laid_out(run, integers(run, step.inputs[0])), run.steps.shapes[step.output]
    pads = run.steps.constants.get(step.inputs[1])
    filled = run.steps.constants.get(step.inputs[2]) if len(step.inputs) > 2 else None
    zeros = step.attributes.get("mode", b"constant") == b"constant"
    zeros = zeros and (filled is None or not filled.any())
    if pads is None or pads.size != 8 or not zeros:
        raise unsupported(step, "a padding of a vector, or with something else than 0")
    ends = np.asarray(pads, np.int32).reshape(2, 4).T[[0, 2, 3, 1]]
    gives = run.output(step, _channels_last(shape), fixed=reads.quantisation)
    inputs = (reads.tensor, run.file.constant(f"{step.name}.pads", ends))
    run.file.operator("PAD", inputs, (gives.tensor,), "PadOptions")
    return gives


def _channels_last(shape: Sequence[int]) -> tuple[int, int, int, int]:
    """Return a shape with its channels last."""
    one, channels, high, wide = shape
    return one, high, wide, channels


def _takes_all(indices: Array | None, reads: Value) -> bool:
    """Return whether a ``Gather`` takes every number once, in order."""
    count = int(np.prod(reads.shape))
    return indices is not None and np.array_equal(indices.reshape(-1), np.arange(count))
