"""A process that serves until it is told to stop."""

import asyncio
import json
import logging
import signal
import sys
from collections.abc import Callable
from typing import Any

from hybridge.errors import ConfigError
from hybridge.runtime.cloud.batcher import Batching
from hybridge.runtime.cloud.journal import tell
from hybridge.runtime.cloud.models import Models
from hybridge.runtime.cloud.server import CloudServer
from hybridge.runtime.cloud.service import CloudService
from hybridge.runtime.cloud.upkeep import Keeper, Upkeep, keeping
from hybridge.runtime.wire.trust import Access

_log = logging.getLogger(__name__)


def serve(
    models: Models,
    host: str = "127.0.0.1",
    port: int = 8001,
    *,
    batching: Batching | None = None,
    grace_s: float = 10.0,
    access: Access | None = None,
    upkeep: Upkeep | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then answer what has been taken and return.

    Prints one line of JSON once it listens: ``event``, ``host``, ``port``, ``programs``, and
    ``metrics_port`` where there is one. On SIGHUP the files of ``access`` and the bundles are
    read again; where they cannot be used, it goes on with what it has.

    Args:
        models: What is served.
        host: Address to listen at.
        port: Port to listen at; 0 for any that is free.
        batching: How requests are run together; None for the defaults.
        grace_s: How long requests under way may take once it is told to stop.
        access: Who may ask, and how; None for anybody on this machine.
        upkeep: What is done beside answering; None for a journal alone.

    Raises `ConfigError` where a port is taken, or ``access`` forbids to listen at ``host``.
    """
    access, upkeep = access or Access(), upkeep or Upkeep()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(models, host, port, batching, grace_s, access, upkeep))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes a faster event loop than Python's own, where it is installed."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _serve(
    models: Models,
    host: str,
    port: int,
    batching: Batching | None,
    grace_s: float,
    access: Access,
    upkeep: Upkeep,
) -> None:
    service = CloudService(models, batching)
    server = CloudServer(service, host, port, access)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with keeping(service, upkeep) as keeper:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopped.set)
        loop.add_signal_handler(signal.SIGHUP, _renew, access, keeper)
        await server.start()
        facts: dict[str, Any] = {"host": host, "port": server.port, "programs": models.names}
        if keeper.metrics_port is not None:
            facts["metrics_port"] = keeper.metrics_port
        print(json.dumps({"event": "ready", **facts}), file=sys.stdout, flush=True)
        tell("started", **facts)
        await stopped.wait()
        tell("draining", waiting_rows=sum(rows for _, rows in service.waiting()))
        await server.stop(grace_s)
        tell("drained")


def _renew(access: Access, keeper: Keeper) -> None:
    keeper.reload_soon()
    try:
        access.renew()
    except ConfigError as error:
        _log.error("what cannot be read again stays as it was: %s", error)
