"""One client process: keeps requests in flight for a while, and says what came of them.

``client.py PROTOCOL PORT`` with ``grpc`` or ``http:PATH``. Reads lines of JSON: ``request``, a file
with one request's bytes, ``answer``, a file that the first answer's are written to, ``lanes``, of
which each asks again as soon as it is answered, and ``seconds``. Answers each with a line:
``requests`` of the time that counts, ``per_s``, ``cpu_s`` of this process in it, ``median_ms``,
``p99_ms``, and ``asked``, all requests, those before included.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import grpc.aio
import numpy as np

#: How long it runs before what it does counts.
WARM_UP_S = 0.5
METHOD = "/inference.GRPCInferenceService/ModelInfer"
Ask = Callable[[], Awaitable[bytes]]


@asynccontextmanager
async def grpc_lanes(port: int, request: bytes, lanes: int) -> AsyncIterator[list[Ask]]:
    """Yield what asks over gRPC, through one connection."""
    options = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options) as channel:
        call = channel.unary_unary(METHOD)
        yield [lambda: call(request, timeout=60)] * lanes


@asynccontextmanager
async def http_lanes(port: int, body: bytes, lanes: int, path: str) -> AsyncIterator[list[Ask]]:
    """Yield what asks over HTTP/1.1, each through a connection of its own.

    Of HTTP it knows what the servers here need, so that it costs less than a whole client.
    """
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Content-Type: application/octet-stream\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    request = head.encode() + body
    streams = [await asyncio.open_connection("127.0.0.1", port) for _ in range(lanes)]

    def lane(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Ask:
        async def ask() -> bytes:
            writer.write(request)
            answer = (await reader.readuntil(b"\r\n\r\n")).lower()
            if not answer.startswith(b"http/1.1 200"):
                raise ConnectionError(answer.decode())
            after = answer.partition(b"content-length:")[2]
            return await reader.readexactly(int(after.partition(b"\r\n")[0]))

        return ask

    try:
        yield [lane(reader, writer) for reader, writer in streams]
    finally:
        for _, writer in streams:
            writer.close()


async def turn(
    opened: AbstractAsyncContextManager[list[Ask]], seconds: float, answer: Path
) -> dict[str, float]:
    """Return what one process gets in ``seconds``; writes the first ``answer``."""
    came: list[tuple[float, float]] = []
    cpu_s: list[float] = []
    ends_s = 0.0

    async def lane(ask: Ask) -> None:
        while (began_s := time.perf_counter()) < ends_s:
            await ask()
            now_s = time.perf_counter()
            came.append((now_s, (now_s - began_s) * 1e3))

    async def stopwatch() -> None:
        await asyncio.sleep(WARM_UP_S)
        cpu_s.append(time.process_time())
        await asyncio.sleep(ends_s - time.perf_counter())
        cpu_s.append(time.process_time())

    async with opened as asks:
        answer.write_bytes(await asks[0]())
        lanes = len(asks)
        counts_s = time.perf_counter() + WARM_UP_S
        ends_s = counts_s + seconds
        await asyncio.gather(stopwatch(), *map(lane, asks))
    # From one answer to another: a few long requests do not fill a turn evenly.
    first_s = max(
        [at_s for at_s, _ in came if at_s < counts_s] + [at_s for at_s, _ in came[:lanes]]
    )
    counted = [(at_s, ms) for at_s, ms in came if first_s < at_s < ends_s]
    counted_ms = [ms for _, ms in counted]
    return {
        "requests": len(counted),
        "per_s": len(counted) / (counted[-1][0] - first_s) if counted else 0.0,
        "cpu_s": cpu_s[1] - cpu_s[0],
        "median_ms": float(np.median(counted_ms)) if counted_ms else 0.0,
        "p99_ms": float(np.quantile(counted_ms, 0.99)) if counted_ms else 0.0,
        "asked": len(came) + 1,
    }


def main() -> None:
    protocol, _, path = sys.argv[1].partition(":")
    port = int(sys.argv[2])
    for line in sys.stdin:
        asked = json.loads(line)
        request, lanes = Path(asked["request"]).read_bytes(), asked["lanes"]
        if protocol == "grpc":
            opened = grpc_lanes(port, request, lanes)
        else:
            opened = http_lanes(port, request, lanes, path)
        came = asyncio.run(turn(opened, asked["seconds"], Path(asked["answer"])))
        print(json.dumps(came), flush=True)


if __name__ == "__main__":
    main()
