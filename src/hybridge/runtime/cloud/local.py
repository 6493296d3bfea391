"""The cloud in this very process: for tests, and for one machine that is both ends."""

import asyncio
import threading
from concurrent.futures import CancelledError

from hybridge.closing import Closing
from hybridge.errors import RefusedError, TransportError
from hybridge.runtime.clock import limit_ms
from hybridge.runtime.cloud.batcher import Batching
from hybridge.runtime.cloud.loop import LoopThread
from hybridge.runtime.cloud.models import Models
from hybridge.runtime.cloud.service import CloudService, verdict
from hybridge.runtime.wire.message import REFUSALS, LateError, Message, Reply, UnsentError


class LocalTransport(Closing):
    """A transport to a service in the same process; codecs and batching are the cloud's own.

    Args:
        models: What is served.
        batching: How requests are run together; None for the defaults.
        timeout_ms: Time limit of a message that is sent without one.
    """

    def __init__(
        self,
        models: Models,
        batching: Batching | None = None,
        timeout_ms: float = 1000.0,
    ) -> None:
        self.timeout_ms = limit_ms(timeout_ms, "timeout_ms")
        self._lock = threading.Lock()
        self._loop = LoopThread()
        self._service = CloudService(models, batching)
        self._closed = False

    def send(self, message: Message, timeout_ms: float | None = None) -> Reply:
        """Answer ``message``; raises as `hybridge.runtime.wire.message.Transport` says."""
        within_ms = self.timeout_ms if timeout_ms is None else limit_ms(timeout_ms, "timeout_ms")
        with self._lock:  # so that nothing enters a loop that is being stopped
            if self._closed:
                raise UnsentError("this transport is closed; make a new one")
            future = self._loop.submit(self._service.infer(message))
        try:
            return future.result(within_ms / 1e3)
        except (TimeoutError, CancelledError) as error:
            future.cancel()
            raise LateError(f"the local cloud did not answer within {within_ms:.0f} ms") from error
        except Exception as error:
            told = verdict(error)
            text = f"the local cloud answered {told.status}: {told.text}"
            if told.status not in REFUSALS:
                raise TransportError(text) from error
            refused = RefusedError(text)
            refused.retry_after_ms = told.retry_after_ms
            raise refused from error

    def close(self) -> None:
        """Finish what is queued, and stop the threads."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._loop.submit(self._finish()).result()
        self._loop.close()

    async def _finish(self) -> None:
        await self._service.close()
        # What was still being decoded learns that it came too late.
        if unfinished := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(unfinished)
