"""What a server does beside answering: bundles anew, numbers for those who watch, a journal."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import TypeVar

from hybridge.errors import ConfigError
from hybridge.runtime.cloud.journal import Journal
from hybridge.runtime.cloud.models import Models
from hybridge.runtime.cloud.reload import Reloader
from hybridge.runtime.cloud.service import CloudService
from hybridge.runtime.cloud.watchtower import Page, Watchtower

Result = TypeVar("Result")

#: How long the event loop may take before it counts as stuck.
_LOOP_LIMIT_S = 5.0


@dataclass(frozen=True, slots=True)
class Upkeep:
    """What is to be done; raises `ConfigError` for what cannot be.

    Attributes:
        load: Reads the bundles again, given the models of which it may keep what is the same;
            None if they never change.
        watched: Folders whose change makes it read them again.
        keep_old_s: How long a version is still served after another has taken its place, to
            those that ask for it by its hash.
        metrics_port: Where metrics and health are told over HTTP, 0 for any port that is free;
            nowhere where None.
        metrics_host: Address to listen at for that.
        slow_ms: How long a request may take before the journal tells of it.
    """

    load: Callable[[Models], Models] | None = None
    watched: tuple[Path, ...] = ()
    keep_old_s: float = 60.0
    metrics_port: int | None = None
    metrics_host: str = "127.0.0.1"
    slow_ms: float = 1000.0

    def __post_init__(self) -> None:
        for name, value in (("keep_old_s", self.keep_old_s), ("slow_ms", self.slow_ms)):
            if not 0 <= value <= 1e9:
                raise ConfigError(f"expected {name} of 0 to a billion, got {value}")


@dataclass(frozen=True, slots=True)
class Keeper:
    """Upkeep under way.

    Attributes:
        metrics_port: Where metrics are told, or None.
        reload_soon: Begins to read the bundles again.
    """

    metrics_port: int | None
    reload_soon: Callable[[], None]


@asynccontextmanager
async def keeping(service: CloudService, upkeep: Upkeep) -> AsyncIterator[Keeper]:
    """Look after ``service``, in its event loop, until the context ends.

    Raises `ConfigError` where the port for metrics cannot be listened at, `MissingExtraError`
    where the package for metrics is not installed.
    """
    service.listen(Journal(upkeep.slow_ms))
    async with AsyncExitStack() as stack:
        port = None
        if upkeep.metrics_port is not None:
            pages = _pages(service)
            tower = Watchtower(upkeep.metrics_host, upkeep.metrics_port, pages)
            # From another thread: a page is made in this loop, which must not wait for it.
            stack.push_async_callback(asyncio.to_thread, tower.close)
            port = tower.port
        reload_soon: Callable[[], None] = _nothing
        if upkeep.load is not None:
            reloader = Reloader(service, upkeep.load, upkeep.keep_old_s)
            stack.push_async_callback(reloader.close)
            reload_soon = reloader.reload_soon
            if upkeep.watched:
                reloader.watch_soon(upkeep.watched)
        yield Keeper(port, reload_soon)


def _nothing() -> None:
    pass


def _pages(service: CloudService) -> dict[str, Page]:
    from hybridge.runtime.cloud.metrics import Metrics

    metrics = Metrics(service)
    service.listen(metrics)
    loop = asyncio.get_running_loop()

    def ready() -> tuple[HTTPStatus, bytes]:
        if service.draining:
            return HTTPStatus.SERVICE_UNAVAILABLE, b"shutting down\n"
        return HTTPStatus.OK, b"ready\n"

    pages: dict[str, Page] = {
        "/metrics": lambda: (HTTPStatus.OK, metrics.page()),
        "/healthz": lambda: (HTTPStatus.OK, b"alive\n"),
        "/readyz": ready,
    }
    return {path: partial(_in_loop, loop, page) for path, page in pages.items()}


def _in_loop(loop: asyncio.AbstractEventLoop, page: Page) -> tuple[HTTPStatus, bytes]:
    """Make a page in the service's own loop: its state is touched by nobody else.

    A loop that does not come to it is not alive.
    """

    async def make() -> tuple[HTTPStatus, bytes]:
        return page()

    try:
        return asyncio.run_coroutine_threadsafe(make(), loop).result(_LOOP_LIMIT_S)
    except TimeoutError:
        return HTTPStatus.SERVICE_UNAVAILABLE, b"stuck\n"
