"""A manifest: hash and size of every file in a directory, so that damage is noticed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from hybridge.errors import BundleError, DataError, PlanError
from hybridge.hashing import hash_bytes, hash_file
from hybridge.plan.tensors import Frozen

FORMAT = 1
MANIFEST = "manifest.json"

Parsed = TypeVar("Parsed")


class File(Frozen):
    """What a file must be: its sha256, and its size."""

    sha256: str
    size_bytes: int


class Manifest(Frozen):
    """What a directory must hold.

    Attributes:
        format: Version of the directory's format.
        files: Every file but the manifest itself, by path from the directory.
    """

    format: int
    files: dict[str, File]

    @property
    def content(self) -> bytes:
        """The bytes of its file: there is one way to write it."""
        text = json.dumps(self.model_dump(mode="json"), indent=1, sort_keys=True)
        return f"{text}\n".encode()

    def check(self, root: Path, name: str, verify: bool = True) -> None:
        """Raise `BundleError` unless a file is there, of the right size and, if asked, hash."""
        path = root / name
        self._check_size(root, name)
        try:
            sha256 = hash_file(path) if verify else None
        except OSError as error:
            raise BundleError(f"{path}: {error.strerror or error}") from error
        self._check_hash(root, name, sha256)

    def read(self, root: Path, name: str, verify: bool = True) -> bytes:
        """Return a file's content: the very bytes that were checked; raises as `check` does."""
        self._check_size(root, name)
        path, most_bytes = root / name, self.files[name].size_bytes
        try:
            with path.open("rb") as file:
                data = file.read(most_bytes + 1)
        except OSError as error:
            raise BundleError(f"{path}: {error.strerror or error}") from error
        if len(data) != most_bytes:
            raise BundleError(f"{path} is damaged: it changed while it was read")
        self._check_hash(root, name, hash_bytes(data) if verify else None)
        return data

    def _check_size(self, root: Path, name: str) -> None:
        path, expected = root / name, self.files[name]
        if not path.is_file():
            raise BundleError(f"{path} is missing")
        size_bytes = path.stat().st_size
        if size_bytes != expected.size_bytes:
            raise BundleError(
                f"{path} is damaged: expected {expected.size_bytes} bytes, got {size_bytes}"
            )

    def _check_hash(self, root: Path, name: str, sha256: str | None) -> None:
        if sha256 is not None and sha256 != self.files[name].sha256:
            raise BundleError(
                f"{root / name} is damaged: its content is not what the manifest says"
            )


def write_manifest(root: Path) -> None:
    """Describe every file under ``root`` in its manifest."""
    names = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]
    files = {name: _describe(root / name) for name in names}
    (root / MANIFEST).write_bytes(Manifest(format=FORMAT, files=files).content)


def read_manifest(root: Path) -> Manifest:
    """Read the manifest of ``root``; raises `BundleError` where it is missing or damaged."""
    path = root / MANIFEST
    if not path.is_file():
        raise BundleError(f"{root} is not a bundle: it has no {MANIFEST}")
    data, manifest = parse_file(
        path, lambda data: (data, Manifest.model_validate(parse_json(data)))
    )
    # Nothing hashes the manifest: that it can be written in one way only keeps its bytes honest.
    if data != manifest.content:
        raise BundleError(f"{path} is damaged: it was changed after it was written")
    return manifest


def parse_json(data: bytes) -> Any:
    """Return JSON of this format; raises `ValueError` for another format's."""
    try:
        value = json.loads(data)
    except RecursionError as error:
        raise ValueError("its lists or objects are nested too deep") from error
    found = value.get("format") if isinstance(value, dict) else None
    if found != FORMAT:
        raise ValueError(f"expected format {FORMAT}, got {found!r}; this Hybridge cannot read it")
    return value


def parse_file(path: Path, parse: Callable[[bytes], Parsed]) -> Parsed:
    """Return what ``parse`` makes of a file's content; its errors become one-line `BundleError`."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path}: {' '.join(str(error).split())}") from error
    return parse_content(path, data, parse)


def parse_content(path: Path, data: bytes, parse: Callable[[bytes], Parsed]) -> Parsed:
    """Return what ``parse`` makes of ``data``, which was read from ``path``, as `parse_file`."""
    try:
        return parse(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise BundleError(f"{path}: {where}: {first['msg']}") from error
    except (ValueError, DataError, PlanError) as error:
        raise BundleError(f"{path}: {' '.join(str(error).split())}") from error


def _describe(path: Path) -> File:
    return File(sha256=hash_file(path), size_bytes=path.stat().st_size)
