"""Where what is computed once is kept, and hashes that stay cheap for large files."""

import hashlib
import os
from pathlib import Path

from hybridge.hashing import CHUNK_BYTES, hash_file

_WHOLE_BYTES = 1 << 30


def cache_folder() -> Path:
    """Return the folder for kept results: ``$HYBRIDGE_CACHE``, or ``~/.cache/hybridge``."""
    return Path(os.environ.get("HYBRIDGE_CACHE") or Path.home() / ".cache" / "hybridge")


def hash_content(path: Path) -> str:
    """Return a hash of a file: of all its bytes, or of size, head and tail above 1 GiB.

    Reading hundreds of gigabytes at every start would take longer than many a run. The tail of
    a Parquet file holds the offsets, sizes and statistics of all its columns.
    """
    size_bytes = path.stat().st_size
    if size_bytes <= _WHOLE_BYTES:
        return hash_file(path)
    digest = hashlib.sha256(str(size_bytes).encode())
    with path.open("rb") as file:
        digest.update(file.read(CHUNK_BYTES))
        file.seek(-CHUNK_BYTES, os.SEEK_END)
        digest.update(file.read())
    return digest.hexdigest()
