"""A pruned convolution that still gives all its channels, and the norm that follows it.

Letters: ``B`` batch, ``C`` channels that are read and ``M`` channels that are given, ``K`` filters
that are kept, ``H`` height, ``W`` width.
"""

from typing import cast, final

import torch
import torch_pruning
from torch import Tensor, nn

from hybridge.design.compress.replacement import (
    Replacement,
    narrow_reader,
    places_of,
    spread,
    without,
)
from hybridge.errors import ConfigError


def kept_filters(dropped: Tensor, total: int) -> Tensor:
    """Return the filters that are not dropped, rising; raises `ConfigError` where none is left."""
    kept = torch.tensor(without(dropped, total), dtype=torch.long, device=dropped.device)
    if not len(kept) or len(kept) + len(dropped) != total:
        raise ConfigError(
            f"expected different filters below {total} to drop, but not all; got {dropped.tolist()}"
        )
    return kept


@final
class ZeroedConv(Replacement):
    """A convolution that computes some of its filters; the channels of the others are zero.

    Args:
        layer: A convolution without groups, whose place this takes.
        dropped: Filters that are not computed.
    """

    places: Tensor

    def __init__(self, layer: nn.Conv2d, dropped: Tensor) -> None:
        super().__init__()
        kept = kept_filters(dropped, layer.out_channels)
        self.conv = with_filters(layer, len(kept))
        with torch.no_grad():
            self.conv.weight.copy_(layer.weight[kept])
            if layer.bias is not None and self.conv.bias is not None:
                self.conv.bias.copy_(layer.bias[kept])
        self.conv.to(device=layer.weight.device, dtype=layer.weight.dtype)
        self.register_buffer("places", places_of(kept, layer.out_channels))

    @property
    def kept(self) -> Tensor:
        """Indices ``(K,)`` of the filters that are computed, rising."""
        return (self.places < self.conv.out_channels).nonzero().squeeze(1)

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps ``(B, M, H, W)`` of maps ``(B, C, H, W)``."""
        return spread(self.conv(maps), self.places)

    def narrow_inputs(self, kept: Tensor) -> None:
        """Read only the channels ``kept``."""
        narrow_reader(self.conv, kept)


def with_filters(layer: nn.Conv2d, filters: int) -> nn.Conv2d:
    """Return a convolution like ``layer``, with other weights and so many filters."""
    return nn.Conv2d(
        layer.in_channels,
        filters,
        cast(tuple[int, int], layer.kernel_size),
        cast(tuple[int, int], layer.stride),
        cast(tuple[int, int] | str, layer.padding),
        cast(tuple[int, int], layer.dilation),
        bias=layer.bias is not None,
        padding_mode=layer.padding_mode,
    )


@final
class ZeroedNorm(nn.BatchNorm2d):
    """A norm that leaves the channels of dropped filters at zero, in training as well.

    Args:
        norm: Whose place this takes.
        dropped: Filters of the convolution before it that are not computed.
    """

    kept: Tensor

    def __init__(self, norm: nn.BatchNorm2d, dropped: Tensor) -> None:
        super().__init__(
            norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats
        )
        self.load_state_dict(norm.state_dict())
        mask = torch.zeros(norm.num_features, 1, 1, dtype=torch.bool)
        mask[kept_filters(dropped, norm.num_features)] = True
        self.register_buffer("kept", mask)
        if norm.weight is not None:
            self.to(device=norm.weight.device, dtype=norm.weight.dtype)
        self.train(norm.training)

    def forward(self, input: Tensor) -> Tensor:
        """Return maps ``(B, M, H, W)`` normalised, or zero."""
        return super().forward(input) * self.kept

    @property
    def kept_channels(self) -> Tensor:
        """Indices ``(K,)`` of the channels that are not zero, rising."""
        return self.kept.flatten().nonzero().squeeze(1)

    def narrowed(self) -> nn.BatchNorm2d:
        """Return a plain norm of the channels that are kept."""
        norm = nn.BatchNorm2d(
            self.num_features, self.eps, self.momentum, self.affine, self.track_running_stats
        )
        state = {name: value for name, value in self.state_dict().items() if name != "kept"}
        norm.load_state_dict(state)
        if self.weight is not None:
            norm.to(device=self.weight.device, dtype=self.weight.dtype)
        dropped = without(self.kept_channels, self.num_features)
        torch_pruning.prune_batchnorm_out_channels(norm, dropped)
        return norm.train(self.training)
