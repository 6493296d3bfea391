"""Images in arrays: in memory, or in a NumPy ``.npz`` file."""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hybridge.data.dataset import (
    ArrayDataset,
    Dataset,
    ImageDataset,
    Pixels,
)
from hybridge.errors import DataError
from hybridge.plan.tensors import Geometry


def fit_arrays(
    pixels: Pixels,
    labels: np.ndarray[Any, Any],
    geometry: Geometry,
    class_names: Sequence[str] | None = None,
    *,
    where: str = "array",
) -> Dataset:
    """Return ``(N, H, W, C)`` uint8 pixels as a dataset of ``geometry``, resized if they must be.

    ``where`` is what messages call the arrays.

    Raises:
        SignatureError: The pixels are not uint8 ``(N, H, W, 1 or 3)``.
        DataError: The labels ``(N,)`` do not fit.
    """
    stored = ArrayDataset(pixels, labels, class_names, where=where)
    if pixels.shape[1:] == geometry.shape:
        return stored
    return ImageDataset(
        lambda row: pixels[row],
        lambda row: f"{where}, row {row}",
        labels=stored.labels,
        class_names=stored.class_names,
        geometry=geometry,
        content=stored.fingerprint,
    )


def open_arrays(path: Path, geometry: Geometry) -> Dataset:
    """Open a ``.npz`` file with ``pixels`` ``(N, H, W, C)`` uint8 and ``labels`` ``(N,)``.

    An array of strings ``class_names`` may stand beside them.

    Raises:
        DataError: The file is missing, none, or lacks an array.
        SignatureError: The pixels are not uint8 ``(N, H, W, 1 or 3)``.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"expected a NumPy .npz file at {path}: {error}") from error
    if missing := {"pixels", "labels"} - set(arrays):
        raise DataError(
            f"{path}: expected an array {min(missing)!r}, got {', '.join(arrays) or 'none'}"
        )
    names = [str(name) for name in arrays["class_names"]] if "class_names" in arrays else None
    return fit_arrays(arrays["pixels"], arrays["labels"], geometry, names, where=str(path))
