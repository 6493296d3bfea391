"""Labelled images as a network sees them: pixels by index, labels at once.

Letters: ``N`` images, ``n`` indices asked for, ``H`` height, ``W`` width, ``C`` channels.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from PIL import Image

from hybridge.codecs.pixels import to_pixels
from hybridge.errors import DataError, SignatureError
from hybridge.hashing import hash_array, hash_json
from hybridge.plan.tensors import Geometry

#: Decoded pixels are kept in memory where all of them together take no more than this.
RESIDENT_BYTES = 1 << 30

#: Most classes that labels without names may be of: names are made for all up to the largest.
MOST_CLASSES = 1 << 20

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
Labels = np.ndarray[Any, np.dtype[np.int64]]
Indices = np.ndarray[Any, np.dtype[np.int64]]
Encoded = bytes | Image.Image | np.ndarray[Any, Any]


class Dataset(Protocol):
    """Labelled images of one geometry; a class that has these members is one."""

    def __len__(self) -> int: ...

    @property
    def labels(self) -> Labels:
        """Class of every image: ``(N,)`` int64."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Name of every class, in the order of its label."""

    @property
    def class_count(self) -> int:
        """Number of classes."""

    @property
    def geometry(self) -> Geometry:
        """What `pixels` come out as."""

    @property
    def fingerprint(self) -> str:
        """Hash of the content, of which rows are in it and in what order, and of the geometry."""

    def pixels(self, indices: Indices) -> Pixels:
        """Return the images at ``indices`` ``(n,)`` as ``(n, H, W, C)`` uint8."""


def is_small(dataset: Dataset) -> bool:
    """Return whether all pixels of ``dataset`` may be held in memory at once."""
    return len(dataset) * int(np.prod(dataset.geometry.shape)) <= RESIDENT_BYTES


def check_labels(
    labels: np.ndarray[Any, Any], class_names: Sequence[str] | None, where: str
) -> tuple[Labels, tuple[str, ...]]:
    """Return labels as int64 ``(N,)``, and the name of every class.

    Args:
        labels: As they are stored.
        class_names: One per class; where there are none, the labels' own numbers.
        where: What holds the labels, for messages.

    Raises:
        DataError: The labels are not integers, or one names no class.
    """
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise DataError(f"{where}: expected integer labels (N,), got {labels.dtype} {labels.shape}")
    limit = len(class_names) if class_names else MOST_CLASSES
    wrong = np.flatnonzero((labels < 0) | (labels >= limit))
    if wrong.size:
        raise DataError(
            f"{where}, row {wrong[0]}: expected a label from 0 to {limit - 1}, "
            f"got {labels[wrong[0]]}"
        )
    return labels.astype(np.int64), tuple(class_names or default_class_names(labels))


class _Classes:
    """What every dataset knows of its classes."""

    class_names: tuple[str, ...]

    @property
    def class_count(self) -> int:
        """Number of classes."""
        return len(self.class_names)


