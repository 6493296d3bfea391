"""A network by name as a `Graph`, to be priced: without storage for weights where that works."""

import torch
from torch import nn

from hybridge.design.graph.capture import capture
from hybridge.design.graph.graph import Graph
from hybridge.design.nets.network import build
from hybridge.errors import ConfigError, HybridgeError, UnknownNameError


def outline(name: str, *, class_count: int, resolution: int, channels: int) -> Graph:
    """Return the graph of a network whose weights do not matter.

    Args:
        name: A registered name, ``package.module:function`` or ``timm:NAME``.
        class_count: Number of classes, ``K``.
        resolution: Height and width of its images, in pixels.
        channels: Channels of its images.

    Raises:
        UnknownNameError: No network has this name.
        ConfigError: It cannot be built or captured, does not take such images, or does not answer
            with ``K`` logits.
    """
    # A network from elsewhere may read its own values, of which there are none without storage.
    devices = ("meta", "cpu") if ":" in name else ("meta",)
    shape = (channels, resolution, resolution)
    for device in devices:
        try:
            graph = _outline(name, class_count, shape, device)
            break
        except UnknownNameError:
            raise
        except HybridgeError as error:
            fault = error
    else:
        raise fault
    logits = graph[graph.output].output_shape
    if logits != (class_count,):
        raise ConfigError(f"{name}: expected {class_count} logits for an image, got {logits}")
    return graph


def _outline(name: str, class_count: int, shape: tuple[int, int, int], device: str) -> Graph:
    with torch.random.fork_rng(devices=[]), torch.device(device):
        try:
            network = build(name, class_count)
            example = torch.zeros(1, *shape)
        except HybridgeError:
            raise
        except Exception as error:  # a builder from elsewhere may raise anything
            line = (str(error).strip().splitlines() or [""])[0]
            raise ConfigError(
                f"{name} cannot be built for {class_count} classes and images of "
                f"{_size(shape)}: {type(error).__name__}: {line}"
            ) from error
    if not isinstance(network, nn.Module):
        raise ConfigError(f"{name} gives a {type(network).__name__}, expected a torch.nn.Module")
    try:
        return capture(network, example)
    except ConfigError as error:
        raise ConfigError(f"{name} on images of {_size(shape)}: {error}") from error


def _size(shape: tuple[int, int, int]) -> str:
    channels, height, width = shape
    return f"{height}x{width}x{channels}"
