"""W1: a convolution without its least important filters (model tree, table II).

A pruned convolution still gives all its channels, those of the filters that were dropped being
zero, so that what reads them can be put in and taken out freely; `shrink` narrows both when all is
chosen. For the zeros to last, the norm that follows must be a `ZeroedNorm` of the same filters.

Letters: ``B`` batch, ``C`` channels that are read and ``M`` channels that are given, ``K`` filters
that are kept, ``H`` height, ``W`` width, ``O`` outputs of a reader.
"""

from collections.abc import Sequence
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
from hybridge.design.compress.technique import MapShape, Technique, techniques
from hybridge.errors import ConfigError


def importance(layer: nn.Conv2d, follows: Tensor, readers: Sequence[Tensor]) -> Tensor:
    """Return how much each filter of a convolution matters to what comes after, ``(M,)``.

    That is the second moment of its channel times the squared norm of the weights that read it: the
    expected squared change of the readers' outputs if channels were independent.

    Args:
        layer: The convolution.
        follows: Its maps after norm and activation, ``(B, M, H, W)``.
        readers: Weights that read these maps: of convolutions, ``(O, M, height, width)``, or of
            linear layers that read them flattened, ``(O, M * H * W)``.

    Raises:
        ConfigError: The maps or a reader do not have the layer's channels.
    """
    channels = layer.out_channels
    if follows.ndim != 4 or follows.shape[1] != channels or not len(follows):
        raise ConfigError(f"expected maps (B, {channels}, H, W), got {tuple(follows.shape)}")
    read = torch.zeros(channels, dtype=torch.double)
    for weight in readers:
        if weight.ndim < 2 or weight.shape[1] % channels:
            raise ConfigError(
                f"expected readers (O, {channels}, ...) of {layer}, got {tuple(weight.shape)}"
            )
        parts = weight.detach().cpu().double().reshape(len(weight), channels, -1)
        read += parts.square().sum((0, 2))
    return follows.detach().cpu().double().square().mean((0, 2, 3)) * read


def pruned_filters(importance: Tensor, share: float) -> Tensor:
    """Return which filters to drop, rising; at least one is kept.

    Args:
        importance: Of each filter, ``(M,)``.
        share: Of the filters that are dropped, in [0, 1).

    Raises:
        ConfigError: The share is out of range.
    """
    if not 0 <= share < 1:
        raise ConfigError(f"expected a share of filters to drop in [0, 1), got {share}")
    count = min(round(share * len(importance)), len(importance) - 1)
    return importance.argsort(stable=True)[:count].sort().values


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
        self.conv = _with_filters(layer, len(kept))
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


def _with_filters(layer: nn.Conv2d, filters: int) -> nn.Conv2d:
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

    def narrowed(self) -> nn.BatchNorm2d:
        """Return a plain norm of the channels that are kept."""
        norm = nn.BatchNorm2d(
            self.num_features, self.eps, self.momentum, self.affine, self.track_running_stats
        )
        state = {name: value for name, value in self.state_dict().items() if name != "kept"}
        norm.load_state_dict(state)
        if self.weight is not None:
            norm.to(device=self.weight.device, dtype=self.weight.dtype)
        kept = self.kept.flatten().nonzero().squeeze(1)
        torch_pruning.prune_batchnorm_out_channels(norm, without(kept, self.num_features))
        return norm.train(self.training)


@final
class W1(Technique):
    """Structured filter pruning.

    By itself it drops the filters whose outputs are smallest. With the norm, the activation and the
    readers at hand, use `importance` and `pruned_filters`, and a `ZeroedNorm`.
    """

    name = "W1"
    about = "a convolution without its least important filters"
    meaning = "filters that are dropped, as a share"
    strengths = (0.25, 0.5, 0.75)

    def _misfit(self, layer: nn.Module, reads: MapShape) -> str | None:
        if not isinstance(layer, nn.Conv2d):
            return "it takes the place of a convolution"
        if layer.groups > 1:
            return f"its filters read {layer.groups} groups of channels"
        return None

    def _outline(self, layer: nn.Module, strength: float, reads: MapShape) -> nn.Conv2d:
        assert isinstance(layer, nn.Conv2d)
        dropped = min(round(strength * layer.out_channels), layer.out_channels - 1)
        return _with_filters(layer, layer.out_channels - dropped)

    def _start(
        self, layer: nn.Module, strength: float, reads: MapShape, inputs: Tensor
    ) -> ZeroedConv:
        assert isinstance(layer, nn.Conv2d)
        size = layer(inputs).square().mean((0, 2, 3))
        return ZeroedConv(layer, pruned_filters(size, strength))


techniques.add(W1.name, W1())
