"""A layer as two programs, to be timed: with it and without it, the rest being the same.

A runtime that keeps images in blocks of channels turns them around where a graph begins and ends,
and fuses what follows a convolution into it. A layer alone would pay for the first and miss the
second. So it stands between a cheap stem and a mean over all pixels, followed by the activation
that it would have; its time is the difference to the program that lacks it. A layer that can follow
itself stands there several times, each with weights of its own: in a network the weights of one
layer are not in the cache when its turn comes again.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from torch import nn

from hybridge.design.graph.graph import Graph, GraphNode
from hybridge.plan.layers import Layer

Kind = Literal["conv", "depthwise", "linear", "pool", "other"]

OPSET, IR_VERSION = 18, 9
_STEM_CHANNELS = 3
#: How often a layer that can follow itself stands in its program, and their MACs, at most.
_MOST_COPIES, _MOST_MACS = 16, 2e8
_FLOAT_BYTES = 4


@dataclass(frozen=True)
class LayerSpec:
    """A layer that can be written as a program.

    Attributes:
        kind: Class of layer. A ``pool`` with a kernel of 0 is a mean over all pixels; ``other``
            multiplies each number, or pads the channels where it gives more than it reads.
        in_channels: Channels, or features, that it reads.
        out_channels: Channels, or features, that it gives.
        side: Height and width of what it reads; 1 for ``linear``.
        kernel: Kernel size, or 0 where there is none.
        stride: Stride.
        groups: Groups of a ``conv`` that is not ``depthwise``.
    """

    kind: Kind
    in_channels: int
    out_channels: int
    side: int
    kernel: int = 0
    stride: int = 1
    groups: int = 1

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the program's input, batch axis included."""
        if self.kind == "linear":
            return (1, self.in_channels)
        return (1, self.in_channels if self.is_plain else _STEM_CHANNELS, self.side, self.side)

    @property
    def is_plain(self) -> bool:
        """Whether no runtime would keep what it reads in blocks of channels."""
        multiplies = self.kind == "other" and self.out_channels == self.in_channels
        return self.kind == "linear" or multiplies

    @property
    def copies(self) -> int:
        """How often it stands in its program, one after another."""
        follows_itself = self.kind in ("conv", "depthwise") and self.stride == 1
        if not follows_itself or self.in_channels != self.out_channels:
            return 1
        return max(1, min(_MOST_COPIES, int(_MOST_MACS / self.layer.macs)))

    @property
    def name(self) -> str:
        """What it is, in a few words."""
        kernel = f" {self.kernel}" if self.kernel else ""
        reads = f"{self.in_channels} x {self.side} x {self.side}"
        return f"{self.kind}{kernel}, {reads} to {self.out_channels}, stride {self.stride}"

    @property
    def layer(self) -> Layer:
        """Its row, as `count_layers` would give it."""
        weights = self.out_channels * self._reads * max(self.kernel, 1) ** 2
        has_weights = self.kind in ("conv", "depthwise", "linear")
        return Layer(
            name=self.name,
            kind=self.kind,
            kernel=self.kernel if self.kind in ("conv", "depthwise") else 0,
            macs=weights * self._out_side**2 if has_weights else 0,
            parameters=weights if has_weights else 0,
            output_bytes=_FLOAT_BYTES * self.out_channels * self._out_side**2,
        )

    @property
    def _reads(self) -> int:
        """Channels that one channel of the output reads."""
        groups = self.in_channels if self.kind == "depthwise" else self.groups
        return self.in_channels // groups

    @property
    def _out_side(self) -> int:
        if self.kind == "pool":
            return 1 if self.kernel == 0 else self.side // self.stride
        return -(-self.side // self.stride)


def specs_of(graph: Graph) -> list[LayerSpec]:
    """Return the distinct layers of a network that can be written, in the order they run.

    Those are its fully connected layers, and the convolutions that pad as much as keeps the size.
    """
    found = [spec for node in graph.nodes if (spec := _spec_of(node, graph)) is not None]
    return list(dict.fromkeys(found))


def _spec_of(node: GraphNode, graph: Graph) -> LayerSpec | None:
    if node.origin.op != "call_module":
        return None
    module: Any = graph.module.get_submodule(str(node.origin.target))
    if isinstance(module, nn.Linear):
        return LayerSpec("linear", module.in_features, module.out_features, 1)
    if not isinstance(module, nn.Conv2d) or not _keeps_size(module):
        return None
    before = {other.name: other.output_shape for other in graph.nodes}
    side = before.get(node.reads[0], graph.input_shape)[-1]
    depthwise = 1 < module.groups == module.in_channels
    return LayerSpec(
        kind="depthwise" if depthwise else "conv",
        in_channels=module.in_channels,
        out_channels=module.out_channels,
        side=side,
        kernel=module.kernel_size[0],
        stride=module.stride[0],
        groups=1 if depthwise else module.groups,
    )


def _keeps_size(module: nn.Conv2d) -> bool:
    kernel = module.kernel_size[0]
    square = module.kernel_size == (kernel, kernel) and module.stride == (module.stride[0],) * 2
    return square and module.padding == (kernel // 2,) * 2 and module.dilation == (1, 1)


def program_of(spec: LayerSpec, with_it: bool) -> bytes:
    """Return an ONNX file from float32 ``spec.input_shape`` to a mean.

    Args:
        spec: The layer.
        with_it: Whether the layer stands in it, `LayerSpec.copies` times.
    """
    writer = _Writer(spec)
    writer.stem()
    if not with_it:
        writer.mean("a", "y")
    elif spec.kind in ("pool", "other") and not spec.is_plain:
        # The mean of the stem stays: what differs is the layer and the mean of what it gives.
        writer.layer("z")
        writer.mean("a", "left")
        writer.mean("z", "right")
        writer.join("left", "right")
    else:
        writer.layer("z")
        writer.mean("z", "y")
    return writer.model()


class _Writer:
    """Collects the nodes and weights of a graph from ``x`` to ``y``."""

    def __init__(self, spec: LayerSpec) -> None:
        self._spec = spec
        self._rng = np.random.default_rng(0)
        self._nodes: list[NodeProto] = []
        self._weights: list[TensorProto] = []

    def model(self) -> bytes:
        value = helper.make_tensor_value_info
        graph = helper.make_graph(
            self._nodes,
            "layer",
            [value("x", TensorProto.FLOAT, self._spec.input_shape)],
            [value("y", TensorProto.FLOAT, None)],
            initializer=self._weights,
        )
        opset = helper.make_opsetid("", OPSET)
        model: ModelProto = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)
        data: bytes = model.SerializeToString()
        return data

    def stem(self) -> None:
        """From the input to what the layer reads, ``a``."""
        if self._spec.is_plain:
            self._node("Relu", ["x"], "a")
        else:
            self._convolve("x", "a", (self._spec.in_channels, _STEM_CHANNELS, 1, 1), 1, 1)

    def layer(self, end: str) -> None:
        """From ``a`` to ``end``."""
        spec = self._spec
        if spec.kind in ("conv", "depthwise"):
            groups = spec.in_channels if spec.kind == "depthwise" else spec.groups
            shape = (spec.out_channels, spec.in_channels // groups, spec.kernel, spec.kernel)
            names = ["a", *(f"a{turn}" for turn in range(1, spec.copies)), end]
            for source, target in pairwise(names):
                self._convolve(source, target, shape, spec.stride, groups)
        elif spec.kind == "linear":
            self._weight("linear_w", (spec.out_channels, spec.in_channels))
            self._node("Gemm", ["a", "linear_w"], "linear", transB=1)
            self._node("Relu", ["linear"], end)
        elif spec.kind == "pool":
            kernel = spec.kernel or spec.side
            sizes = {"kernel_shape": [kernel] * 2, "strides": [spec.stride] * 2}
            self._node("MaxPool", ["a"], end, **sizes)
        elif spec.out_channels > spec.in_channels:
            half = (spec.out_channels - spec.in_channels) // 2
            pads = np.array((0, half, 0, 0, 0, half, 0, 0), np.int64)
            self._weights.append(numpy_helper.from_array(pads, "pads"))
            self._node("Pad", ["a", "pads"], end)
        else:
            self._weight("factor", (spec.in_channels, 1, 1))
            self._node("Mul", ["a", "factor"], end)

    def mean(self, source: str, target: str) -> None:
        """From ``source`` to the mean of all its pixels; to an activation in a plain program."""
        operator = "Relu" if self._spec.is_plain else "GlobalAveragePool"
        self._node(operator, [source], target)

    def join(self, left: str, right: str) -> None:
        """From two means to ``y``."""
        self._node("Concat", [left, right], "y", axis=1)

    def _convolve(
        self, source: str, target: str, shape: tuple[int, ...], stride: int, groups: int
    ) -> None:
        kernel = shape[-1]
        self._weight(f"{target}_w", shape)
        self._weight(f"{target}_b", shape[:1])
        self._node(
            "Conv",
            [source, f"{target}_w", f"{target}_b"],
            f"{target}_linear",
            kernel_shape=[kernel] * 2,
            strides=[stride] * 2,
            pads=[kernel // 2] * 4,
            group=groups,
        )
        self._node("Relu", [f"{target}_linear"], target)

    def _node(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self._nodes.append(helper.make_node(operator, inputs, [output], **attributes))

    def _weight(self, name: str, shape: tuple[int, ...]) -> None:
        values = self._rng.standard_normal(shape, np.float32) * 0.05
        self._weights.append(numpy_helper.from_array(values, name))
