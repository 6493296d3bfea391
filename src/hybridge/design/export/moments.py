"""Weights rounded so that a layer's sums stay right, not each weight (Frantar et al. 2022, GPTQ).

Neighbouring pixels, and many channels, rise and fall together. So what one weight is rounded down
by, a later one can be rounded up by, and the sum over what they read hardly changes. How much goes
where follows from the second moments of what a layer reads, taken from calibration images.
"""

from collections.abc import Sequence

import numpy as np

from hybridge.design.export.tflite_file import Array

#: Added to the diagonal, as a share of its mean: few images do not tell everything.
_DAMPED = 0.01


def windows(
    value: Array, kernel: Sequence[int], strides: Sequence[int], pads: Sequence[int]
) -> Array:
    """Return what a convolution's kernel reads at each place: ``(C, places, kh * kw)``.

    Args:
        value: ``(C, H, W)``.
        kernel: Height and width.
        strides: Down and across.
        pads: Rows and columns of zeros: above, left, below, right.
    """
    above, left, below, right = pads
    padded = np.pad(value, ((0, 0), (above, below), (left, right)))
    seen = np.lib.stride_tricks.sliding_window_view(padded, tuple(kernel), (1, 2))
    seen = seen[:, :: strides[0], :: strides[1]]
    return np.ascontiguousarray(seen).reshape(len(value), -1, kernel[0] * kernel[1])


def moments(read: Array, depthwise: bool) -> Array:
    """Return second moments of what a layer reads.

    Args:
        read: ``(C, places, k)``, of one image.
        depthwise: Whether every channel has a kernel of its own.

    Returns:
        ``(C, k, k)`` where depthwise, else ``(1, C * k, C * k)``.
    """
    if not depthwise:
        read = read.transpose(1, 0, 2).reshape(1, read.shape[1], -1)
    return np.asarray(read.transpose(0, 2, 1) @ read, dtype=np.float64)


def scaled(seen: Array, factors: Array) -> Array:
    """Return moments of what is read after its channels were multiplied by ``factors`` ``(C,)``."""
    if len(seen) == 1 and len(factors) > 1:
        each = np.repeat(factors, seen.shape[1] // len(factors))
        return np.asarray(seen * np.outer(each, each))
    return np.asarray(seen * factors.reshape(-1, 1, 1) ** 2)


def nearest(weights: Array, steps: Array, seen: Array | None) -> Array:
    """Return weights as whole numbers of steps, -127 to 127.

    One column after the other is rounded; what that leaves over is given to the columns after it,
    so that sums over what was seen change least. Where that comes out worse than rounding each by
    itself, as it can where a weight would have to leave the range, a row is rounded plainly.

    Args:
        weights: ``(O, K)``.
        steps: ``(O,)``, what one step of a row is worth.
        seen: Moments ``(1 or O, K, K)`` of what is read; None rounds each weight by itself.
    """
    wanted = weights / steps[:, None]
    plain = np.clip(np.round(wanted), -127, 127)
    if seen is None or not seen.any():
        return plain
    width = weights.shape[1]
    damped = seen + _DAMPED * np.eye(width) * (
        np.trace(seen, axis1=1, axis2=2)[:, None, None] / width + 1e-12
    )
    # Rows of `upper` tell how much of a column's error each later column takes over.
    upper = np.linalg.cholesky(np.linalg.inv(damped)).transpose(0, 2, 1)
    left, whole = wanted.copy(), np.empty_like(wanted)
    for column in range(width):
        whole[:, column] = np.clip(np.round(left[:, column]), -127, 127)
        over = (left[:, column] - whole[:, column]) / upper[:, column, column]
        left[:, column + 1 :] -= over[:, None] * upper[:, column, column + 1 :]
    better = _missed(whole - wanted, damped) < _missed(plain - wanted, damped)
    return np.where(better[:, None], whole, plain)


def _missed(errors: Array, seen: Array) -> Array:
    """Return the mean square ``(O,)`` by which sums are off, for errors ``(O, K)`` of weights."""
    mixed = errors @ seen[0] if len(seen) == 1 else (errors[:, None] @ seen)[:, 0]
    return np.asarray((mixed * errors).sum(axis=1))