class ArrayDataset(_Classes):
    """Pixels that lie in memory, or in a memory-mapped array.

    Args:
        pixels: ``(N, H, W, C)`` uint8.
        labels: ``(N,)`` integers from 0.
        class_names: One per class; the labels' numbers where left out.
        where: What holds them, for messages.

    Raises:
        SignatureError: The pixels are not uint8 ``(N, H, W, 1 or 3)``.
        DataError: The labels do not fit.
    """

    def __init__(
        self,
        pixels: Pixels,
        labels: np.ndarray[Any, Any],
        class_names: Sequence[str] | None = None,
        *,
        where: str = "array",
    ) -> None:
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[3] not in (1, 3):
            raise SignatureError(
                f"expected uint8 pixels (N, H, W, 1 or 3), got {pixels.dtype} {pixels.shape}"
            )
        self._pixels = pixels
        self.labels, self.class_names = check_labels(labels, class_names, where)
        if len(labels) != len(pixels):
            raise DataError(
                f"{where}: expected as many labels as the {len(pixels)} images, got {len(labels)}"
            )
        height, width, channels = pixels.shape[1:]
        self.geometry = Geometry(height=height, width=width, channels=1 if channels == 1 else 3)

    def __len__(self) -> int:
        return len(self._pixels)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of pixels, labels and class names."""
        parts = hash_array(self._pixels), hash_array(self.labels)
        return hash_json([*parts, list(self.class_names)])

    def pixels(self, indices: Indices) -> Pixels:
        """Return the images at ``indices`` ``(n,)`` as ``(n, H, W, C)`` uint8."""
        return self._pixels[indices]


class ImageDataset(_Classes):
    """Encoded images, decoded when asked for, and kept where all of them are small.

    Args:
        read: From an index to the image there.
        describe: From an index to what a message calls that image: its file and row.
        labels: ``(N,)`` int64.
        class_names: One per class.
        geometry: What the images are made to fit.
        content: Hash of the images and labels as they are stored.
    """

    def __init__(
        self,
        read: Callable[[int], Encoded],
        describe: Callable[[int], str],
        *,
        labels: Labels,
        class_names: Sequence[str],
        geometry: Geometry,
        content: str,
    ) -> None:
        self._read = read
        self._describe = describe
        self.labels = labels
        self.class_names = tuple(class_names)
        self.geometry = geometry
        self.fingerprint = hash_json([content, geometry.model_dump(), list(self.class_names)])
        # The pages of an empty array cost nothing until they are written.
        self._kept: Pixels | None = (
            np.empty((len(labels), *geometry.shape), np.uint8) if is_small(self) else None
        )
        self._is_kept = np.zeros(len(labels), dtype=bool)

    def __len__(self) -> int:
        return len(self.labels)

    def pixels(self, indices: Indices) -> Pixels:
        """Return the images at ``indices`` ``(n,)`` as ``(n, H, W, C)`` uint8.

        Raises:
            DataError: An image cannot be decoded; the message names it.
        """
        if self._kept is None:
            # Large images: decoders release the interpreter's lock while they work.
            with ThreadPoolExecutor(os.cpu_count()) as workers:
                decoded = list(workers.map(self._decode, indices.tolist()))
            return np.stack(decoded) if decoded else np.empty((0, *self.geometry.shape), np.uint8)
        for index in indices[~self._is_kept[indices]].tolist():
            self._kept[index] = self._decode(index)
            self._is_kept[index] = True
        return self._kept[indices]

    def _decode(self, index: int) -> Pixels:
        try:
            return to_pixels(self._read(index), self.geometry)
        except (DataError, SignatureError) as error:
            raise DataError(f"{self._describe(index)}: {error}") from error


class Subset(_Classes):
    """Some images of another dataset, in a given order."""

    def __init__(self, whole: Dataset, indices: Indices) -> None:
        indices = np.asarray(indices, dtype=np.int64)
        if indices.size and not 0 <= indices.min() <= indices.max() < len(whole):
            raise DataError(
                f"expected indices from 0 to {len(whole) - 1}, "
                f"got {indices.min()} to {indices.max()}"
            )
        self._whole = whole
        self._indices = indices
        self.labels = whole.labels[indices]
        self.class_names = whole.class_names
        self.geometry = whole.geometry

    def __len__(self) -> int:
        return len(self._indices)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the whole dataset's fingerprint and of the indices."""
        return hash_json([self._whole.fingerprint, hash_array(self._indices)])

    def pixels(self, indices: Indices) -> Pixels:
        """Return the images at ``indices`` ``(n,)`` as ``(n, H, W, C)`` uint8."""
        return self._whole.pixels(self._indices[indices])


def subset(dataset: Dataset, indices: Indices) -> Dataset:
    """Return the images of ``dataset`` at ``indices`` ``(n,)``, in that order.

    Raises:
        DataError: An index lies outside the dataset.
    """
    return Subset(dataset, indices)


def default_class_names(labels: np.ndarray[Any, Any]) -> list[str]:
    """Return the labels' own numbers as names, for data that name no classes."""
    return [str(label) for label in range(int(labels.max()) + 1 if labels.size else 0)]
