"""Shuffled, augmented batches of a dataset, resident in memory where it is small.

Letters: ``B`` batch, ``H`` height, ``W`` width, ``C`` channels.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, NamedTuple

import kornia.augmentation as ka
import numpy as np
import torch
from torch import Tensor, nn

from hybridge.data.dataset import Dataset, is_small
from hybridge.errors import DataError
from hybridge.plan.tensors import Geometry

Augment = Literal["none", "flip", "crop", "crop_flip", "resized_crop_flip"]

#: Share of a side by which ``crop`` pads before it crops: 4 pixels of 32.
_CROP_PADDING_SHARE = 1 / 8


class Batch(NamedTuple):
    """Some images of a dataset.

    Attributes:
        indices: Where they stand in the dataset: ``(B,)`` int64, on the CPU.
        pixels: ``(B, H, W, C)`` uint8, augmented.
        labels: ``(B,)`` int64.
    """

    indices: Tensor
    pixels: Tensor
    labels: Tensor


class Batches:
    """Random batches, one epoch at a time. Draws from torch's generator at each epoch.

    Args:
        dataset: What to draw from.
        batch_size: Images in each batch; the rest that would not fill one is left out.
        augment: How images are changed at random.
        device: Where batches go.
        shard: Which part of each batch is this process's, and of how many.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        augment: Augment = "none",
        *,
        device: torch.device | str = "cpu",
        shard: tuple[int, int] = (0, 1),
    ) -> None:
        if not len(dataset):
            raise DataError("expected images to train on, got an empty dataset")
        self._dataset = dataset
        self._batch_size = min(batch_size, len(dataset))
        self._device = device
        self._shard = shard
        self._labels = torch.from_numpy(dataset.labels)
        self._augment = augmentation(augment, dataset.geometry)
        self._resident: Tensor | None = None
        if is_small(dataset):
            pixels = dataset.pixels(np.arange(len(dataset)))
            self._resident = torch.from_numpy(pixels).to(device)

    def __len__(self) -> int:
        return len(self._dataset) // self._batch_size

    def epoch(self) -> Iterator[Batch]:
        """Yield the batches of one epoch, every image in at most one of them."""
        order = torch.randperm(len(self._dataset))[: len(self) * self._batch_size]
        shard, shards = self._shard
        parts = [rows[shard::shards] for rows in order.view(len(self), -1)]
        for rows, pixels in zip(parts, self._pixels(parts), strict=True):
            yield Batch(rows, self._augment(pixels), self._labels[rows].to(self._device))

    def _pixels(self, parts: list[Tensor]) -> Iterator[Tensor]:
        """Yield the pixels of every part; from disk, the next is read while one is used."""
        if self._resident is not None:
            for rows in parts:
                yield self._resident[rows.to(self._device)]
            return
        with ThreadPoolExecutor(1) as reader:
            ahead = reader.submit(self._dataset.pixels, parts[0].numpy())
            for following in [*parts[1:], None]:
                pixels = ahead.result()
                if following is not None:
                    ahead = reader.submit(self._dataset.pixels, following.numpy())
                yield torch.from_numpy(pixels).to(self._device, non_blocking=True)


def augmentation(augment: Augment, geometry: Geometry) -> Callable[[Tensor], Tensor]:
    """Return the random change of ``(B, H, W, C)`` uint8 pixels that ``augment`` names.

    ``crop`` pads an eighth of each side and crops; ``resized_crop`` crops at random scale and
    aspect, as is usual on ImageNet; ``flip`` mirrors every second image.
    """
    size = geometry.height, geometry.width
    # `slice` copies pixels instead of interpolating them: exact, and as fast.
    crop = ka.RandomCrop(size, padding=_crop_padding(geometry), cropping_mode="slice")
    flip = ka.RandomHorizontalFlip(p=0.5)
    steps: dict[Augment, list[nn.Module]] = {
        "none": [],
        "flip": [flip],
        "crop": [crop],
        "crop_flip": [crop, flip],
        "resized_crop_flip": [ka.RandomResizedCrop(size, cropping_mode="resample"), flip],
    }
    if not steps[augment]:
        return lambda pixels: pixels
    pipeline = nn.Sequential(*steps[augment])

    def apply(pixels: Tensor) -> Tensor:
        changed: Tensor = pipeline(pixels.permute(0, 3, 1, 2).float())
        return changed.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)

    return apply


def _crop_padding(geometry: Geometry) -> tuple[int, int]:
    """Return the padding of left and right, and of top and bottom, in pixels."""
    return (
        max(1, round(geometry.width * _CROP_PADDING_SHARE)),
        max(1, round(geometry.height * _CROP_PADDING_SHARE)),
    )
