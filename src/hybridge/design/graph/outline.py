"""A network by name as a `Graph`, to be priced: without storage for weights where that works."""

from typing import Any

import torch
from torch import nn

from hybridge.design.graph.capture import capture
from hybridge.design.graph.count import count_layers
from hybridge.design.graph.graph import Graph
from hybridge.design.graph.meta import Undrawn
from hybridge.design.nets.network import build
from hybridge.errors import ConfigError, HybridgeError
from hybridge.plan.layers import total_macs, total_parameters


def outline(
    name: str, *, class_count: int, resolution: int, channels: int, **options: Any
) -> Graph:
    """Return the graph of a network whose weights do not matter.

    Args:
        name: A registered name, ``package.module:function`` or ``timm:NAME``.
        class_count: Number of classes, ``K``.
        resolution: Height and width of its images, in pixels.
        channels: Channels of its images.
        options: What else its builder takes.

    Raises:
        UnknownNameError: No network has this name.
        ConfigError: It cannot be built or captured, does not take such images, or does not answer
            with ``K`` logits.
    """
    shape = (channels, resolution, resolution)
    try:
        graph = _outline(name, class_count, shape, "meta", options)
    except HybridgeError as error:
        if ":" not in name or not _wants_values(error):
            raise
        graph = _outline(name, class_count, shape, "cpu", options)
    logits = graph[graph.output].output_shape
    if logits != (class_count,):
        raise ConfigError(f"{name}: expected {class_count} logits for an image, got {logits}")
    return graph


def totals(
    name: str, *, class_count: int, resolution: int, channels: int, **options: Any
) -> tuple[int, int]:
    """Return MACs and parameters of a registered network: those of its `outline`, but sooner.

    The arguments are those of `outline`.

    Raises:
        UnknownNameError: No network has this name.
        ConfigError: It cannot be built, or does not take one of the options.
    """
    shape = (channels, resolution, resolution)
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        network, example = _built(name, class_count, shape, options)
        layers = count_layers(network, example)
    return total_macs(layers), total_parameters(layers)


def _outline(
    name: str,
    class_count: int,
    shape: tuple[int, int, int],
    device: str,
    options: dict[str, Any],
) -> Graph:
    with torch.random.fork_rng(devices=[]), torch.device(device):
        network, example = _built(name, class_count, shape, options)
    try:
        return capture(network, example)
    except ConfigError as error:
        raise ConfigError(f"{name} on images of {_size(shape)}: {error}") from error


def _built(
    name: str, class_count: int, shape: tuple[int, int, int], options: dict[str, Any]
) -> tuple[nn.Module, torch.Tensor]:
    """Return a network, and an image that it reads, on the device that torch makes things on."""
    try:
        with Undrawn():
            network = build(name, class_count, **options)
        example = torch.zeros(1, *shape)
    except HybridgeError:
        raise
    except (Exception, SystemExit) as error:  # a builder from elsewhere may raise anything
        line = (str(error).strip().splitlines() or [""])[0]
        raise ConfigError(
            f"{name} cannot be built for {class_count} classes and images of "
            f"{_size(shape)}: {type(error).__name__}: {line}"
        ) from error
    if not isinstance(network, nn.Module):
        raise ConfigError(f"{name} gives a {type(network).__name__}, expected a torch.nn.Module")
    return network, example


def _wants_values(error: BaseException) -> bool:
    """Return whether a network from elsewhere may fail for want of values alone.

    It may read its own, of which there are none on the device ``meta``. An image that does not fit
    is another matter: where it is large, computing with it would take all memory there is.
    """
    while error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, HybridgeError):
        return False
    return "meta" in str(error).lower() or not isinstance(error, RuntimeError)


def _size(shape: tuple[int, int, int]) -> str:
    channels, height, width = shape
    return f"{height}x{width}x{channels}"
