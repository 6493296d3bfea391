"""Which images are used for what: random splits that a report can be held to.

Letters: ``N`` images, ``n`` of them.
"""

from dataclasses import dataclass

import numpy as np

from hybridge.data.dataset import Dataset, Indices, subset
from hybridge.errors import ConfigError
from hybridge.hashing import hash_array, hash_json


def halves(count: int, seed: int) -> tuple[Indices, Indices]:
    """Return two random halves of ``count`` indices: to calibrate on, and to report on.

    Where ``count`` is odd, the second has one more. Both are sorted.
    """
    calibration, reporting = hold_out(count, 0.5, seed)[::-1]
    return calibration, reporting


def hold_out(count: int, share: float, seed: int) -> tuple[Indices, Indices]:
    """Return the indices to use and those held out, both sorted.

    Args:
        count: How many there are.
        share: Of those held out, rounded down to whole images.
        seed: Of the choice.

    Raises:
        ConfigError: Either part would be empty.
    """
    held = int(count * share)
    if not 0 < held < count:
        raise ConfigError(
            f"expected a share that leaves images on both sides, got {share} of {count} images"
        )
    order = np.random.default_rng(seed).permutation(count)
    return np.sort(order[held:]), np.sort(order[:held])


def folds(count: int, k: int, seed: int) -> tuple[Indices, ...]:
    """Return ``k`` disjoint random parts of ``count`` indices, of equal size give or take one.

    Raises:
        ConfigError: There are fewer than two folds, or more folds than indices.
    """
    if not 2 <= k <= count:
        raise ConfigError(f"expected from 2 to {count} folds, got {k}")
    order = np.random.default_rng(seed).permutation(count)
    return tuple(np.sort(part) for part in np.array_split(order, k))


@dataclass(frozen=True)
class Split:
    """Some images of a dataset, and the proof of which.

    Attributes:
        dataset: The whole.
        indices: Which of it: ``(n,)``.
    """

    dataset: Dataset
    indices: Indices

    @property
    def fingerprint(self) -> str:
        """Hash of the dataset's fingerprint and of the indices."""
        return hash_json([self.dataset.fingerprint, hash_array(self.indices)])

    def open(self) -> Dataset:
        """Return the images of this split as a dataset of their own."""
        return subset(self.dataset, self.indices)
