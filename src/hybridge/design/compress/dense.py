"""F1, F2 and F3: fully connected layers with fewer weights (model tree, table II).

Letters: ``B`` batch, ``C`` channels, ``H`` height, ``W`` width, ``F`` features read and ``M``
given, ``K`` rank, ``A`` atoms, ``N`` samples.
"""

import math
from typing import cast, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hybridge.design.compress.fitting import covariance, fit_linear, rows_of, set_weights
from hybridge.design.compress.replacement import Replacement, narrow_reader
from hybridge.design.compress.sparse import k_svd
from hybridge.design.compress.technique import MapShape, Technique, techniques
from hybridge.errors import ConfigError

#: Atoms of F2 that make up one output, as a share of all, where the size allows it.
_USED = 1 / 4
_FEWEST_ATOMS = 8
#: Bytes on disk of a weight, and of one that is not zero in a sparse matrix, with its index.
_DENSE_BYTES, _SPARSE_BYTES = 4, 6


@final
class LowRankLinear(Replacement):
    """Two linear layers, with few features between them.

    Args:
        layer: Whose place this takes.
        rank: Features in between, ``K``.
    """

    def __init__(self, layer: nn.Linear, rank: int) -> None:
        super().__init__()
        self.first = nn.Linear(layer.in_features, rank, bias=False)
        self.second = nn.Linear(rank, layer.out_features)

    def forward(self, features: Tensor) -> Tensor:
        """Return ``(B, M)`` of features ``(B, F)``."""
        return cast(Tensor, self.second(self.first(features)))

    def narrow_inputs(self, kept: Tensor) -> None:
        """Read only the features ``kept``."""
        narrow_reader(self.first, kept)


@final
class SparseLinear(Replacement):
    """A dictionary of few atoms, then a sparse matrix that mixes them.

    It computes with both as dense matrices, one after the other: there are so few atoms that this
    takes fewer MACs than their product would. Zeros of the sparse matrix stay zero in training.

    Args:
        layer: Whose place this takes.
        atoms: Number of atoms, ``A``.
    """

    used: Tensor

    def __init__(self, layer: nn.Linear, atoms: int) -> None:
        super().__init__()
        self.dictionary = nn.Linear(layer.in_features, atoms, bias=False)
        self.codes = nn.Linear(atoms, layer.out_features)
        self.register_buffer("used", torch.ones(layer.out_features, atoms, dtype=torch.bool))

    def forward(self, features: Tensor) -> Tensor:
        """Return ``(B, M)`` of features ``(B, F)``."""
        codes = self.codes.weight
        # Where no gradient is taken the zeros need no guard, which would have a price.
        if torch.is_grad_enabled() and not torch.compiler.is_exporting():
            codes = codes * self.used
        return F.linear(self.dictionary(features), codes, self.codes.bias)

    def narrow_inputs(self, kept: Tensor) -> None:
        """Read only the features ``kept``."""
        narrow_reader(self.dictionary, kept)

    @property
    def stored_bytes(self) -> int:
        """Size on disk: of the sparse matrix its non-zero values, and their indices of 2 bytes."""
        dense = self.dictionary.weight.numel() + self.codes.bias.numel()
        return dense * _DENSE_BYTES + int(self.used.sum()) * _SPARSE_BYTES


