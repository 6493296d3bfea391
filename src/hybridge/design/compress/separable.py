"""C1 and C2: convolutions taken apart into depthwise and pointwise ones (model tree, table II).

Letters: ``B`` batch, ``C`` channels read and ``M`` channels given, ``H`` height, ``W`` width,
``E`` channels of a depthwise convolution, ``P`` positions of a kernel.
"""

from typing import cast, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hybridge.design.compress.fitting import (
    covariance,
    fit_linear,
    padding_of,
    patch_moments,
    rows_of,
    set_weights,
    some_images,
    weighted_factors,
)
from hybridge.design.compress.replacement import (
    Replacement,
    narrow_depthwise,
    narrow_reader,
    places_of,
    spread,
)
from hybridge.design.compress.technique import MapShape, Technique, techniques

#: Where maps inside C2 start, in their standard deviations: at which ReLU6 clips few on either side
_CENTRE = 2.0
_LEAST = 1e-9


@final
class SeparableConv(Replacement):
    """A depthwise convolution, then a pointwise one, with nothing in between.

    So channels that are zero add nothing.

    Args:
        layer: A convolution without groups, whose place this takes.
        filters: Depthwise filters for each channel read.
    """

    def __init__(self, layer: nn.Conv2d, filters: int) -> None:
        super().__init__()
        self.depthwise = _depthwise(layer, layer.in_channels, filters)
        self.pointwise = nn.Conv2d(layer.in_channels * filters, layer.out_channels, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps ``(B, M, H, W)`` of maps ``(B, C, H, W)``."""
        return cast(Tensor, self.pointwise(self.depthwise(maps)))

    def narrow_inputs(self, kept: Tensor) -> None:
        """Read only the channels ``kept``."""
        narrow_reader(self.pointwise, narrow_depthwise(self.depthwise, kept))


@final
class InvertedResidual(Replacement):
    """Pointwise, depthwise, pointwise, with norm and ReLU6 after the first two (Sandler 2018).

    Where it reads as many channels as it gives, of the same size, a residual link adds what it
    reads, each channel times a number: the layer it stands for was trained without such a link.

    Args:
        layer: A convolution without groups, whose place this takes.
        hidden: Channels in the middle, ``E``.
    """

    places: Tensor | None
    link_scale: nn.Parameter | None

    def __init__(self, layer: nn.Conv2d, hidden: int) -> None:
        super().__init__()
        self.expand = nn.Conv2d(layer.in_channels, hidden, 1, bias=False)
        self.expand_norm = nn.BatchNorm2d(hidden)
        self.depthwise = _depthwise(layer, hidden, 1)
        self.depthwise_norm = nn.BatchNorm2d(hidden)
        self.pointwise = nn.Conv2d(hidden, layer.out_channels, 1)
        self.register_parameter("link_scale", None)
        if _keeps_shape(layer):
            self.link_scale = nn.Parameter(torch.ones(layer.in_channels, 1, 1))
        self.register_buffer("places", None)

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps ``(B, M, H, W)`` of maps ``(B, C, H, W)``."""
        hidden = F.relu6(self.expand_norm(self.expand(maps)))
        hidden = F.relu6(self.depthwise_norm(self.depthwise(hidden)))
        answer: Tensor = self.pointwise(hidden)
        if self.link_scale is None:
            return answer
        added = maps * self.link_scale
        return answer + (added if self.places is None else spread(added, self.places))

    def narrow_inputs(self, kept: Tensor) -> None:
        """Read only the channels ``kept``; the link puts them where they were."""
        channels = self.expand.in_channels
        narrow_reader(self.expand, kept)
        if self.link_scale is None:
            return
        self.link_scale = nn.Parameter(self.link_scale.detach()[kept])
        places = places_of(kept, channels)
        if self.places is not None:  # narrowed before: what was zeros stays so
            places = torch.cat([places, kept.new_tensor([len(kept)])])[self.places]
        self.places = places


def _depthwise(layer: nn.Conv2d, channels: int, filters: int) -> nn.Conv2d:
    """Return a depthwise convolution with the geometry of ``layer``."""
    return nn.Conv2d(
        channels,
        channels * filters,
        cast(tuple[int, int], layer.kernel_size),
        cast(tuple[int, int], layer.stride),
        padding_of(layer),
        cast(tuple[int, int], layer.dilation),
        groups=channels,
        bias=False,
    )


def _keeps_shape(layer: nn.Conv2d) -> bool:
    """Return whether a convolution gives maps of the shape that it reads."""
    spans = zip(layer.kernel_size, padding_of(layer), layer.dilation, strict=True)
    same_size = all(2 * pad == dilation * (size - 1) for size, pad, dilation in spans)
    return layer.in_channels == layer.out_channels and layer.stride == (1, 1) and same_size


def conv_misfit(layer: nn.Module) -> str | None:
    """Return why a layer is no convolution that can be taken apart, or None."""
    if not isinstance(layer, nn.Conv2d):
        return "it takes the place of a convolution"
    if layer.groups > 1:
        return f"its {layer.groups} groups are cheap already"
    if max(layer.kernel_size) == 1:
        return "its kernel is 1x1, which leaves nothing to take apart"
    if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        return "its padding is not a number of zeros"
    return None


def spatial_filters(
    kernel: Tensor, maps: Tensor, layer: nn.Conv2d, filters: int
) -> tuple[Tensor, Tensor]:
    """Return the filters for each channel that best make up a kernel, and how they are mixed.

    Args:
        kernel: ``(M, C, ...)``, whatever follows being ``P`` numbers.
        maps: What it reads, ``(B, C, H, W)``.
        layer: Whose geometry the kernel has.
        filters: Number for each channel.

    Returns:
        The filters ``(C, filters, P)`` and the mix ``(M, C * filters)``.
    """
    by_channel = kernel.flatten(2).transpose(0, 1)  # (C, M, P)
    mix, found = weighted_factors(by_channel, patch_moments(maps, layer), filters)
    return found, mix.permute(1, 0, 2).flatten(1)


@final
class C1(Technique):
    """Depthwise and pointwise, as in MobileNet.

    The filters of each channel are the best low rank of its kernel, by what they see; the
    pointwise part is fitted by least squares.
    """

    name = "C1"
    about = "a depthwise and a pointwise convolution in the place of a convolution"
    meaning = "depthwise filters for each channel"
    strengths = (1, 2)

    def _misfit(self, layer: nn.Module, reads: MapShape) -> str | None:
        return conv_misfit(layer)

    def _outline(self, layer: nn.Module, strength: float, reads: MapShape) -> SeparableConv:
        assert isinstance(layer, nn.Conv2d)
        return SeparableConv(layer, max(1, round(strength)))

    def _start(
        self, layer: nn.Module, strength: float, reads: MapShape, inputs: Tensor
    ) -> SeparableConv:
        assert isinstance(layer, nn.Conv2d)
        made = self._outline(layer, strength, reads)
        maps = some_images(inputs, reads[1] * reads[2])
        count = made.depthwise.out_channels // layer.in_channels
        filters, mix = spatial_filters(layer.weight, maps, layer, count)
        set_weights(made.depthwise, filters)
        features, targets = rows_of(made.depthwise(maps), layer(maps))
        set_weights(made.pointwise, *fit_linear(features, targets, mix))
        return made


@final
class C2(Technique):
    """An inverted residual, as in MobileNetV2.

    The first part turns the channels to the axes on which the kernel depends most, or leaves them
    as they are where there are as many; the filters are the best rank one on each, both norms have
    the statistics of the inputs, and the last part is fitted by least squares.
    """

    name = "C2"
    about = "an inverted residual in the place of a convolution"
    meaning = "channels in the middle, as a share of those read, at most 1"
    strengths = (0.5, 1)

    def _misfit(self, layer: nn.Module, reads: MapShape) -> str | None:
        return conv_misfit(layer)

    def _outline(self, layer: nn.Module, strength: float, reads: MapShape) -> InvertedResidual:
        assert isinstance(layer, nn.Conv2d)
        return InvertedResidual(layer, share_of(layer.in_channels, strength))

    def _start(
        self, layer: nn.Module, strength: float, reads: MapShape, inputs: Tensor
    ) -> InvertedResidual:
        assert isinstance(layer, nn.Conv2d)
        made = self._outline(layer, strength, reads)
        maps = some_images(inputs, reads[1] * reads[2])
        kernel, axes = channel_axes(layer, maps, made.expand.out_channels)
        set_weights(made.expand, axes)
        turned = made.expand(maps)
        filters, mix = spatial_filters(kernel, turned, layer, 1)
        set_weights(made.depthwise, filters)
        spread_of = _start_norm(made.expand_norm, turned)
        hidden = made.depthwise(F.relu6(made.expand_norm.eval()(turned)))
        mix = mix * spread_of * _start_norm(made.depthwise_norm, hidden)
        hidden = F.relu6(made.depthwise_norm.eval()(hidden))
        features, targets = rows_of(hidden, layer(maps))
        weight, bias = fit_linear(features, targets, mix)
        if made.link_scale is not None:
            (linked,) = rows_of(maps)
            scale = _fit_scales(linked, targets - features @ weight.T)
            made.link_scale.copy_(scale[:, None, None])
            weight, bias = fit_linear(features, targets - linked * scale, weight)
        set_weights(made.pointwise, weight, bias)
        return made


def _fit_scales(features: Tensor, targets: Tensor) -> Tensor:
    """Return the number for each column by which features ``(N, C)`` are nearest the targets."""
    centred = features - features.mean(0)
    return (centred * targets).sum(0) / centred.square().sum(0).clamp_min(_LEAST)


def share_of(channels: int, share: float) -> int:
    """Return how many channels make up a share, at least one and at most all."""
    return min(max(1, round(share * channels)), channels)


def channel_axes(layer: nn.Conv2d, maps: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return a kernel over ``rank`` axes among its channels, and the axes.

    The axes are the channels themselves where there are as many.

    Args:
        layer: A convolution without groups.
        maps: What it reads, ``(B, C, H, W)``.
        rank: Number of axes, ``E``, at most ``C``.

    Returns:
        The kernel ``(M, E, P)`` and the axes ``(E, C)``.
    """
    if rank == layer.in_channels:
        return layer.weight.flatten(2).double(), torch.eye(rank, dtype=torch.double)
    (pixels,) = rows_of(maps)
    by_channel = layer.weight.flatten(2).transpose(1, 2)  # (M, P, C)
    kernel, axes = weighted_factors(by_channel.flatten(0, 1), covariance(pixels), rank)
    return kernel.reshape(*by_channel.shape[:2], rank).transpose(1, 2), axes


def _start_norm(norm: nn.BatchNorm2d, maps: Tensor) -> Tensor:
    """Give a norm the statistics of what it reads; return the deviation of each channel."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    variance, mean = torch.var_mean(maps, dim=(0, 2, 3))
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
    norm.bias.fill_(_CENTRE)
    return (variance + norm.eps).sqrt().double()


techniques.add(C1.name, C1())
techniques.add(C2.name, C2())
