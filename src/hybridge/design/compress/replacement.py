"""What replacements have in common: they can be narrowed, and have a size on disk.

Letters: ``B`` batch, ``C`` channels, ``H`` height, ``W`` width, ``K`` channels that are kept.
"""

from abc import ABC, abstractmethod

import torch
import torch_pruning
from torch import Tensor, nn
from torch.nn import functional as F


class Replacement(nn.Module, ABC):
    """A module in the place of a layer, which can do without inputs that are always zero."""

    @abstractmethod
    def narrow_inputs(self, kept: Tensor) -> None:
        """Read only some of the inputs from now on; the others were zero.

        Args:
            kept: Indices ``(K,)``, rising, of the channels (or features, in the place of a linear
                layer) that go on being read.
        """

    @property
    def stored_bytes(self) -> int:
        """Size of the parameters on disk."""
        return sum(_size(parameter) for parameter in self.parameters())


def stored_bytes(module: nn.Module) -> int:
    """Return the size of a module's parameters on disk.

    A factor that F2 has made sparse takes its non-zero values and their indices; all else is
    plain. Norms are taken with the parameters that are trained, without running statistics.
    """
    if isinstance(module, Replacement):
        return module.stored_bytes
    own = sum(_size(parameter) for parameter in module.parameters(recurse=False))
    return own + sum(map(stored_bytes, module.children()))


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def spread(maps: Tensor, places: Tensor) -> Tensor:
    """Return maps ``(B, K, H, W)`` among channels of zeros, ``(B, C, H, W)``.

    Args:
        maps: The channels that are not zero.
        places: For each of the ``C`` channels its index in ``maps``, or ``K`` for zeros.
    """
    return F.pad(maps, (0, 0, 0, 0, 0, 1)).index_select(1, places)


def places_of(kept: Tensor, channels: int) -> Tensor:
    """Return what `spread` takes, ``(C,)``, for the indices ``(K,)`` of channels that are kept."""
    places = torch.full((channels,), len(kept), dtype=torch.long, device=kept.device)
    places[kept] = torch.arange(len(kept), device=kept.device)
    return places


def narrow_reader(layer: nn.Conv2d | nn.Linear, kept: Tensor) -> None:
    """Make a convolution without groups, or a linear layer, read only the inputs ``kept``."""
    if isinstance(layer, nn.Linear):
        torch_pruning.prune_linear_in_channels(layer, without(kept, layer.in_features))
    else:
        torch_pruning.prune_conv_in_channels(layer, without(kept, layer.in_channels))


def narrow_depthwise(layer: nn.Conv2d, kept: Tensor) -> Tensor:
    """Drop the groups of a depthwise convolution that are not ``kept``.

    torch-pruning knows depthwise convolutions of one filter for each channel alone.

    Returns:
        Indices of the outputs that are left.
    """
    filters = layer.out_channels // layer.in_channels
    outputs = (kept[:, None] * filters + torch.arange(filters, device=kept.device)).flatten()
    layer.weight = nn.Parameter(layer.weight.detach()[outputs])
    if layer.bias is not None:
        layer.bias = nn.Parameter(layer.bias.detach()[outputs])
    layer.in_channels = layer.groups = len(kept)
    layer.out_channels = len(outputs)
    return outputs


def without(kept: Tensor, total: int) -> list[int]:
    """Return the indices below ``total`` that are not ``kept``, rising."""
    return sorted(set(range(total)) - set(kept.tolist()))
