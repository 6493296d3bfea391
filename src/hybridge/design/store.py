"""Results that took long to compute, kept on disk under a hash of what they depend on."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from hybridge.data.cache import cache_folder
from hybridge.design.train.processes import is_main
from hybridge.files import write_atomically

Arrays = Mapping[str, np.ndarray[Any, Any]]


class Store:
    """Named arrays by key, one safetensors file each; safe to share between processes.

    Args:
        folder: Where the files lie; ``arrays`` in the cache folder where left out.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or cache_folder() / "arrays"

    def get(self, key: str) -> Arrays | None:
        """Return what is kept under ``key``; none where nothing is, or it is damaged."""
        try:
            return dict(load_file(self._path(key)))
        except (FileNotFoundError, SafetensorError):
            return None

    def put(self, key: str, arrays: Arrays) -> None:
        """Keep ``arrays`` under ``key``, in place of what was there; the main process only."""
        if not is_main():
            return
        data = {name: np.array(array, order="C") for name, array in arrays.items()}
        write_atomically(self._path(key), save(data))

    def keep(self, key: str, compute: Callable[[], Arrays]) -> Arrays:
        """Return what is kept under ``key``, computed first where nothing is.

        Args:
            key: A hash of everything the result depends on; see `hybridge.hashing`.
            compute: Called at most once.
        """
        found = self.get(key)
        if found is None:
            found = compute()
            self.put(key, found)
        return found

    def _path(self, key: str) -> Path:
        # A folder of a hundred thousand files is slow to list.
        return self.folder / key[:2] / f"{key}.safetensors"
