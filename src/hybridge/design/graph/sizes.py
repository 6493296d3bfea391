"""What the tensors of a network take once they are encoded: measured on images, or at most.

Letters: ``N`` images, ``B`` images at a time, ``H`` height, ``W`` width, ``C`` channels.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx

from hybridge.codecs.codec import Array, Codec, codec_named
from hybridge.design.graph.cuts import gives_one_tensor
from hybridge.design.graph.graph import INPUT, Graph, GraphNode
from hybridge.errors import ConfigError, SignatureError, did_you_mean

#: Images that run at once, by default: small, since all that a network gives is encoded.
_BATCH = 32
_RAW = "raw"
#: What Zstandard adds, at most, to numbers that do not compress: a frame, and blocks of 128 KiB.
_FRAME_BYTES, _BLOCK_BYTES, _BLOCK_LENGTH = 18, 3, 1 << 17
#: Lowest value and step of an item of 8-bit steps.
_SCALE_BYTES = 8


def encoded_sizes(
    graph: Graph,
    pixels: Array,
    image_codec: Codec,
    feature_codec: Codec,
    batch_size: int = _BATCH,
) -> dict[str, float]:
    """Return the mean encoded size of each tensor of a network, in bytes for one image.

    The network runs on the images, and everything it gives on the way is encoded: floats by the
    codec of features, other numbers as they are.

    Args:
        graph: A network that reads pixels, with its weights; put into evaluation mode.
        pixels: ``(N, H, W, C)`` uint8.
        image_codec: Encodes the input.
        feature_codec: Encodes floats.
        batch_size: ``B``.

    Returns:
        By name of node, and `INPUT`. Nodes are left out that give several tensors, or none that
        has an item for each image, or one that the codec cannot hold.

    Raises:
        ConfigError: The network does not read such pixels, or there are none.
        SignatureError: The codec of images cannot encode them.
    """
    _check_pixels(graph, pixels)
    names = {node.origin: node.name for node in graph.nodes if gives_one_tensor(node)}
    totals = {INPUT: 0.0, **{name: 0.0 for name in names.values()}}
    runner = _Encoding(graph.module.eval(), names, feature_codec, totals)
    with torch.no_grad():
        for start in range(0, len(pixels), batch_size):
            batch = pixels[start : start + batch_size]
            totals[INPUT] += image_codec.encode(batch).payload_bytes
            runner.run(torch.from_numpy(batch))
    return {
        name: total / len(pixels) for name, total in totals.items() if name not in runner.unsendable
    }


def _check_pixels(graph: Graph, pixels: Array) -> None:
    expected = ", ".join(map(str, graph.input_shape))
    if graph.input_dtype != "uint8":
        raise ConfigError(
            f"expected a network that reads pixels, got one that reads {graph.input_dtype} "
            f"({expected}); wrap it in hybridge.design.nets.PixelNetwork"
        )
    if pixels.dtype.name != "uint8" or pixels.shape[1:] != graph.input_shape or not len(pixels):
        raise ConfigError(
            f"expected one image or more, as uint8 pixels (N, {expected}), got {pixels.dtype} "
            f"{pixels.shape}"
        )


class _Encoding(fx.Interpreter):
    """Runs a network, and adds up what its tensors take, before they can be written over."""

    def __init__(
        self,
        module: fx.GraphModule,
        names: dict[fx.Node, str],
        codec: Codec,
        totals: dict[str, float],
    ) -> None:
        super().__init__(module)
        self.unsendable: set[str] = set()
        self._names, self._codec, self._totals = names, codec, totals
        self._images = 0

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n.op == "placeholder":
            self._images = len(value)
        elif n in self._names and self._names[n] not in self.unsendable:
            self._add(self._names[n], value)
        return value

    def _add(self, name: str, tensor: Tensor) -> None:
        has_items = tensor.ndim > 0 and len(tensor) == self._images
        codec = self._codec if tensor.is_floating_point() else codec_named(_RAW)
        try:
            if not has_items:
                raise SignatureError(f"{name!r} has no item for each image")
            self._totals[name] += codec.encode(tensor.contiguous().numpy()).payload_bytes
        except (SignatureError, TypeError):  # NumPy knows fewer types than torch
            self.unsendable.add(name)


def bound_sizes(graph: Graph, feature_codec: str = "int8-zstd") -> dict[str, float]:
    """Return the most that each tensor of a network takes once it is encoded, in bytes.

    Neither images nor weights are needed. The input takes a byte for each number of its pixels, as
    it does when it is not encoded.

    Args:
        graph: The network; it may read pixels or floats.
        feature_codec: Codec of floats; other numbers are sent as they are.

    Returns:
        By name of node, and `INPUT`; without nodes that give several tensors.

    Raises:
        ConfigError: The size of what this codec gives is not bounded.
    """
    if feature_codec not in _BOUNDS:
        hint = did_you_mean(feature_codec, _BOUNDS) or f"; these are: {', '.join(_BOUNDS)}"
        raise ConfigError(
            f"{feature_codec!r} is no codec of features whose size is known without images{hint}"
        )
    sizes = {INPUT: float(math.prod(graph.input_shape))}
    for node in graph.nodes:
        if gives_one_tensor(node):
            codec = feature_codec if "float" in node.output_dtype else _RAW
            sizes[node.name] = float(_BOUNDS[codec](node))
    return sizes


def _numbers(node: GraphNode) -> int:
    return math.prod(node.output_shape)


def _int8_zstd_bytes(node: GraphNode) -> int:
    numbers = _numbers(node)
    blocks = -(-numbers // _BLOCK_LENGTH)
    return _SCALE_BYTES + _FRAME_BYTES + blocks * _BLOCK_BYTES + numbers


#: By codec, the most bytes that a node's tensor takes.
_BOUNDS: dict[str, Callable[[GraphNode], int]] = {
    _RAW: lambda node: node.output_bytes,
    "fp16": lambda node: 2 * _numbers(node),
    "int8-zstd": _int8_zstd_bytes,
}
