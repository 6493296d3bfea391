"""A small TCP proxy that misbehaves on request, between a real client and a real server."""

import random
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from queue import SimpleQueue
from typing import Literal

Mode = Literal["pass", "hold", "reset", "corrupt"]

_CHUNK_BYTES = 4096
_TICK_S = 0.002
#: Closing with this option sends a reset instead of an end.
_RESET = struct.pack("ii", 1, 0)


class Proxy:
    """Forwards what comes to ``port`` to another port of this machine.

    Modes: ``pass``; ``hold`` keeps everything back, both ways, and delivers it late, as a link
    does that swallows packets until it comes back; ``reset`` breaks a connection in the middle of
    the next chunk that the client sends; ``corrupt`` changes a share of the chunks, both ways.

    Args:
        to_port: Where the server listens.
        seed: Of what is damaged.
        delay_s: How long everything is on its way, in each direction; connecting takes both.

    Attributes:
        port: Where it listens.
        to_port: Where new connections are forwarded to; may be set at any time.
        mode: What it does; may be set at any time.
        rate_bps: Bits per second towards the server, or None for no limit.
        damaged_share: Share of chunks that ``corrupt`` damages.
    """

    def __init__(self, to_port: int, seed: int = 0, delay_s: float = 0.0) -> None:
        self._delay_s = delay_s
        self.mode: Mode = "pass"
        self.rate_bps: float | None = None
        self.damaged_share = 0.3
        self.to_port = to_port
        self.port = 0
        self._random = random.Random(seed)
        self._ends: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self.open()

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        """Listen, at the port where it listened before, if it did."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def close(self) -> None:
        """Break all connections, and let no more be made."""
        listener, self._listener = self._listener, None
        if listener is not None:
            _end(listener)  # or the thread that accepts would keep the port
        for end in list(self._ends):
            _end(end)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            if self._delay_s:
                threading.Thread(target=self._connect, args=(client,), daemon=True).start()
            else:
                self._connect(client)

    def _connect(self, client: socket.socket) -> None:
        time.sleep(2 * self._delay_s)
        try:
            server = socket.create_connection(("127.0.0.1", self.to_port))
        except OSError:
            client.close()
            return
        self._ends |= {client, server}
        for pair, up in (((client, server), True), ((server, client), False)):
            threading.Thread(target=self._pump, args=(*pair, up), daemon=True).start()

    def _arriving(self, source: socket.socket) -> Iterator[bytes]:
        """Yield what ``source`` sends, each chunk after its delay.

        Ends, or raises `OSError`, where the connection does.
        """
        if not self._delay_s:
            while data := source.recv(_CHUNK_BYTES):
                yield data
            return
        on_the_way: SimpleQueue[tuple[float, bytes]] = SimpleQueue()
        threading.Thread(target=self._depart, args=(source, on_the_way), daemon=True).start()
        while True:
            arrives_s, data = on_the_way.get()
            time.sleep(max(arrives_s - time.perf_counter(), 0.0))
            if not data:
                return
            yield data

    def _depart(self, source: socket.socket, on_the_way: SimpleQueue[tuple[float, bytes]]) -> None:
        data = b"until the end"
        while data:
            try:
                data = source.recv(_CHUNK_BYTES)
            except OSError:
                data = b""
            on_the_way.put((time.perf_counter() + self._delay_s, data))

    def _pump(self, source: socket.socket, sink: socket.socket, up: bool) -> None:
        try:
            sink.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for data in self._arriving(source):
                while self.mode == "hold" and self._listener is not None:
                    time.sleep(_TICK_S)
                if up and self.rate_bps is not None:
                    time.sleep(8 * len(data) / self.rate_bps)
                if up and self.mode == "reset":
                    sink.sendall(data[: len(data) // 2])
                    break
                if self.mode == "corrupt" and self._random.random() < self.damaged_share:
                    data = self._damaged(data)
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            if self.mode == "reset":
                with suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                end.close()
            else:
                _end(end)
            self._ends.discard(end)

    def _damaged(self, data: bytes) -> bytes:
        changed = bytearray(data)
        for _ in range(1 + len(data) // 1024):
            changed[self._random.randrange(len(data))] ^= 1 << self._random.randrange(8)
        return bytes(changed)


def _end(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
