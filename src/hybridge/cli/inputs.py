"""Inputs of commands: image files, or labelled data."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hybridge.errors import ConfigError, DataError, did_you_mean

if TYPE_CHECKING:
    from hybridge.data.dataset import Dataset, Pixels
    from hybridge.plan.plan import Plan
    from hybridge.plan.tensors import Geometry

_WITH_PATH = ("parquet", "folder", "arrays")
_FORMATS = (*_WITH_PATH, "digits")


@dataclass(frozen=True, slots=True)
class Input:
    """One image to answer.

    Attributes:
        name: What messages and answers call it.
        image: An encoded file, or its pixels ``(H, W, C)``.
        truth: Its class, or None where it is not known.
    """

    name: str
    image: "bytes | Pixels"
    truth: int | None = None


def from_files(paths: Sequence[Path], plan: "Plan") -> Iterator[Input]:
    """Yield image files, each read when its turn comes.

    Raises `DataError`, before the first is answered, for one that is missing or no image.
    """
    _geometry(plan)
    for path in paths:
        _check_image(path)
    return (Input(str(path), path.read_bytes()) for path in paths)


def from_source(source: str, plan: "Plan") -> Iterator[Input]:
    """Yield the images of ``parquet:PATH``, ``folder:PATH``, ``arrays:PATH`` or ``digits``.

    Raises:
        ConfigError: It is none of these, or its classes are not the plan's.
        DataError: The data are missing, or not what they should be.
    """
    return _rows(source, open_source(source, plan))


def open_source(source: str, plan: "Plan") -> "Dataset":
    """Return the images of such a source, opened for ``plan``; raises as `from_source` does."""
    data = open_data(source, _geometry(plan))
    _check_classes(source, data, plan)
    return data


def _geometry(plan: "Plan") -> "Geometry":
    if plan.geometry is None:
        raise ConfigError(
            f"this bundle takes no images but {plan.input.dtype} arrays of shape "
            f"{plan.input.shape}; use hybridge.runtime.edge.edge.EdgeRuntime for them"
        )
    return plan.geometry


def _check_image(path: Path) -> None:
    """Raise `DataError` unless a file is an image by its header; its pixels are not decoded yet."""
    from hybridge.codecs.pixels import open_image

    if not path.is_file():
        raise DataError(f"expected an image at {path}, but there is no such file")
    open_image(path).close()


def open_data(source: str, geometry: "Geometry") -> "Dataset":
    """Return the images of such a source as ``geometry`` says; raises as `from_source` does."""
    from pydantic import TypeAdapter

    from hybridge.data.source import DataSource

    kind, _, path = source.partition(":")
    if kind not in _FORMATS:
        hint = did_you_mean(kind, _FORMATS) or f"; known: {', '.join(_FORMATS)}"
        raise ConfigError(f"--data {source}: unknown kind of data {kind!r}{hint}")
    if bool(path) != (kind in _WITH_PATH):
        raise ConfigError(f"--data: expected {kind}{'' if path else ':PATH'}, got {source!r}")
    content = {"format": kind, "path": path} if path else {"format": kind}
    opened: Dataset = TypeAdapter(DataSource).validate_python(content).open(geometry, Path())
    if not len(opened):
        raise DataError(f"--data {source}: expected images, got none; give data that have some")
    return opened


def _check_classes(source: str, data: "Dataset", plan: "Plan") -> None:
    from hybridge.data.dataset import default_class_names

    classes = len(plan.class_names)
    # Data without class names show as many classes as their labels happen to reach.
    unnamed = data.class_names == tuple(default_class_names(data.labels))
    if classes and data.class_count != classes and not (unnamed and data.class_count < classes):
        raise ConfigError(
            f"--data {source} has {data.class_count} classes, the bundle {classes}; "
            "they must be the same"
        )


def _rows(source: str, data: "Dataset") -> Iterator[Input]:
    import numpy as np

    for row, label in enumerate(data.labels.tolist()):
        yield Input(f"{source}, row {row}", data.pixels(np.array([row]))[0], label)
