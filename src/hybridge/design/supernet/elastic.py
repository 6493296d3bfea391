"""Layers that run in part: the first of their channels, a smaller kernel out of their own.

The weight sharing of Once-for-All (Cai et al. 2020, section 3.2). A layer reads as many channels as
it is given; how many it gives, and with which kernel, is set on it.

Letters: ``B`` batch, ``C`` channels, ``H`` height, ``W`` width.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from hybridge.design.nets.parts import Block, MBConv, SqueezeExcite


class ElasticPointwise(nn.Conv2d):
    """A 1x1 convolution of which the first channels can run.

    Args:
        in_channels: Most channels it reads.
        out_channels: Most channels it gives.
        bias: Whether it has one.

    Attributes:
        width: Channels that it gives.
    """

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool = False) -> None:
        super().__init__(in_channels, out_channels, 1, bias=bias)
        self.width = out_channels

    def forward(self, maps: Tensor) -> Tensor:
        """Return ``(B, width, H, W)`` of ``(B, C, H, W)``."""
        # Contiguous, as the weight of an extracted network is: so both run the same kernel.
        weight = self.weight[: self.width, : maps.shape[1]].contiguous()
        bias = None if self.bias is None else self.bias[: self.width]
        return functional.conv2d(maps, weight, bias)


class ElasticDepthwise(nn.Conv2d):
    """A depthwise convolution whose smaller kernels are made out of its own.

    A kernel is the centre of the next larger one, as a vector, times a matrix that is learned,
    the same for all channels, and the identity at first.

    Args:
        channels: Most channels.
        kernels: Sides of its kernels, ascending.
        stride: Stride.

    Attributes:
        side: Of the kernel that runs.
        matrices: By ``LARGEtoSMALL``, each ``(SMALL ** 2, SMALL ** 2)``.
    """

    def __init__(self, channels: int, kernels: Sequence[int], stride: int) -> None:
        largest = kernels[-1]
        super().__init__(
            channels, channels, largest, stride, largest // 2, groups=channels, bias=False
        )
        self.side = largest
        self._steps = tuple(pairwise(reversed(kernels)))
        self.matrices = nn.ParameterDict(
            {
                f"{larger}to{smaller}": nn.Parameter(torch.eye(smaller**2))
                for larger, smaller in self._steps
            }
        )

    def kernel(self, side: int, channels: int) -> Tensor:
        """Return the kernels ``(channels, 1, side, side)`` of the first channels."""
        kernel = self.weight[:channels]
        for larger, smaller in self._steps:
            if smaller < side:
                break
            centre = slice((larger - smaller) // 2, (larger + smaller) // 2)
            matrix = self.matrices[f"{larger}to{smaller}"]
            flat = functional.linear(kernel[..., centre, centre].flatten(1), matrix)
            kernel = flat.view(channels, 1, smaller, smaller)
        return kernel.contiguous()

    def forward(self, maps: Tensor) -> Tensor:
        """Return ``(B, C, H', W')`` of ``(B, C, H, W)``."""
        channels = maps.shape[1]
        kernel = self.kernel(self.side, channels)
        return functional.conv2d(maps, kernel, None, self.stride, self.side // 2, groups=channels)


class ElasticNorm(nn.BatchNorm2d):
    """A batch normalisation of as many of its first channels as it reads.

    It has one set of statistics: those of a subnet are recomputed for the subnet.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """Return normalised maps ``(B, C, H, W)``."""
        used = slice(maps.shape[1])
        mean, variance = cast(Tensor, self.running_mean), cast(Tensor, self.running_var)
        return functional.batch_norm(
            maps,
            mean[used],
            variance[used],
            self.weight[used],
            self.bias[used],
            self.training,
            self._share_of_this_batch(),
            self.eps,
        )

    def _share_of_this_batch(self) -> float:
        """Return how much of the statistics a batch replaces; counts it."""
        if not self.training:
            return 0.0
        counter = cast(Tensor, self.num_batches_tracked)
        counter.add_(1)
        return 1.0 / float(counter) if self.momentum is None else self.momentum


class ElasticMBConv(MBConv):
    """An inverted residual in its largest shape, of which smaller ones can run.

    Args:
        block: Its largest shape; it expands what it reads.
        kernels: Sides of its depthwise kernels, ascending.
    """

    def __init__(self, block: Block, kernels: Sequence[int]) -> None:
        super().__init__(block)
        _replace(self, "expand", ElasticPointwise(block.in_channels, block.middle))
        _replace(self, "depthwise", ElasticDepthwise(block.middle, kernels, block.stride))
        _replace(self, "project", ElasticPointwise(block.middle, block.out_channels))
        if isinstance(self.squeeze, SqueezeExcite) and block.squeeze is not None:
            self.squeeze.reduce = ElasticPointwise(block.middle, block.squeeze, bias=True)
            self.squeeze.expand = ElasticPointwise(block.squeeze, block.middle, bias=True)

    def activate(self, block: Block) -> None:
        """Let a part of it run: as wide, and with the kernel, as ``block`` is."""
        cast(ElasticPointwise, self.get_submodule("expand.conv")).width = block.middle
        cast(ElasticDepthwise, self.get_submodule("depthwise.conv")).side = block.kernel
        if block.squeeze is not None:
            cast(ElasticPointwise, self.get_submodule("squeeze.reduce")).width = block.squeeze
            cast(ElasticPointwise, self.get_submodule("squeeze.expand")).width = block.middle


def _replace(block: MBConv, name: str, conv: nn.Conv2d) -> None:
    """Put an elastic convolution, and a norm beside it, into a layer of a block."""
    layer = block.get_submodule(name)
    layer.conv = conv
    layer.bn = ElasticNorm(conv.out_channels)
