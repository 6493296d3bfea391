"""Where data come from, as a recipe says it."""

import math
import os
import re
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, field_validator

from hybridge.data.arrays import open_arrays
from hybridge.data.dataset import Dataset, subset
from hybridge.data.digits import open_digits
from hybridge.data.folder import open_folder
from hybridge.data.hub import open_hub
from hybridge.data.parquet import named_classes, open_parquet
from hybridge.errors import DataError, HybridgeError
from hybridge.plan.tensors import Frozen, Geometry


class _Source(Frozen):
    """What all sources share.

    Attributes:
        rows: Which rows, as ``start:stop``, counted from 0, ``stop`` left out; all by default.
    """

    rows: str | None = None

    @field_validator("rows")
    @classmethod
    def _check_rows(cls, rows: str | None) -> str | None:
        if rows is not None and not re.fullmatch(r"\d*:\d*", rows):
            raise ValueError(f"expected rows as 'start:stop', such as '0:40000', got {rows!r}")
        return rows

    def open(self, geometry: Geometry, root: Path) -> Dataset:
        """Open the data.

        Args:
            geometry: What the images are made to fit.
            root: Folder that relative paths start from.

        Raises:
            DataError: The data are missing or not what they should be.
            MissingExtraError: A package that reads them is not installed.
        """
        whole = self._open(geometry, root)
        return whole if self.rows is None else _take_rows(whole, self.rows)

    def class_count(self, root: Path) -> int | None:
        """Return the number of classes where that shows without opening the data."""
        return None

    def overlaps(self, other: "_Source") -> bool:
        """Return whether both take some of the same rows of the same data."""
        if type(self) is not type(other) or self._whole() != other._whole():
            return False
        (start, stop), (other_start, other_stop) = self._bounds(), other._bounds()
        return max(start, other_start) < min(stop, other_stop)

    def _whole(self) -> "_Source":
        path: Path | None = getattr(self, "path", None)
        plain = {} if path is None else {"path": Path(os.path.normpath(path))}
        return self.model_copy(update={"rows": None, **plain})

    def _bounds(self) -> tuple[float, float]:
        start, _, stop = (self.rows or ":").partition(":")
        return float(start or 0), float(stop or math.inf)

    def _open(self, geometry: Geometry, root: Path) -> Dataset:
        raise NotImplementedError


class ParquetSource(_Source):
    """A Parquet file of images, or a folder of such files.

    Attributes:
        path: The file or folder, relative to the data folder.
        image_column: Column of encoded images, in the layout of the Hugging Face hub.
        label_column: Column of integer labels.
    """

    format: Literal["parquet"] = "parquet"
    path: Path
    image_column: str = "image"
    label_column: str = "label"

    def _open(self, geometry: Geometry, root: Path) -> Dataset:
        return open_parquet(
            root / self.path,
            geometry,
            image_column=self.image_column,
            label_column=self.label_column,
        )

    def class_count(self, root: Path) -> int | None:
        """Return the number of names in the first file, where it names its classes."""
        try:
            names = named_classes(root / self.path, self.label_column)
        except HybridgeError:
            return None  # said when it is opened, with the reason
        return len(names) if names else None


class FolderSource(_Source):
    """A folder with one sub-folder of images for every class.

    Attributes:
        path: The folder, relative to the data folder.
    """

    format: Literal["folder"] = "folder"
    path: Path

    def class_count(self, root: Path) -> int | None:
        """Return the number of sub-folders."""
        folder = root / self.path
        if not folder.is_dir():
            return None
        return sum(entry.is_dir() for entry in folder.iterdir()) or None

    def _open(self, geometry: Geometry, root: Path) -> Dataset:
        return open_folder(root / self.path, geometry)


class ArraysSource(_Source):
    """A ``.npz`` file with ``pixels`` and ``labels``.

    Attributes:
        path: The file, relative to the data folder.
    """

    format: Literal["arrays"] = "arrays"
    path: Path

    def _open(self, geometry: Geometry, root: Path) -> Dataset:
        return open_arrays(root / self.path, geometry)


class HubSource(_Source):
    """A data set of the Hugging Face hub.

    Attributes:
        name: Such as ``uoft-cs/cifar10``.
        split: Which of its splits.
        revision: Commit or tag, so that the data cannot change; the newest by default.
        image_column: Column of images.
        label_column: Column of integer labels.
    """

    format: Literal["hub"] = "hub"
    name: str
    split: str = "train"
    revision: str | None = None
    image_column: str = "image"
    label_column: str = "label"

    def _open(self, geometry: Geometry, root: Path) -> Dataset:
        return open_hub(
            self.name,
            geometry,
            split=self.split,
            revision=self.revision,
            image_column=self.image_column,
            label_column=self.label_column,
        )


class DigitsSource(_Source):
    """The demo's handwritten digits."""

    format: Literal["digits"] = "digits"

    def class_count(self, root: Path) -> int | None:
        """Return ten."""
        return 10

    def _open(self, geometry: Geometry, root: Path) -> Dataset:
        return open_digits(geometry)


DataSource = Annotated[
    ParquetSource | FolderSource | ArraysSource | HubSource | DigitsSource,
    Field(discriminator="format"),
]


def _take_rows(dataset: Dataset, rows: str) -> Dataset:
    start, stop = (int(bound) if bound else None for bound in rows.split(":"))
    if stop is not None and stop > len(dataset):
        raise DataError(f"expected rows of the {len(dataset)} there are, got {rows!r}")
    indices = np.arange(len(dataset))[start:stop]
    if not indices.size:
        raise DataError(f"expected some of the {len(dataset)} rows, but {rows!r} holds none")
    return subset(dataset, indices)
