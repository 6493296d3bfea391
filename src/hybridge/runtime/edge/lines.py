"""Connections to one place, of which a silent one is left for a new one."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hybridge.errors import ConfigError

#: So many calls in a row that heard nothing in time: the connection may have died unnoticed.
SILENT_CALLS = 3


class Line:
    """One gRPC channel, and how many calls are under way on it."""

    def __init__(self, channel: Any, method: str) -> None:
        self.channel = channel
        self.users = 0
        # Bytes in and out: the sizes that cross are then known without a second serialisation.
        self.infer = channel.unary_unary(
            method, request_serializer=bytes, response_deserializer=bytes
        )


class Lines:
    """The newest line, and those before it that have calls under way.

    TCP notices only after many minutes that nothing comes back, and sends again ever more rarely
    meanwhile: a link that has long been back would still seem dead. So once a few calls in a row
    have heard nothing in time, every further one that fails so is followed by a new connection,
    until a call hears anything. Safe to use from several threads.

    Args:
        open_channel: Opens a channel; connecting is its own business.
        method: The gRPC method that lines call.
    """

    def __init__(self, open_channel: Callable[[], Any], method: str) -> None:
        self._open_channel, self._method = open_channel, method
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

    def heard(self) -> None:
        """Note that something came back, whatever it was."""
        self._silent = 0

    def silent(self, line: Line) -> None:
        """Note that nothing came back over ``line`` in time, while the call still holds it."""
        with self._lock:
            self._silent += 1
            if self._silent < SILENT_CALLS or line is not self._newest or self._closed:
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
