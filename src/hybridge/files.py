"""Files that a reader sees whole or not at all, and small ones that hold a checked value."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from pydantic import TypeAdapter, ValidationError

from hybridge.errors import DataError

Value = TypeVar("Value")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a new file's path beside ``path``, which it replaces at once if all goes well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not from tempfile, whose files nobody else may read.
    part = path.with_name(f".{path.name}.{uuid4().hex}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees all of it or none."""
    with replacing(path) as part:
        part.write_bytes(data)


def write_json(path: Path, value: Any) -> None:
    """Write plain data as JSON, at once."""
    write_atomically(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())


def read_json_as(kind: type[Value], path: Path, what: str, hint: str) -> Value:
    """Return the ``kind`` of value that a JSON file holds.

    Args:
        kind: A class that pydantic can check.
        path: The file.
        what: What the file should hold, in a few words.
        hint: What to do where it does not.

    Raises:
        DataError: The file cannot be read, or holds something else; names the first fault.
    """
    try:
        return TypeAdapter(kind).validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(f"cannot read {what} {path}: {error.strerror or error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        reason = " ".join(first["msg"].removeprefix("Value error, ").split())
        fault = f"{where}: {reason}" if where else reason
        raise DataError(f"{path} is no {what}: {fault}; {hint}") from error
