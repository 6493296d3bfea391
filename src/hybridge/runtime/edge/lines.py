"""Connections to one place, of which a silent one is left for a new one."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hybridge.errors import ConfigError

#: So many calls in a row that heard nothing in time: the connection may have died unnoticed.
SILENT_CALLS = 3
#: How long a new line may take to connect, its name's look-up included: somewhat longer than gRPC
#: gives one attempt, which it repeats by itself.
CONNECTS_WITHIN_S = 5.0


class Line:
    """One gRPC channel, how many calls are under way on it, and whether it was ever heard from.

    It connects at its first call, which was at ``first_call_s``.
    """

    def __init__(self, channel: Any, method: str) -> None:
        self.channel = channel
        self.first_call_s = math.inf
        self.users = 0
        self.was_heard = False
        # Bytes in and out: the sizes that cross are then known without a second serialisation.
        self.infer = channel.unary_unary(
            method, request_serializer=bytes, response_deserializer=bytes
        )


class Lines:
    """The newest line, and those before it that have calls under way.

    TCP notices only after many minutes that nothing comes back, and sends again ever more rarely
    meanwhile: a link that has long been back would still seem dead. So once a few calls in a row
    have heard nothing in time, the line is left for a new one. That one is left alone while it may
    still be connecting: to connect takes several round trips, a call that is in time only one, so
    calls with a tight deadline would otherwise begin anew for ever. Safe to use from several
    threads.

    Args:
        open_channel: Opens a channel; connecting is its own business.
        method: The gRPC method that lines call.
        now_s: The time, in seconds since any moment.
    """

    def __init__(
        self,
        open_channel: Callable[[], Any],
        method: str,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open_channel, self._method, self._now_s = open_channel, method, now_s
        self._lock = threading.Lock()
        self._silent = 0
        self._closed = False
        self._newest = Line(open_channel(), method)
        self._older: list[Line] = []

    @contextmanager
    def taken(self) -> Iterator[Line]:
        """Yield the newest line for one call."""
        with self._lock:
            line = self._newest
            line.users += 1
            line.first_call_s = min(line.first_call_s, self._now_s())
        try:
            yield line
        finally:
            with self._lock:
                line.users -= 1
                ended = line in self._older and not line.users
                if ended:
                    self._older.remove(line)
            if ended:
                line.channel.close()

    def heard(self, line: Line) -> None:
        """Note that something came back over ``line``, whatever it was."""
        line.was_heard = True
        self._silent = 0

    def silent(self, line: Line) -> None:
        """Note that nothing came back over ``line`` in time, while the call still holds it."""
        with self._lock:
            self._silent += 1
            if self._silent < SILENT_CALLS or line is not self._newest or self._closed:
                return
            if not line.was_heard and self._now_s() - line.first_call_s < CONNECTS_WITHIN_S:
                return
            try:
                newest = Line(self._open_channel(), self._method)
            except ConfigError:  # files that were there at first are gone: better this than none
                return
            self._older.append(line)  # it is closed once its last call has ended
            self._newest = newest

    def close(self) -> None:
        """Close every line, cancelling what is under way."""
        with self._lock:
            self._closed = True
            lines = [self._newest, *self._older]
        for line in lines:
            line.channel.close()
