"""A data set of the Hugging Face hub, through the package ``datasets``."""

from pathlib import Path
from typing import Any

import numpy as np

from hybridge.data.dataset import (
    Dataset,
    Encoded,
    ImageDataset,
    check_labels,
)
from hybridge.errors import DataError, MissingExtraError
from hybridge.plan.tensors import Geometry


def open_hub(
    name: str,
    geometry: Geometry,
    *,
    split: str = "train",
    revision: str | None = None,
    image_column: str = "image",
    label_column: str = "label",
) -> Dataset:
    """Open a data set by its name on the hub, or by the path of a folder laid out like one.

    Args:
        name: Such as ``uoft-cs/cifar10``; downloaded once and kept by ``datasets``.
        geometry: What the images are made to fit.
        split: Which of its splits.
        revision: Commit or tag, so that the data cannot change.
        image_column: Column of images.
        label_column: Column of integer labels.

    Raises:
        DataError: The data set cannot be had, or lacks a column.
        MissingExtraError: ``datasets`` is not installed.
    """
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise MissingExtraError("datasets", "design") from error
    try:
        table = datasets.load_dataset(name, split=split, revision=revision)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise DataError(f"cannot open data set {name!r}, split {split!r}: {error}") from error
    for column in (image_column, label_column):
        if column not in table.column_names:
            known = ", ".join(table.column_names)
            raise DataError(f"data set {name!r}: expected a column {column!r}, got {known}")
    labels, names = check_labels(
        np.asarray(table[label_column]),
        getattr(table.features[label_column], "names", None),
        f"data set {name!r}, column {label_column!r}",
    )
    images = table.select_columns([image_column])
    images = images.cast_column(image_column, datasets.Image(decode=False))
    return ImageDataset(
        lambda row: _encoded(images[row][image_column]),
        lambda row: f"data set {name!r}, split {split!r}, row {row}",
        labels=labels,
        class_names=names,
        geometry=geometry,
        content=table._fingerprint,
    )


def _encoded(stored: dict[str, Any]) -> Encoded:
    data: bytes | None = stored["bytes"]
    return Path(stored["path"]).read_bytes() if data is None else data
