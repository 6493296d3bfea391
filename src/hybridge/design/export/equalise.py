"""Channels brought to one range before a tensor gets a single scale (Nagel et al. 2019).

A channel that is a hundred times smaller than its neighbours has nothing but two or three integers
left. What a convolution gives can be multiplied channel by channel, and the next convolution's
weights divided, where an activation between them lets factors through. ReLU does. A hard swish does
not, but its gate can be told: ``x * gate(x)``, where the gate undoes the factors.
"""

from dataclasses import replace

import numpy as np

from hybridge.design.export.moments import scaled
from hybridge.design.export.onnx_steps import Step, Steps
from hybridge.design.export.tflite_file import Array

#: A hard swish is written as a gate and a product where channels differ more than this.
_APART = 8.0
#: Of a channel against the largest, at most.
_MOST = 1000.0
SWISH_LEAST = -3.0
GATED = "GatedHardSwish"


def equalise(steps: Steps, todo: list[Step]) -> tuple[Steps, list[Step]]:
    """Return steps whose convolutions give channels of one range, and the values to go with them.

    Args:
        steps: With ranges.
        todo: The steps to translate, activations fused.
    """
    constants, ranges = dict(steps.constants), dict(steps.ranges)
    held = replace(steps, constants=constants, ranges=ranges, moments=dict(steps.moments))
    todo = list(todo)
    for number, step in enumerate(todo):
        if step.kind != "Conv" or step.fused not in (None, "Relu"):
            continue
        swish = None if step.fused else _only_reader(todo, step.output, "HardSwish")
        last = todo[swish] if swish is not None else step
        after = _only_reader(todo, last.output, "Conv")
        if after is None or (step.fused is None and swish is None):
            continue
        factors = _factors(steps, step, gated=swish is not None)
        if factors is None:
            continue
        todo[number] = _multiplied(held, step, factors)
        todo[after] = _divided(held, todo[after], factors)
        _scale_range(steps, held, step, factors)
        if swish is not None:
            attributes = {**last.attributes, "factors": factors}
            todo[swish] = replace(last, kind=GATED, attributes=attributes)
            _scale_range(steps, held, last, factors)
    return held, todo


def _only_reader(todo: list[Step], name: str, kind: str) -> int | None:
    """Return the place of the only step that reads a value, where it is of a kind."""
    readers = [place for place, step in enumerate(todo) if name in step.inputs]
    return readers[0] if len(readers) == 1 and todo[readers[0]].kind == kind else None


def _factors(steps: Steps, step: Step, gated: bool) -> Array | None:
    """Return what to multiply channels with, at least 1, or None where it is not worth it."""
    low, high = steps.channels[step.output]
    if gated:
        low = np.maximum(low, SWISH_LEAST)
    most = np.maximum(np.abs(low), np.abs(high))
    if len(most) < 2 or most.max() <= 0:
        return None
    factors = np.asarray(np.minimum(most.max() / np.maximum(most, 1e-12), _MOST))
    factors[most < 1e-9] = 1.0
    return None if gated and np.median(factors) < _APART else factors


def _multiplied(held: Steps, step: Step, factors: Array) -> Step:
    weights, bias = held.weights(step)
    return _with(held, step, weights * factors.reshape(-1, 1, 1, 1), bias * factors)


def _divided(held: Steps, step: Step, factors: Array) -> Step:
    weights, bias = held.weights(step)
    depthwise = step.attributes.get("group", 1) > 1
    shape = (-1, 1, 1, 1) if depthwise else (1, -1, 1, 1)
    if step.name in held.moments:
        held.moments[step.name] = scaled(held.moments[step.name], factors)
    return _with(held, step, weights / factors.reshape(shape), bias)


def _with(held: Steps, step: Step, weights: Array, bias: Array) -> Step:
    names = (f"{step.name}.equal.weight", f"{step.name}.equal.bias")
    held.constants[names[0]], held.constants[names[1]] = weights, bias
    return replace(step, inputs=(step.inputs[0], *names))


def _scale_range(steps: Steps, held: Steps, step: Step, factors: Array) -> None:
    low, high = steps.channels[step.output]
    # A gate closes below -3 times the factor, whatever stands there.
    low = np.maximum(low, SWISH_LEAST)
    held.ranges[step.output] = (float((low * factors).min()), float((high * factors).max()))
