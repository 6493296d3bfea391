"""Encoded sizes of a network's tensors for a command: at most, or measured on images."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hybridge.errors import ConfigError

if TYPE_CHECKING:
    from hybridge.data.dataset import Pixels
    from hybridge.design.graph.graph import Graph
    from hybridge.plan.tensors import Geometry


@dataclass(frozen=True)
class Sized:
    """A network, and what its tensors take.

    Attributes:
        graph: The network.
        payload_bytes: Encoded size of each node's tensor, and of the input.
        about: Where the sizes come from, in a line.
        settings: The same as plain data.
    """

    graph: "Graph"
    payload_bytes: dict[str, float]
    about: str
    settings: dict[str, Any]


def sized_by_bound(network: str, size: dict[str, int], codec: str) -> Sized:
    """Return a network with the most that its tensors take; nothing is computed.

    Raises:
        UnknownNameError: No network has this name.
        ConfigError: It cannot be captured, or the codec's sizes are not bounded.
    """
    from hybridge.design.graph.outline import outline
    from hybridge.design.graph.sizes import bound_sizes

    graph = outline(network, **size)
    settings = {"measured": False, "images": None, "image_codec": None, "codec": codec}
    about = f"at most, by {codec}; the input's pixels as they are"
    return Sized(graph, bound_sizes(graph, codec), about, settings)


def sized_by_images(
    network: str,
    size: dict[str, int],
    weights: Path,
    source: str,
    limit: int,
    image_codec: str,
    codec: str,
) -> Sized:
    """Return a network with what its tensors take on average over some images.

    Args:
        network: A registered name: how pixels are normalised is known of no other.
        size: Of `size_of`.
        weights: The network's safetensors file.
        source: Images, as of ``hybridge run --data``.
        limit: Most images; they are taken from the whole of the data at equal distances.
        image_codec: Encodes the input.
        codec: Encodes all else.

    Raises:
        UnknownNameError: There is no such network or codec.
        ConfigError: The network cannot be captured, is not registered, or does not fit the data.
        DataError: Weights or images are missing, or not what they should be.
    """
    from hybridge.codecs.codec import codec_named
    from hybridge.design.graph.outline import outline
    from hybridge.design.graph.sizes import encoded_sizes

    codecs = codec_named(image_codec), codec_named(codec)
    if ":" in network:
        raise ConfigError(
            f"{network}: --data needs a registered network, of which it is known how pixels are "
            "normalised; leave --data out, or register it with hybridge.design.nets.network"
        )
    outline(network, **size)  # says in one line why it cannot be captured
    geometry = _geometry(size)
    pixels = _pixels(source, geometry, limit)
    graph = _trained(network, size["class_count"], geometry, weights)
    settings = {"measured": True, "images": len(pixels), "image_codec": image_codec}
    return Sized(
        graph=graph,
        payload_bytes=encoded_sizes(graph, pixels, *codecs),
        about=f"means of {len(pixels)} images, by {image_codec} and {codec}",
        settings=settings | {"codec": codec},
    )


def _geometry(size: dict[str, int]) -> "Geometry":
    from hybridge.plan.tensors import Geometry

    side = size["resolution"]
    return Geometry(height=side, width=side, channels=1 if size["channels"] == 1 else 3)


def _pixels(source: str, geometry: "Geometry", limit: int) -> "Pixels":
    import numpy as np

    from hybridge.cli.inputs import open_data

    data = open_data(source, geometry)
    count = min(limit, len(data))
    return data.pixels(np.arange(count) * len(data) // max(count, 1))


def _trained(network: str, class_count: int, geometry: "Geometry", weights: Path) -> "Graph":
    import torch

    from hybridge.design.graph.capture import capture
    from hybridge.design.nets import PixelNetwork, build, networks
    from hybridge.design.nets.weights import load_weights

    info = networks.get(network)
    with torch.random.fork_rng(devices=[]):
        built = build(network, class_count)
    load_weights(built, weights)
    pixels = torch.zeros(1, *geometry.shape, dtype=torch.uint8)
    return capture(PixelNetwork(built, info.mean, info.std).eval(), pixels)
