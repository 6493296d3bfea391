"""Signed bundles: who vouches for what a manifest lists.

::

    signature.json          the key, and its ed25519 signature over the bytes of manifest.json

The manifest has the hash of every other file, so one signature covers the bundle. Keys are PEM
files as OpenSSL writes them: PKCS 8 for private ones, SubjectPublicKeyInfo for public ones.
"""

import base64
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import field_validator

from hybridge.errors import BundleError, ConfigError, MissingExtraError
from hybridge.files import write_atomically
from hybridge.plan.manifest import FORMAT, MANIFEST, parse_file, parse_json, read_manifest
from hybridge.plan.tensors import Frozen

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

SIGNATURE = "signature.json"
_KEY_BYTES, _SIGNATURE_BYTES = 32, 64
#: Longest file of a key that is read.
_MAX_KEY_FILE = 1 << 16


class Signature(Frozen):
    """What ``signature.json`` holds.

    Attributes:
        format: Version of the file's format.
        algorithm: How it was signed.
        public_key: The 32 bytes of the public key, as base64. It says which key to look for, and
            is never trusted for standing here.
        signature: The 64 bytes of the signature over ``manifest.json``, as base64.
    """

    format: int
    algorithm: Literal["ed25519"]
    public_key: str
    signature: str

    @field_validator("public_key")
    @classmethod
    def _is_key(cls, text: str) -> str:
        return _of_length(text, _KEY_BYTES)

    @field_validator("signature")
    @classmethod
    def _is_signature(cls, text: str) -> str:
        return _of_length(text, _SIGNATURE_BYTES)


def make_keys(path: str | Path) -> tuple[Path, Path]:
    """Make a pair of keys and write them: the private one readable by its owner alone.

    Args:
        path: Where the private key goes; the public one goes beside it, with ``.pub`` added.

    Returns:
        The paths of the private and of the public key.

    Raises:
        ConfigError: One of the files exists, or cannot be written.
        MissingExtraError: ``cryptography`` is not installed.
    """
    private, public = Path(path), Path(f"{path}.pub")
    _need_cryptography()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    shown = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    _write_new(public, shown, 0o644)
    try:
        _write_new(private, secret, 0o600)
    except ConfigError:
        public.unlink()
        raise
    return private, public


def sign_bundle(directory: str | Path, key: str | Path) -> Path:
    """Sign a bundle, in place of any signature that it has.

    Args:
        directory: The bundle. Its files are not read: verify it first.
        key: PEM file of the private key.

    Returns:
        The path of ``signature.json``.

    Raises:
        BundleError: There is no manifest, or it is damaged, or the disk cannot be written.
        ConfigError: ``key`` is no private ed25519 key.
        MissingExtraError: ``cryptography`` is not installed.
    """
    signing = _read_private(Path(key))
    root = Path(directory)
    manifest = read_manifest(root)
    signature = Signature(
        format=FORMAT,
        algorithm="ed25519",
        public_key=_text(signing.public_key().public_bytes_raw()),
        signature=_text(signing.sign(manifest.content)),
    )
    path = root / SIGNATURE
    try:
        write_atomically(path, (signature.model_dump_json(indent=1) + "\n").encode())
    except OSError as error:
        raise BundleError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def check_signature(root: Path, manifest: bytes, trusted_keys: Sequence[str | Path]) -> None:
    """Raise unless one of the keys has signed the manifest of a bundle.

    Args:
        root: The bundle.
        manifest: The bytes of its manifest.
        trusted_keys: PEM files of public keys.

    Raises:
        BundleError: It is not signed, by another key, or not as it is; says what to do.
        ConfigError: One of ``trusted_keys`` is no public ed25519 key.
        MissingExtraError: ``cryptography`` is not installed.
    """
    _need_cryptography()
    trusted = {key.public_bytes_raw(): key for key in map(_read_public, map(Path, trusted_keys))}
    from cryptography.exceptions import InvalidSignature

    path = root / SIGNATURE
    if not path.is_file():
        raise BundleError(
            f"{root} is not signed, and only signed bundles are trusted here; sign it where it "
            "was made: hybridge sign BUNDLE --key FILE"
        )
    found = parse_file(path, lambda data: Signature.model_validate(parse_json(data)))
    key = trusted.get(base64.b64decode(found.public_key))
    if key is None:
        raise BundleError(
            f"{root} is signed by a key that is not trusted here ({found.public_key}); if it "
            "should be, get the public key from its owner and name it as --trusted-key"
        )
    try:
        key.verify(base64.b64decode(found.signature), manifest)
    except InvalidSignature as error:
        raise BundleError(
            f"{root}: the signature is not that of its {MANIFEST}: one of them was changed; "
            "do not use it, and deploy the bundle again from where it was signed"
        ) from error


def _need_cryptography() -> None:
    try:
        import cryptography  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtraError("cryptography", "trust") from error


def _read_private(path: Path) -> "Ed25519PrivateKey":
    data = _read_key(path)
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(data, password=None)
    except Exception as error:  # ValueError, TypeError for a password, UnsupportedAlgorithm, ...
        raise _no_key(path, "private") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _no_key(path, "private")
    return key


def _read_public(path: Path) -> "Ed25519PublicKey":
    data = _read_key(path)
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(data)
    except Exception as error:  # ValueError, UnsupportedAlgorithm, ...
        raise _no_key(path, "public") from error
    if not isinstance(key, Ed25519PublicKey):
        raise _no_key(path, "public")
    return key


def _read_key(path: Path) -> bytes:
    _need_cryptography()
    try:
        with path.open("rb") as file:
            return file.read(_MAX_KEY_FILE)
    except OSError as error:
        raise ConfigError(f"cannot read key {path}: {error.strerror or error}") from error


def _no_key(path: Path, kind: str) -> ConfigError:
    # What OpenSSL says of a key is left out: it might repeat a part of it.
    return ConfigError(
        f"{path}: expected a {kind} ed25519 key as PEM, not encrypted, got something else; "
        "make a pair with: hybridge keygen FILE"
    )


def _write_new(path: Path, data: bytes, mode: int) -> None:
    """Write a file that was not there, with its permissions from the start."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(data)
    except FileExistsError as error:
        raise ConfigError(f"{path} exists, and keys are never overwritten; move it away") from error
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror or error}") from error


def _of_length(text: str, length: int) -> str:
    try:
        found = len(base64.b64decode(text, validate=True))
    except ValueError as error:
        raise ValueError(f"expected base64, got {text[:80]!r}") from error
    if found != length:
        raise ValueError(f"expected {length} bytes as base64, got {found}")
    return text


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