@final
class PooledLinear(Replacement):
    """The mean over a grid of maps, then a linear layer.

    Args:
        layer: A linear layer that reads flattened maps, whose place this takes.
        reads: Shape of the maps, ``(C, H, W)``.
        grid: Parts of a side of the maps.
    """

    def __init__(self, layer: nn.Linear, reads: MapShape, grid: int) -> None:
        super().__init__()
        self.reads = reads
        self.pool = nn.AvgPool2d((reads[1] // grid, reads[2] // grid))
        self.linear = nn.Linear(reads[0] * grid * grid, layer.out_features)

    def pooled(self, features: Tensor) -> Tensor:
        """Return the means ``(B, C * grid * grid)`` of flattened maps ``(B, C * H * W)``."""
        return cast(Tensor, self.pool(features.reshape(-1, *self.reads))).flatten(1)

    def forward(self, features: Tensor) -> Tensor:
        """Return ``(B, M)`` of flattened maps ``(B, C * H * W)``."""
        return cast(Tensor, self.linear(self.pooled(features)))

    def narrow_inputs(self, kept: Tensor) -> None:
        """Read only the features ``kept``; raises `ConfigError` unless they are whole maps."""
        channels, *size = self.reads
        pixels = math.prod(size)
        maps = kept[::pixels] // pixels
        if not torch.equal(_blocks(maps, pixels), kept):
            raise ConfigError(
                f"global average pooling reads whole maps of {pixels} features; expected the "
                "features of whole maps to be left out, got parts of maps"
            )
        narrow_reader(self.linear, _blocks(maps, self.linear.in_features // channels))
        self.reads = (len(maps), *size)


def _blocks(kept: Tensor, size: int) -> Tensor:
    """Return the indices of all numbers of blocks of ``size``."""
    return (kept[:, None] * size + torch.arange(size, device=kept.device)).flatten()


def dense_misfit(layer: nn.Module) -> str | None:
    """Return why a layer is not fully connected, or None."""
    if not isinstance(layer, nn.Linear):
        return "it takes the place of a linear layer"
    return None


def output_axes(layer: nn.Linear, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return the principal axes of what a layer makes of inputs, the foremost first.

    Cutting ``axes @ axes.T @ weight`` to the first ``K`` axes is the truncated SVD of the weight,
    weighted by the second moments of the inputs about their mean: the best of its rank for them.

    Returns:
        Axes ``(M, M)`` and the standard deviation along each, ``(M,)``.
    """
    weight = layer.weight.double()
    (rows,) = rows_of(inputs)
    outputs = rows @ weight.T
    # Inputs that do not vary here may vary elsewhere: a small part of each is presumed to.
    spread = 1e-3 * rows.var(0, correction=0).mean() * weight @ weight.T
    values, axes = torch.linalg.eigh(covariance(outputs) + spread)
    return axes.flip(1), values.flip(0).clamp_min(0).sqrt()


@final
class F1(Technique):
    """Truncated singular value decomposition, weighted by what the layer reads."""

    name = "F1"
    about = "two linear layers of low rank in the place of a linear layer"
    meaning = "rank, as a share of the full one"
    strengths = (0.25, 0.5)

    def _misfit(self, layer: nn.Module, reads: MapShape) -> str | None:
        return dense_misfit(layer)

    def _outline(self, layer: nn.Module, strength: float, reads: MapShape) -> LowRankLinear:
        assert isinstance(layer, nn.Linear)
        full = min(layer.in_features, layer.out_features)
        return LowRankLinear(layer, max(1, round(strength * full)))

    def _start(
        self, layer: nn.Module, strength: float, reads: MapShape, inputs: Tensor
    ) -> LowRankLinear:
        assert isinstance(layer, nn.Linear)
        made = self._outline(layer, strength, reads)
        left = output_axes(layer, inputs)[0][:, : made.first.out_features]
        set_weights(made.first, left.T @ layer.weight.double())
        features, targets = rows_of(made.first(inputs), layer(inputs))
        set_weights(made.second, *fit_linear(features, targets, left))
        return made


@final
class F2(Technique):
    """K-SVD: each output is made of a few out of many atoms, weighted by what the layer reads."""

    name = "F2"
    about = "a dictionary and sparse codes in the place of a linear layer"
    meaning = "bytes on disk, as a share of the layer's"
    strengths = (0.25, 0.5)

    def _misfit(self, layer: nn.Module, reads: MapShape) -> str | None:
        if reason := dense_misfit(layer):
            return reason
        assert isinstance(layer, nn.Linear)
        atoms, _ = _sparse_size(layer, max(self.strengths))
        if atoms < _FEWEST_ATOMS:
            return f"its {layer.out_features} outputs have too little in common for a dictionary"
        return None

    def _loss(self, layer: nn.Module, strength: float, reads: MapShape) -> str | None:
        assert isinstance(layer, nn.Linear)
        atoms, used = _sparse_size(layer, strength)
        if strength >= 1:
            return "it takes no fewer bytes"
        if atoms < _FEWEST_ATOMS or used < 1:
            return f"{strength:.0%} of its bytes hold {atoms} atoms, expected {_FEWEST_ATOMS}"
        return super()._loss(layer, strength, reads)

    def _outline(self, layer: nn.Module, strength: float, reads: MapShape) -> SparseLinear:
        assert isinstance(layer, nn.Linear)
        return SparseLinear(layer, _sparse_size(layer, strength)[0])

    def _start(
        self, layer: nn.Module, strength: float, reads: MapShape, inputs: Tensor
    ) -> SparseLinear:
        assert isinstance(layer, nn.Linear)
        made = self._outline(layer, strength, reads)
        axes, deviations = output_axes(layer, inputs)
        deviations = deviations.clamp_min(1e-6 * deviations[0])
        atoms, used = _sparse_size(layer, strength)
        # One signal for each output: what it depends on, in coordinates in which errors count alike
        dictionary, codes = k_svd((axes * deviations).float(), atoms, used)
        back = (dictionary.double() / deviations) @ axes.T @ layer.weight.double()
        set_weights(made.dictionary, back)
        mean = inputs.mean(0)
        bias = layer(mean) - codes @ made.dictionary(mean)
        set_weights(made.codes, codes, bias)
        made.used.copy_(codes != 0)
        return made


def _sparse_size(layer: nn.Linear, share: float) -> tuple[int, int]:
    """Return how many atoms there are, and how many for an output, in a share of the bytes."""
    reads, gives = layer.in_features, layer.out_features
    ratio = _SPARSE_BYTES / _DENSE_BYTES
    atoms = int(share * reads * gives / (reads + ratio * _USED * gives))
    # More would be cheaper multiplied out; fewer than outputs and inputs span the rest.
    atoms = min(atoms, (reads * gives - 1) // (reads + gives))
    used = (share * reads * gives - reads * atoms) / (ratio * gives)
    return atoms, min(int(used), atoms)


@final
class F3(Technique):
    """Global average pooling, as the paper puts in the place of fully connected layers."""

    name = "F3"
    about = "the mean over a grid of maps, and a linear layer, in the place of a linear layer"
    meaning = "parts of a side of the maps that are averaged"
    strengths = (1, 2)

    def _misfit(self, layer: nn.Module, reads: MapShape) -> str | None:
        if reason := dense_misfit(layer):
            return reason
        if len(reads) != 3:
            return f"it reads {'x'.join(map(str, reads))} features, expected flattened maps"
        if reads[1] * reads[2] == 1:
            return "it reads maps of one pixel"
        return None

    def _loss(self, layer: nn.Module, strength: float, reads: MapShape) -> str | None:
        _, height, width = reads
        grid = round(strength)
        if height <= grid or width <= grid or height % grid or width % grid:
            return f"its maps of {height}x{width} do not fall into a grid of {grid}x{grid}"
        return super()._loss(layer, strength, reads)

    def _outline(self, layer: nn.Module, strength: float, reads: MapShape) -> PooledLinear:
        assert isinstance(layer, nn.Linear)
        return PooledLinear(layer, reads, round(strength))

    def _start(
        self, layer: nn.Module, strength: float, reads: MapShape, inputs: Tensor
    ) -> PooledLinear:
        assert isinstance(layer, nn.Linear)
        made = self._outline(layer, strength, reads)
        channels, *size = reads
        grid = round(strength)
        # Where all pixels of a part are alike, its weights add up.
        parts = layer.weight.reshape(
            -1, channels, grid, size[0] // grid, grid, size[1] // grid
        ).sum((3, 5))
        features, targets = rows_of(made.pooled(inputs), layer(inputs))
        set_weights(made.linear, *fit_linear(features, targets, parts.flatten(1)))
        return made


for _technique in (F1(), F2(), F3()):
    techniques.add(_technique.name, _technique)
