"""Tensors by key from a local file: safetensors, or what ``torch.save`` wrote.

A file of torch's may hold other objects than tensors; it is read with ``weights_only``, which makes
none of them.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from hybridge.errors import DataError

Shape = tuple[int, ...]
#: How names of torch's own files end.
_TORCH = (".pth", ".pt", ".tar", ".bin", ".ckpt")
#: What they begin with: an archive now, a pickled magic number before. A safetensors file begins
#: with the length of its header, which is never as large as that.
_TORCH_MAGIC = (b"PK\x03\x04", b"\x80\x02\x8a\x0a")
#: Where training scripts put the weights, beside their optimizer and the like.
_INSIDE = ("state_dict", "model", "model_state_dict", "state_dict_ema")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read all tensors of a file; raises `DataError` where it is missing or none."""
    if _is_torch(path):
        return _loaded(path, "cpu")
    with opened(path) as file:
        return {key: file.get_tensor(key) for key in list(file.keys())}


def read_shapes(path: Path) -> dict[str, Shape]:
    """Read the shapes of all tensors, which are not read themselves; raises as `read_tensors`."""
    if _is_torch(path):
        return {key: tuple(value.shape) for key, value in _loaded(path, "meta").items()}
    with opened(path) as file:
        return {key: tuple(file.get_slice(key).get_shape()) for key in list(file.keys())}


def _is_torch(path: Path) -> bool:
    """Return whether torch wrote a file, by its name or, as many public ones have none, by it."""
    if path.suffix in _TORCH:
        return True
    try:
        with path.open("rb") as file:
            return file.read(4) in _TORCH_MAGIC
    except OSError:
        return False  # said where it is opened


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open a safetensors file; raises `DataError` where it is none."""
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (OSError, SafetensorError) as error:
        raise DataError(f"expected a safetensors file at {path}: {error}") from error


def _loaded(path: Path, device: str) -> dict[str, Tensor]:
    """Read a file of torch's onto a device; on ``meta``, shapes are all that is left."""
    try:
        found = torch.load(path, map_location=device, weights_only=True)
    except OSError as error:
        raise DataError(f"cannot read weights {path}: {error.strerror or error}") from error
    except (UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"expected a file of tensors that torch saved at {path}: {line}; "
            "save its 'state_dict' alone, or as safetensors"
        ) from error
    return _state(found, path)


def _state(found: Any, path: Path) -> dict[str, Tensor]:
    inside = next((key for key in _INSIDE if isinstance(_at(found, key), Mapping)), None)
    state = found if inside is None else found[inside]
    if not isinstance(state, Mapping) or not state:
        raise DataError(f"{path}: expected tensors by key, got {type(state).__name__}")
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise DataError(
                f"{path}: expected tensors by key, got {type(value).__name__} at {key!r}; "
                f"weights may stand under {', '.join(map(repr, _INSIDE))}"
            )
    return dict(state)


def _at(found: Any, key: str) -> Any:
    return found.get(key) if isinstance(found, Mapping) else None
