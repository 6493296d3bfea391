"""What a program computes, step by step, with what was seen of every value on given images."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from hybridge.design.export.c_source import for_one_input
from hybridge.design.export.float_session import float_session
from hybridge.design.export.moments import moments, windows
from hybridge.design.export.tflite_file import Array
from hybridge.errors import ConfigError
from hybridge.plan.program import Program

LOGITS = "logits"
#: What may be written into the step before it, and what takes it so.
_FUSES = {
    "Relu": ("Conv", "Gemm", "MatMul", "Add"),
    "Relu6": ("Conv", "Gemm", "MatMul", "Add"),
    "HardSigmoid": ("Conv",),
}
#: What has weights.
_WEIGHTED = ("Conv", "Gemm", "MatMul")
#: Numbers that a unit of it may read, for moments to be taken: they are as many times as many.
_READ = 2048
#: What slides a window over the image.
_WINDOWED = ("Conv", "MaxPool", "AveragePool")


@dataclass(frozen=True, slots=True)
class Step:
    """A node of the graph.

    Attributes:
        kind: Its operator.
        name: What a message calls it.
        inputs: Names of the values that it reads, constants among them.
        output: Name of the value that it gives.
        attributes: By name.
        fused: The activation that is a part of it, or None.
    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    output: str
    attributes: dict[str, Any] = field(default_factory=dict)
    fused: str | None = None


@dataclass(frozen=True)
class Steps:
    """A program for one input.

    Attributes:
        input: Name of the value of the pixels.
        pixels: Height, width and channels.
        nodes: In the order they run.
        constants: By name.
        ranges: Least and most of every value, on the images.
        channels: Least and most of every channel, ``(C,)`` each, of values that have channels.
        shapes: Of every value, with a batch of one, channels first.
        moments: Second moments of what a layer with weights reads, by its name; see `moments`.
        logits: Name of the logits.
    """

    input: str
    pixels: tuple[int, ...]
    nodes: tuple[Step, ...]
    constants: dict[str, Array]
    ranges: dict[str, tuple[float, float]]
    channels: dict[str, tuple[Array, Array]]
    shapes: dict[str, tuple[int, ...]]
    moments: dict[str, Array] = field(default_factory=dict)
    logits: str = LOGITS

    def range(self, name: str) -> tuple[float, float]:
        """Return the least and the most of a value that was seen."""
        return self.ranges[name]

    def until(self, output: str) -> list[Step]:
        """Return the steps that a value needs, activations fused into what they follow."""
        needed, wanted = [], {output}
        for step in reversed(self.nodes):
            if step.output in wanted:
                needed.append(step)
                wanted |= set(step.inputs)
        return _fused([self._named(step) for step in _hard_swishes(needed[::-1])], output)

    def _named(self, step: Step) -> Step:
        """Call a clip between 0 and 6 by its name; any other keeps its own."""
        if step.kind != "Clip":
            return step
        ends = [float(self.constants.get(name, np.nan)) for name in step.inputs[1:]]
        return replace(step, kind="Relu6", inputs=step.inputs[:1]) if ends == [0, 6] else step

    def weights(self, step: Step) -> tuple[Array, Array]:
        """Return weights and bias of a convolution or a linear layer, outputs first."""
        if any(name not in self.constants for name in step.inputs[1:]):
            raise ConfigError(f"node {step.name!r} reads weights that are computed, not constant")
        weights = self.constants[step.inputs[1]].astype(np.float64)
        if step.kind == "MatMul" or (step.kind == "Gemm" and not step.attributes.get("transB")):
            weights = weights.T
        bias = np.zeros(len(weights))
        if len(step.inputs) > 2:
            bias = bias + self.constants[step.inputs[2]].astype(np.float64).reshape(-1)
        if step.kind == "Gemm":
            factors = (step.attributes.get(name, 1.0) for name in ("alpha", "beta"))
            weights, bias = (held * by for held, by in zip((weights, bias), factors, strict=True))
        return weights, bias


def read_steps(program: Program, images: NDArray[np.uint8]) -> Steps:
    """Return what a program does, with ranges by images.

    Args:
        program: From pixels ``(B, H, W, C)``.
        images: Pixels ``(N, H, W, C)``, some hundred.

    Raises:
        ConfigError: The program cannot be run for one input, or gives no logits.
    """
    model = for_one_input(program)
    nodes = [_step(node) for node in model.graph.node]
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    if LOGITS not in {step.output for step in nodes}:
        raise ConfigError(
            f"expected a program with an output {LOGITS!r}, got "
            f"{[spec.name for spec in program.outputs]}"
        )
    input_ = program.inputs[0]
    low, high, shapes, read = _seen(model, nodes, input_.name, images)
    ranges = {name: (float(low[name].min()), float(high[name].max())) for name in low}
    channels = {name: (low[name], high[name]) for name in low if len(shapes[name]) == 4}
    known = (tuple(nodes), constants, ranges, channels, shapes, read)
    return Steps(input_.name, input_.shape, *known)


