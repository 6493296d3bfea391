"""A bundle: a plan on disk, as a directory.

::

    bundle.json             format, plan, metadata
    programs/<name>.onnx    every program
    rehearsal.safetensors   what every branch would do on calibration data (optional)
    manifest.json           sha256 and size of every other file but the next
    signature.json          who vouches for the manifest (optional; see `hybridge.plan.signature`)

Every file is verified at load, and nothing in a bundle is ever executed but its ONNX graphs.
"""

import os
import secrets
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import Field, JsonValue

from hybridge.errors import BundleError
from hybridge.hashing import hash_bytes
from hybridge.plan.manifest import (
    FORMAT,
    MANIFEST,
    Manifest,
    parse_content,
    parse_json,
    read_manifest,
    write_manifest,
)
from hybridge.plan.plan import Place, Plan
from hybridge.plan.program import Program
from hybridge.plan.rehearsal import Rehearsal, dump_rehearsal, parse_rehearsal
from hybridge.plan.signature import SIGNATURE, check_signature
from hybridge.plan.tensors import Frozen

HEAD = "bundle.json"
REHEARSAL = "rehearsal.safetensors"


@dataclass(frozen=True)
class Bundle:
    """A bundle in memory.

    Attributes:
        plan: The plan; its programs know where their files lie.
        rehearsal: What every branch would do on calibration data, or None (as well where the
            bundle was loaded to run at one place).
        metadata: Name, seed, split fingerprint, figures: whatever was written down.
        path: Directory where it lies, or None.
    """

    plan: Plan
    rehearsal: Rehearsal | None = None
    metadata: dict[str, JsonValue] = field(default_factory=dict)
    path: Path | None = None


class _Head(Frozen):
    format: int
    plan: Plan
    metadata: dict[str, JsonValue] = Field(default_factory=dict)


def save_bundle(
    plan: Plan,
    directory: str | Path,
    rehearsal: Rehearsal | None = None,
    metadata: Mapping[str, JsonValue] | None = None,
) -> Bundle:
    """Write ``plan`` and its programs to ``directory``, all or nothing.

    Args:
        plan: The plan; every program must know the ``path`` of its file.
        directory: Where to; an older bundle there is replaced, and its signature is gone.
        rehearsal: Played with these programs, or None.
        metadata: Plain data to keep with it.

    Returns:
        The bundle as `load_bundle` would return it.

    Raises:
        BundleError: ``directory`` holds something that is not a bundle, a program's file is
            missing or not the one the plan means, or the disk cannot be written.
        PlanError: ``rehearsal`` was played with another plan.
    """
    target = Path(directory).absolute()
    if rehearsal is not None:
        rehearsal.check_fits(plan)
    _refuse_to_overwrite(target)
    head = _Head(format=FORMAT, plan=plan, metadata=dict(metadata or {}))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _swapped_in(target) as fresh:
            _write(fresh, head, rehearsal)
    except OSError as error:
        raise BundleError(f"cannot write bundle {directory}: {error}") from error
    return Bundle(_with_paths(plan, target, plan.programs), rehearsal, head.metadata, target)


def load_bundle(
    directory: str | Path,
    verify: bool = True,
    place: Place | None = None,
    *,
    rehearsal: bool = False,
    trusted_keys: Sequence[str | Path] | None = None,
) -> Bundle:
    """Read a bundle.

    Args:
        directory: Where it lies.
        verify: Whether to hash every file that is there; sizes are always checked.
        place: Where it is to run: the files of programs that do not run there may be absent, and
            the rehearsal, which few runs need, is verified and left unread.
        rehearsal: Whether the rehearsal is read nevertheless.
        trusted_keys: PEM files of public keys, one of which must have signed the bundle; every
            file is then hashed. Where None, bundles need no signature.

    Raises:
        BundleError: It is not a bundle, a file is missing, damaged or of an unknown format, or
            none of ``trusted_keys`` has signed it; the message names the file.
        ConfigError: One of ``trusted_keys`` is no public key.
        MissingExtraError: ``trusted_keys`` are given, and ``cryptography`` is not installed.
    """
    # A signature vouches for hashes, so they are what must be compared.
    verify = verify or trusted_keys is not None
    root, manifest, head = _read_head(directory, verify, trusted_keys)
    plan = head.plan
    needed = plan.programs.values() if place is None else plan.programs_at(place)
    plan = _with_files(plan, root, manifest, verify, {program.name for program in needed})
    wanted = place is None or rehearsal
    found = _read_rehearsal(root, manifest, verify, plan if wanted else None)
    return Bundle(plan, found, head.metadata, root)


def inspect_bundle(directory: str | Path) -> Bundle:
    """Read a bundle of which any program's file may be absent; its ``path`` is then None.

    Every file that is there is verified. Raises `BundleError` as `load_bundle` does.
    """
    root, manifest, head = _read_head(directory, verify=True)
    plan = _with_files(head.plan, root, manifest, verify=True, needed=())
    rehearsal = _read_rehearsal(root, manifest, verify=True, plan=plan)
    return Bundle(plan, rehearsal, head.metadata, root)


