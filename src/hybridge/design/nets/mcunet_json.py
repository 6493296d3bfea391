"""MCUNet's public JSON description of a network, read and checked.

The format is that of ProxylessNAS (Cai et al. 2019): a first convolution, inverted residuals, one
more convolution or none, and a linear layer. What it can say and a `MobileNet` cannot be is
refused, with the place in the file.
"""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from hybridge.design.nets.mobilenet import MobileNetOutline
from hybridge.design.nets.parts import Activation, Block, round_channels
from hybridge.files import read_json_as

_HINT = "expected one like those published with MCUNet, whose 'name' is 'ProxylessNASNets'"


class _Part(BaseModel):
    """Keys that change nothing here are passed over; those that would are fields."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class _Layer(_Part):
    use_bn: Literal[True] = True
    act_func: Activation
    ops_order: Literal["weight_bn_act"] = "weight_bn_act"


class Convolution(_Layer):
    """``ConvLayer``: a convolution, normalised and activated."""

    name: Literal["ConvLayer"]
    in_channels: PositiveInt
    out_channels: PositiveInt
    kernel_size: PositiveInt
    stride: Literal[1, 2]
    dilation: Literal[1] = 1
    groups: Literal[1] = 1
    bias: Literal[False] = False
    has_shuffle: Literal[False] = False


class InvertedConvolution(_Part):
    """``MBInvertedConvLayer``: expansion, depthwise convolution and projection."""

    name: Literal["MBInvertedConvLayer"]
    in_channels: PositiveInt
    out_channels: PositiveInt
    kernel_size: Literal[1, 3, 5, 7, 9, 11]
    stride: Literal[1, 2]
    expand_ratio: PositiveFloat
    mid_channels: PositiveInt | None = None
    act_func: Activation
    use_se: bool = False

    @property
    def middle(self) -> int:
        """Channels of the depthwise convolution."""
        return self.mid_channels or round(self.in_channels * self.expand_ratio)

    @model_validator(mode="after")
    def _expands(self) -> "InvertedConvolution":
        if (self.expand_ratio == 1) != (self.middle == self.in_channels):
            raise ValueError(
                f"'expand_ratio' {self.expand_ratio:g} and {self.middle} middle channels of "
                f"{self.in_channels} do not fit each other"
            )
        return self


class Identity(_Part):
    """``IdentityLayer``: what a block reads, as it is."""

    name: Literal["IdentityLayer"]


class ResidualBlock(_Part):
    """``MobileInvertedResidualBlock``: an inverted convolution, and a shortcut or none."""

    name: Literal["MobileInvertedResidualBlock"]
    mobile_inverted_conv: InvertedConvolution
    shortcut: Identity | None

    @property
    def block(self) -> Block:
        """The block, before it is built."""
        layer = self.mobile_inverted_conv
        return Block(
            layer.in_channels,
            layer.middle,
            layer.out_channels,
            layer.kernel_size,
            layer.stride,
            layer.act_func,
            round_channels(layer.middle // 4) if layer.use_se else None,
            skips=self.shortcut is not None,
        )

    @model_validator(mode="after")
    def _fits(self) -> "ResidualBlock":
        if self.shortcut is not None and not self.block.residual:
            raise ValueError("a shortcut needs stride 1 and as many channels out as in")
        return self


class Linear(_Part):
    """``LinearLayer``: features to logits."""

    name: Literal["LinearLayer"]
    in_features: PositiveInt
    bias: Literal[True] = True
    use_bn: Literal[False] = False
    act_func: None = None
    dropout_rate: float = Field(default=0.0, ge=0, lt=1)


class Normalisation(_Part):
    """What all normalisations share."""

    eps: PositiveFloat = 1e-5


class Description(_Part):
    """A network, as it is published."""

    name: Literal["ProxylessNASNets"]
    bn: Normalisation = Normalisation()
    first_conv: Convolution
    blocks: tuple[ResidualBlock, ...] = Field(min_length=1)
    feature_mix_layer: Convolution | None
    classifier: Linear
    resolution: PositiveInt | None = None

    @property
    def outline(self) -> MobileNetOutline:
        """The network, before it is built."""
        final = self.feature_mix_layer
        return MobileNetOutline(
            self.first_conv.out_channels,
            self.first_conv.stride,
            tuple(block.block for block in self.blocks),
            None if final is None else final.out_channels,
            None,
            self.first_conv.act_func,
            self.classifier.dropout_rate,
            norm_eps=self.bn.eps,
        )

    @model_validator(mode="after")
    def _fits(self) -> "Description":
        self._check_ends()
        gives = self.first_conv.out_channels
        for number, block in enumerate(self.blocks):
            layer = block.mobile_inverted_conv
            _check_channels(f"blocks.{number}", layer.in_channels, gives)
            gives = layer.out_channels
        if self.feature_mix_layer is not None:
            _check_channels("feature_mix_layer", self.feature_mix_layer.in_channels, gives)
            gives = self.feature_mix_layer.out_channels
        _check_channels("classifier", self.classifier.in_features, gives)
        return self

    def _check_ends(self) -> None:
        first, final = self.first_conv, self.feature_mix_layer
        if first.kernel_size != 3:
            raise ValueError(f"first_conv: expected 'kernel_size' 3, got {first.kernel_size}")
        if final is None:
            return
        if (final.kernel_size, final.stride) != (1, 1):
            raise ValueError("feature_mix_layer: expected 'kernel_size' 1 and 'stride' 1")
        if final.act_func != first.act_func:
            raise ValueError(
                f"feature_mix_layer: expected the 'act_func' of first_conv, {first.act_func!r}, "
                f"got {final.act_func!r}"
            )


def _check_channels(where: str, reads: int, gives: int) -> None:
    if reads != gives:
        raise ValueError(f"{where}: reads {reads} channels, but what is before it gives {gives}")


def read_description(path: Path) -> Description:
    """Return the network that a JSON file describes.

    Raises:
        DataError: The file cannot be read, or describes something else; names the place.
    """
    return read_json_as(Description, path, "MCUNet description", _HINT)