def _step(node: onnx.NodeProto) -> Step:
    attributes = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
    if node.op_type in _WINDOWED:
        attributes = {"strides": [1, 1], "pads": [0, 0, 0, 0], **attributes}
    if node.op_type == "HardSigmoid":
        attributes = {"alpha": 0.2, "beta": 0.5, **attributes}
    name = node.name or node.output[0]
    return Step(node.op_type, name, tuple(filter(None, node.input)), node.output[0], attributes)


def _seen(
    model: onnx.ModelProto, nodes: list[Step], input_: str, images: NDArray[np.uint8]
) -> tuple[dict[str, Array], dict[str, Array], dict[str, tuple[int, ...]], dict[str, Array]]:
    """Return least, most and shape of every value, and moments of what layers read.

    Least and most are channel by channel where a value has channels.
    """
    layers = [step for step in nodes if step.kind in _WEIGHTED]
    known = {value.name for value in model.graph.output}
    names = [name for node in model.graph.node for name in node.output if name]
    model.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names if n not in known)
    session = float_session(model.SerializeToString(), optimised=False)
    low: dict[str, Array] = {}
    high: dict[str, Array] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    read: dict[str, Array] = {}
    for image in images:
        values = dict(zip(names, session.run(names, {input_: image[None]}), strict=True))
        for step in layers:
            if step.inputs[0] in values:
                found = _moments(step, values[step.inputs[0]], values[step.output])
                if found is not None:
                    read[step.name] = read.get(step.name, 0) + found
        for name, value in values.items():
            axes = (0, 2, 3) if value.ndim == 4 else None
            least, most = np.atleast_1d(value.min(axis=axes)), np.atleast_1d(value.max(axis=axes))
            shapes[name] = value.shape
            low[name] = np.minimum(low.get(name, least), least)
            high[name] = np.maximum(high.get(name, most), most)
    return low, high, shapes, read


def _moments(step: Step, value: Array, gives: Array) -> Array | None:
    """Return the moments of what a layer reads, of one image; None where it reads too much."""
    if step.kind != "Conv":
        return moments(value.reshape(1, 1, -1), depthwise=False) if value.size <= _READ else None
    kernel, groups = step.attributes["kernel_shape"], step.attributes.get("group", 1)
    padded = step.attributes.get("auto_pad", b"NOTSET") == b"NOTSET"
    plain = padded and {1, *step.attributes.get("dilations", ())} == {1}
    if value.ndim != 4 or not plain or np.prod(kernel) * value.shape[1] // groups > _READ:
        return None
    seen = windows(value[0], kernel, step.attributes["strides"], step.attributes["pads"])
    return moments(seen, depthwise=groups == gives.shape[1])


def _readers(steps: list[Step]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for step in steps:
        for name in step.inputs:
            counts[name] = counts.get(name, 0) + 1
    return counts


def _hard_swishes(steps: list[Step]) -> list[Step]:
    """Join every hard sigmoid of a hard swish and the product with what it reads."""
    gates = {step.output: step for step in steps if _gates_a_hard_swish(step)}
    joined, gone = [], set()
    for step in steps:
        if step.kind == "Mul" and len(step.inputs) == 2:
            for gate, other in (step.inputs, step.inputs[::-1]):
                if gate in gates and gates[gate].inputs == (other,):
                    step = replace(step, kind="HardSwish", inputs=(other,))
                    gone.add(gate)
                    break
        joined.append(step)
    return [step for step in joined if step.output not in gone]


def _gates_a_hard_swish(step: Step) -> bool:
    """Return whether a step is ``clip(x / 6 + 1 / 2)``, and not another hard sigmoid."""
    if step.kind != "HardSigmoid":
        return False
    ends = [step.attributes[name] for name in ("alpha", "beta")]
    return np.allclose(ends, (1 / 6, 1 / 2), atol=1e-4)


def _fused(steps: list[Step], output: str) -> list[Step]:
    """Join activations and the step before, where nothing else reads what lies between."""
    readers = _readers(steps)
    place: dict[str, int] = {}
    joined: list[Step] = []
    for step in steps:
        at = place.get(step.inputs[0]) if step.inputs else None
        before = joined[at] if at is not None else None
        if (
            before is not None
            and at is not None
            and before.kind in _FUSES.get(step.kind, ())
            and before.fused is None
            and readers[before.output] == 1
            and before.output != output
        ):
            attributes = before.attributes | step.attributes
            joined[at] = replace(before, output=step.output, fused=step.kind, attributes=attributes)
            place[step.output] = at
            continue
        place[step.output] = len(joined)
        joined.append(step)
    return joined
