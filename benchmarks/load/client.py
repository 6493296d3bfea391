"""Clients of a server, in a process of their own: each asks again as soon as it is answered.

Reads one `Order` a line, as JSON, and writes one `Done` a line. They are as lean as Python allows:
a request is made once, an answer is not read beyond its end, so that little of what is measured is
theirs; what is, is told as ``cpu_s``.
"""

import asyncio
import base64
import json
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import grpc

_UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
_PATIENCE_S = 30.0


@dataclass(frozen=True)
class Order:
    """What is to be asked.

    Attributes:
        protocol: ``grpc`` or ``http``.
        target: Host and port.
        path: The method, or the path.
        request: File that holds the request: a message, or a body.
        clients: How many ask at once.
        seconds: For how long.
    """

    protocol: str
    target: str
    path: str
    request: str
    clients: int
    seconds: float


@dataclass(frozen=True)
class Done:
    """What came of it.

    Attributes:
        answered: Requests answered within the time.
        all_answered: The same with those answered after it, which were still under way.
        median_ms: Of the times that requests took.
        p99_ms: The same, which one in a hundred exceeded.
        cpu_s: Processor time of the clients.
        answer: One answer, in base64.
    """

    answered: int
    all_answered: int
    median_ms: float
    p99_ms: float
    cpu_s: float
    answer: str


class Tally:
    """Counts answers, and says when to stop."""

    def __init__(self, seconds: float) -> None:
        self._ends_s = time.perf_counter() + seconds
        self._cpu_s = time.process_time()
        self.answer = b""
        self._took_s: list[float] = []
        self._late = 0

    def note(self, began_s: float, answer: bytes) -> bool:
        """Note an answer; returns whether to ask again."""
        now_s = time.perf_counter()
        self.answer = answer
        self._took_s.append(now_s - began_s)
        if now_s > self._ends_s:
            self._late += 1
            return False
        return True

    def done(self) -> Done:
        """Return what came of it, once all has ended."""
        took_s = sorted(self._took_s)
        return Done(
            len(took_s) - self._late,
            len(took_s),
            took_s[len(took_s) // 2] * 1e3,
            took_s[len(took_s) * 99 // 100] * 1e3,
            time.process_time() - self._cpu_s,
            base64.b64encode(self.answer).decode(),
        )


def ask_over_grpc(order: Order, request: bytes) -> Done:
    """Ask over one connection."""
    with grpc.insecure_channel(order.target, _UNLIMITED) as channel:
        call = channel.unary_unary(order.path)
        call(request, timeout=_PATIENCE_S)
        tally = Tally(order.seconds)
        ended = threading.Semaphore(0)
        failures: list[BaseException] = []

        def ask() -> None:
            began_s = time.perf_counter()

            def take(future: grpc.Future) -> None:
                try:
                    if tally.note(began_s, future.result()):
                        ask()
                    else:
                        ended.release()
                except BaseException as error:
                    failures.append(error)
                    ended.release()

            call.future(request, timeout=_PATIENCE_S).add_done_callback(take)

        for _ in range(order.clients):
            ask()
        for _ in range(order.clients):
            ended.acquire()
        if failures:
            raise failures[0]
        return tally.done()


def ask_over_http(order: Order, body: bytes) -> Done:
    """Ask over one connection for each client, which is kept."""
    head = (
        f"POST {order.path} HTTP/1.1\r\nHost: {order.target}\r\n"
        f"Content-Type: application/octet-stream\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return asyncio.run(_ask_over_http(order, head.encode() + body))


async def _ask_over_http(order: Order, request: bytes) -> Done:
    host, _, port = order.target.partition(":")
    loop = asyncio.get_running_loop()
    made = [await loop.create_connection(_Http, host, int(port)) for _ in range(order.clients)]
    tally = Tally(order.seconds)
    await asyncio.gather(*(client.ask(request, tally) for _, client in made))
    for transport, _ in made:
        transport.close()
    return tally.done()


class _Http(asyncio.Protocol):
    """One connection of HTTP 1.1; an answer is taken to say how long it is."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._ended = asyncio.get_running_loop().create_future()
        self._came = bytearray()

    async def ask(self, request: bytes, tally: Tally) -> None:
        self._request, self._tally = request, tally
        self._send()
        await self._ended

    def _send(self) -> None:
        self._came.clear()
        self._began_s = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._came += data
        head_bytes = self._came.find(b"\r\n\r\n") + 4
        if head_bytes < 4:
            return
        head = bytes(self._came[:head_bytes]).lower()
        if not head.startswith(b"http/1.1 200"):
            self._fail(f"refused: {bytes(self._came[:300])!r}")
            return
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(self._came) < head_bytes + length:
            return
        if self._tally.note(self._began_s, bytes(self._came[head_bytes:])):
            self._send()
        elif not self._ended.done():
            self._ended.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"the connection was lost: {exc}")

    def _fail(self, why: str) -> None:
        if not self._ended.done():
            self._ended.set_exception(ConnectionError(why))


_ASK: dict[str, Callable[[Order, bytes], Done]] = {"grpc": ask_over_grpc, "http": ask_over_http}


def main() -> None:
    for line in sys.stdin:
        order = Order(**json.loads(line))
        done = _ASK[order.protocol](order, Path(order.request).read_bytes())
        print(json.dumps(asdict(done)), flush=True)


if __name__ == "__main__":
    main()
