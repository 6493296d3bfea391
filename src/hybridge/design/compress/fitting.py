"""Linear algebra that starts a replacement from what the original layer does with real inputs.

All is computed in double precision, on a sample whose size is bounded, without randomness.

Letters: ``N`` samples, ``B`` batch, ``C`` channels, ``H`` height, ``W`` width, ``M`` outputs and
``F`` inputs of a matrix, ``K`` rank, ``P`` positions of a kernel.
"""

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: Samples that a fit takes at most, and images that it takes at least.
_ROWS, _IMAGES = 8192, 64
#: Samples of patches; they are many numbers each, and few moments are estimated from them.
_PATCH_ROWS, _PATCH_IMAGES = 4096, 16
#: What is added to a diagonal, in shares of its mean.
_RIDGE = 1e-3
#: Below this, a variance is that of something constant.
_LEAST = 1e-9


def some_images(inputs: Tensor, pixels: int) -> Tensor:
    """Return inputs of which ``pixels`` outputs each are enough for a fit; all, where few."""
    return inputs[_evenly(len(inputs), max(_IMAGES, 4 * _ROWS // pixels))]


def rows_of(*maps: Tensor) -> tuple[Tensor, ...]:
    """Return the same sample of pixels of several maps.

    Args:
        maps: ``(B, C, H, W)`` each, ``C`` its own; or ``(B, F)``.

    Returns:
        ``(N, C)`` each, in double precision.
    """
    batch, _, *size = maps[0].shape
    total, pixels = batch * math.prod(size), math.prod(size)
    step = max(1, math.ceil(total / _ROWS))
    while math.gcd(step, pixels) > 1:  # else the same places of every image would be taken
        step += 1
    chosen = torch.arange(0, total, step)
    return tuple(
        found.flatten(2).transpose(1, 2).flatten(0, 1)[chosen].double()
        if found.ndim > 2
        else found[chosen].double()
        for found in maps
    )


def fit_linear(features: Tensor, targets: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weight and bias that best make targets of features, by least squares.

    What the samples do not tell is left as it is in ``start``: the ridge is on the change.

    Args:
        features: ``(N, F)``.
        targets: ``(N, M)``.
        start: A weight, ``(M, F)``.

    Returns:
        A weight ``(M, F)`` and a bias ``(M,)``.
    """
    features, targets, start = features.double(), targets.double(), start.double()
    mean, goal = features.mean(0), targets.mean(0)
    centred = features - mean
    missing = targets - goal - centred @ start.T
    moments = with_ridge(centred.T @ centred)
    weight = start + torch.linalg.solve(moments, centred.T @ missing).T
    return weight, goal - weight @ mean


def set_weights(layer: nn.Conv2d | nn.Linear, weight: Tensor, bias: Tensor | None = None) -> None:
    """Copy a weight, of any shape with as many numbers, and a bias into a layer."""
    layer.weight.copy_(weight.reshape(layer.weight.shape))
    if bias is not None and layer.bias is not None:
        layer.bias.copy_(bias)


def with_ridge(moments: Tensor) -> Tensor:
    """Return symmetric matrices ``(..., F, F)`` with a little more on the diagonal."""
    diagonal = moments.diagonal(dim1=-2, dim2=-1)
    ridge = _RIDGE * diagonal.mean(-1).clamp_min(_LEAST)
    return moments + ridge[..., None, None] * torch.eye(moments.shape[-1], dtype=moments.dtype)


def covariance(rows: Tensor) -> Tensor:
    """Return the covariance ``(F, F)`` of rows ``(N, F)``, with a ridge."""
    centred = rows.double() - rows.double().mean(0)
    return with_ridge(centred.T @ centred / len(rows))


def weighted_factors(weight: Tensor, moments: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Factor a matrix so that its product with inputs of given moments changes least.

    That is the truncated SVD of ``weight @ moments ** 0.5``, with the root taken back.

    Args:
        weight: ``(..., M, F)``.
        moments: Second moments of the inputs, ``(..., F, F)``, definite.
        rank: ``K``, at most ``F``.

    Returns:
        Factors ``(..., M, K)`` and ``(..., K, F)``, the rows of the second of length 1.
    """
    weight = weight.double()
    values, vectors = torch.linalg.eigh(moments.double())
    roots = values.clamp_min(values[..., -1:] * 1e-12).sqrt()
    seen = (weight @ vectors) * roots[..., None, :]
    axes = torch.linalg.eigh(seen.mT @ seen).eigenvectors.flip(-1)[..., :rank]
    left = seen @ axes
    right = (axes / roots[..., :, None]).mT @ vectors.mT
    lengths = torch.linalg.vector_norm(right, dim=-1, keepdim=True)
    return left * lengths.mT, right / lengths


def patch_moments(maps: Tensor, layer: nn.Conv2d) -> Tensor:
    """Return the second moments of what a kernel sees of each channel, ``(C, P, P)``.

    Args:
        maps: ``(B, C, H, W)``.
        layer: Whose kernel, stride, padding and dilation are meant.
    """
    height, width = layer.kernel_size
    pixels = maps.shape[2] * maps.shape[3] // math.prod(layer.stride)
    some = maps[_evenly(len(maps), max(_PATCH_IMAGES, _PATCH_ROWS // max(1, pixels)))]
    patches = F.unfold(some, (height, width), layer.dilation, padding_of(layer), layer.stride)
    patches = patches.reshape(len(some), maps.shape[1], height * width, -1)  # (B, C, P, pixels)
    by_channel = patches.permute(1, 0, 3, 2).flatten(1, 2)  # (C, N, P)
    return with_ridge((by_channel.mT @ by_channel).double() / by_channel.shape[1])


def padding_of(layer: nn.Conv2d) -> tuple[int, int]:
    """Return the padding of a convolution that is known to have a number for each axis."""
    return cast(tuple[int, int], layer.padding)


def _evenly(total: int, most: int) -> Tensor:
    """Return indices below ``total``, as many as ``most`` allows, spread evenly."""
    return torch.linspace(0, total - 1, min(total, most)).long()