def _read_head(
    directory: str | Path, verify: bool, trusted_keys: Sequence[str | Path] | None = None
) -> tuple[Path, Manifest, _Head]:
    root = Path(directory).absolute()
    manifest = read_manifest(root)
    if trusted_keys is not None:
        check_signature(root, manifest.content, trusted_keys)
    if HEAD not in manifest.files:
        raise BundleError(f"{root / MANIFEST} does not list {HEAD}")
    data = manifest.read(root, HEAD, verify)
    head = parse_content(root / HEAD, data, lambda data: _Head.model_validate(parse_json(data)))
    _check_listing(root, manifest, head.plan)
    return root, manifest, head


def _with_files(
    plan: Plan, root: Path, manifest: Manifest, verify: bool, needed: Collection[str]
) -> Plan:
    """Return ``plan`` with the path of every program's file that is needed or there, checked."""
    here = [name for name in plan.programs if name in needed or (root / _file_of(name)).exists()]
    for name in here:
        manifest.check(root, _file_of(name), verify)
    return _with_paths(plan, root, here)


def _read_rehearsal(
    root: Path, manifest: Manifest, verify: bool, plan: Plan | None
) -> Rehearsal | None:
    """Return the rehearsal, if there is one; without a ``plan``, check its file alone."""
    if REHEARSAL not in manifest.files:
        return None
    if plan is None:
        manifest.check(root, REHEARSAL, verify)
        return None
    data = manifest.read(root, REHEARSAL, verify)
    return parse_content(root / REHEARSAL, data, lambda data: _parse_rehearsal(data, plan))


def _file_of(program: str) -> str:
    return f"programs/{program}.onnx"


def _with_paths(plan: Plan, root: Path, here: Collection[str]) -> Plan:
    """Return ``plan`` with the path of every program's file that is ``here``, and no other."""
    programs = {
        name: program.model_copy(update={"path": root / _file_of(name) if name in here else None})
        for name, program in plan.programs.items()
    }
    return plan.model_copy(update={"programs": programs})


def _parse_rehearsal(data: bytes, plan: Plan) -> Rehearsal:
    rehearsal = parse_rehearsal(data)
    rehearsal.check_fits(plan)
    return rehearsal


def _check_listing(root: Path, manifest: Manifest, plan: Plan) -> None:
    """Raise `BundleError` unless the manifest lists exactly the files of ``plan``."""
    meant = {_file_of(name): program.sha256 for name, program in plan.programs.items()}
    listed = {name: file.sha256 for name, file in manifest.files.items()}
    listed.pop(HEAD)
    listed.pop(REHEARSAL, None)
    if listed != meant:
        odd = ", ".join(sorted({name for name, _ in listed.items() ^ meant.items()}))
        raise BundleError(f"{root / MANIFEST} and {HEAD} disagree about: {odd}")


def _write(root: Path, head: _Head, rehearsal: Rehearsal | None) -> None:
    (root / "programs").mkdir()
    for program in head.plan.programs.values():
        (root / _file_of(program.name)).write_bytes(_read_program(program))
    if rehearsal is not None:
        (root / REHEARSAL).write_bytes(dump_rehearsal(rehearsal))
    (root / HEAD).write_text(head.model_dump_json(indent=1) + "\n")
    write_manifest(root)


def _read_program(program: Program) -> bytes:
    if program.path is None or not program.path.is_file():
        raise BundleError(f"program {program.name!r} has no file ({program.path}); export it first")
    data = program.path.read_bytes()
    if hash_bytes(data) != program.sha256:
        raise BundleError(f"{program.path} is not the file that program {program.name!r} means")
    return data


def _refuse_to_overwrite(target: Path) -> None:
    """Raise `BundleError` where replacing ``target`` would lose something else than a bundle."""
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not (target / MANIFEST).is_file():
        raise BundleError(f"{target} exists and is not a bundle; choose another directory")
    known = {MANIFEST, SIGNATURE, *read_manifest(target).files}
    found = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}
    if odd := ", ".join(sorted(found - known)):
        raise BundleError(f"{target} holds more than a bundle ({odd}); choose another directory")


@contextmanager
def _swapped_in(target: Path) -> Iterator[Path]:
    """Yield a fresh sibling of ``target`` that takes its place when all went well.

    The older bundle is deleted only once the new one stands.
    """
    fresh = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    old = fresh.with_name(f"{fresh.name}.old")
    fresh.mkdir()
    try:
        yield fresh
        if target.exists():
            os.rename(target, old)
        try:
            os.rename(fresh, target)
        except OSError:
            if old.exists():
                os.rename(old, target)
            raise
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
