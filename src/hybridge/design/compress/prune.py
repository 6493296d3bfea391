"""W1: a convolution without its least important filters (model tree, table II).

A pruned convolution still gives all its channels, those of the filters that were dropped being
zero, so that what reads them can be put in and taken out freely; `shrink` narrows both when all is
chosen. For the zeros to last, the norm that follows must be a `ZeroedNorm` of the same filters.

Letters: ``B`` batch, ``C`` channels that are read and ``M`` channels that are given, ``K`` filters
that are kept, ``H`` height, ``W`` width, ``O`` outputs of a reader.
"""

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from hybridge.design.compress.shrink import shrink as shrink
from hybridge.design.compress.technique import MapShape, Technique, techniques
from hybridge.design.compress.zeroed import ZeroedConv as ZeroedConv
from hybridge.design.compress.zeroed import ZeroedNorm as ZeroedNorm
from hybridge.design.compress.zeroed import with_filters
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
        return with_filters(layer, layer.out_channels - dropped)

    def _start(
        self, layer: nn.Module, strength: float, reads: MapShape, inputs: Tensor
    ) -> ZeroedConv:
        assert isinstance(layer, nn.Conv2d)
        size = layer(inputs).square().mean((0, 2, 3))
        return ZeroedConv(layer, pruned_filters(size, strength))


techniques.add(W1.name, W1())
