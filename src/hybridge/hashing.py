"""Content hashes: of files, of bytes, of arrays, of plain data."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

CHUNK_BYTES = 1 << 20


def hash_bytes(data: bytes) -> str:
    """Return the sha256 of ``data``, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def hash_file(path: Path) -> str:
    """Return the sha256 of a file's content, read in chunks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def hash_array(array: np.ndarray[Any, Any]) -> str:
    """Return the sha256 of an array's dtype, shape and content."""
    digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def hash_json(value: Any) -> str:
    """Return the sha256 of plain data, independent of the order of its keys."""
    return hash_bytes(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())
