"""A folder of images, with one sub-folder for every class."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from hybridge.data.cache import hash_content
from hybridge.data.dataset import Dataset, ImageDataset
from hybridge.errors import DataError
from hybridge.hashing import hash_json
from hybridge.plan.tensors import Geometry

_HASHED_BYTES = 1 << 30


def open_folder(path: Path, geometry: Geometry) -> Dataset:
    """Open ``path/CLASS/IMAGE``; classes and images stand in the order of their names.

    Args:
        path: The folder; files whose names do not end like an image's are passed over.
        geometry: What the images are made to fit.

    Raises:
        DataError: There is no such folder, or no image in one of its sub-folders.
    """
    if not path.is_dir():
        raise DataError(f"expected a folder with one sub-folder for each class at {path}")
    classes = sorted(entry for entry in path.iterdir() if entry.is_dir())
    if not classes:
        raise DataError(f"{path}: expected one sub-folder for each class, got none")
    suffixes = set(Image.registered_extensions())
    files: list[Path] = []
    labels: list[int] = []
    for label, folder in enumerate(classes):
        found = sorted(file for file in folder.rglob("*") if file.suffix.lower() in suffixes)
        if not found:
            raise DataError(f"{folder}: expected images of this class, got none")
        files += found
        labels += [label] * len(found)
    return ImageDataset(
        lambda row: files[row].read_bytes(),
        lambda row: str(files[row]),
        labels=np.array(labels, dtype=np.int64),
        class_names=[folder.name for folder in classes],
        geometry=geometry,
        content=_content(path, files),
    )


def _content(path: Path, files: Sequence[Path]) -> str:
    """Hash names and bytes, or names and sizes where reading all of it would take minutes."""
    sizes = [file.stat().st_size for file in files]
    names = [file.relative_to(path).as_posix() for file in files]
    if sum(sizes) > _HASHED_BYTES:
        return hash_json([names, sizes])
    return hash_json([names, [hash_content(file) for file in files]])
