"""New bundles into a server that goes on serving."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hybridge.errors import HybridgeError
from hybridge.runtime.cloud.journal import tell
from hybridge.runtime.cloud.models import Models
from hybridge.runtime.cloud.service import CloudService

#: How often watched bundles are looked at.
LOOK_EVERY_S = 1.0

#: What tells that a folder's files have changed: path, time and size of each.
Stamp = tuple[tuple[str, int, int], ...]


class Reloader:
    """Loads bundles beside those that are served, and swaps them in at once when all went well.

    What was served before is still found by whoever asks for its version, for a while, so that
    devices have time to follow; then it is finished and let go.

    Args:
        service: What serves.
        load: Reads the bundles, given the models of which it may keep what is the same.
        keep_old_s: How long older versions are still served.
    """

    def __init__(
        self, service: CloudService, load: Callable[[Models], Models], keep_old_s: float
    ) -> None:
        self._service = service
        self._load = load
        self._keep_old_s = keep_old_s
        self._one_at_a_time = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()

    def reload_soon(self) -> None:
        """Begin to reload, and return at once."""
        self._begin(self.reload())

    def watch_soon(self, folders: Sequence[Path]) -> None:
        """Begin to watch ``folders``, and return at once."""
        self._begin(self.watch(folders))

    async def reload(self) -> bool:
        """Load the bundles; where they cannot be, say why and serve the old. Returns which."""
        async with self._one_at_a_time:
            older = self._service.models
            try:
                models = await asyncio.to_thread(self._load, older)
            except (HybridgeError, OSError) as error:
                _tell_failure(str(error))
                return False
            except Exception as error:  # whatever it is, the old bundles still serve
                _tell_failure(f"{type(error).__name__}: {error}")
                return False
            if models.versions != older.versions:
                self._service.swap(models)
                tell("reloaded", programs=_short(models), keep_old_s=self._keep_old_s)
                self._begin(self._retire(older))
            return True

    async def _retire(self, models: Models) -> None:
        await asyncio.sleep(self._keep_old_s)
        await self._service.retire(models)
        tell("retired", programs=_short(models))

    def _begin(self, coroutine: Any) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)  # or it might be collected while it runs
        task.add_done_callback(self._tasks.discard)

    async def watch(self, folders: Sequence[Path]) -> None:
        """Reload whenever files of ``folders`` have changed, and then not for one more look.

        Once at the beginning, too: they may have changed since what is served was loaded.
        """
        loaded = before = await asyncio.to_thread(stamp, folders)
        await self.reload()
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            now = await asyncio.to_thread(stamp, folders)
            if now == before and now != loaded:
                await self.reload()
                loaded = now
            before = now

    async def close(self) -> None:
        """Stop what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def stamp(folders: Sequence[Path]) -> Stamp | None:
    """Return what changes whenever a file of ``folders`` does; None while they are changing."""
    try:
        files = [path for folder in folders for path in sorted(folder.rglob("*"))]
        states = [(str(path), path.stat()) for path in files]
    except OSError:
        return None
    return tuple((path, state.st_mtime_ns, state.st_size) for path, state in states)


def _tell_failure(reason: str) -> None:
    text = " ".join(reason.split())
    tell("not reloaded", level=logging.ERROR, reason=text, serving="what was served before")


def _short(models: Models) -> dict[str, str]:
    """Return the programs and the beginnings of their hashes."""
    return {
        name: ", ".join(sha256[:12] for sha256 in hashes)
        for name, hashes in models.versions.items()
    }
