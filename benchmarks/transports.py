"""What asking the cloud takes on this machine: round trips, and throughput with many clients.

For information, there is no bound. Server and clients share one process and its cores, so a
server of its own does better. The cloud's program is cifar_resnet8, on raw pixels (3,072 bytes).
"""

import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
import torch
from common import (
    PIXELS,
    Row,
    arguments,
    interleaved_us,
    random_network,
    random_pixels,
    report,
    session,
)

from hybridge.codecs.codec import codec_named
from hybridge.design.export.onnx import freeze
from hybridge.plan.program import Program
from hybridge.runtime.cloud.batcher import Batching
from hybridge.runtime.cloud.local import LocalTransport
from hybridge.runtime.cloud.models import Models
from hybridge.runtime.cloud.server import serving
from hybridge.runtime.edge.grpc import GrpcTransport
from hybridge.runtime.wire.message import Message, Transport

CLIENTS = 16
TIMEOUT_MS = 10_000.0


def round_trips(program: Program, message: Message, rounds: int, seed: int) -> Iterator[Row]:
    """Yield the round trip of one message at a time, through every transport."""
    assert program.path is not None
    models = Models({"bench": [program]})
    with ExitStack() as stack:
        target = stack.enter_context(serving(models))
        grpc = stack.enter_context(GrpcTransport(target, timeout_ms=TIMEOUT_MS))
        local = stack.enter_context(LocalTransport(models, timeout_ms=TIMEOUT_MS))
        feed = {"pixels": random_pixels(1, seed)}
        calls = {
            "session.run, no transport": partial(session(program.path).run, None, feed),
            "in process": partial(local.send, message),
            "gRPC over loopback": partial(grpc.send, message),
        }
        times = interleaved_us(list(calls.values()), rounds)
        for what, us in zip(calls, times, strict=True):
            yield {
                "what": f"{what}, one client",
                "median_ms": float(np.median(us)) / 1e3,
                "p99_ms": float(np.quantile(us, 0.99)) / 1e3,
                "per_s": 1e6 / float(us.mean()),
            }


def throughput(program: Program, message: Message, batching: Batching, rounds: int) -> Row:
    """Return what many clients get, each sending one input after another over gRPC."""
    with ExitStack() as stack:
        target = stack.enter_context(serving(Models({"bench": [program]}), batching=batching))
        transport = stack.enter_context(GrpcTransport(target, timeout_ms=TIMEOUT_MS))
        ask_many(transport, message, 5)
        began = time.perf_counter()
        latencies_ms = ask_many(transport, message, rounds // CLIENTS + 1)
        elapsed_s = time.perf_counter() - began
    batches = "one by one" if batching.max_batch == 1 else f"batches of up to {batching.max_batch}"
    return {
        "what": f"gRPC over loopback, {CLIENTS} clients, {batches}",
        "median_ms": statistics.median(latencies_ms),
        "p99_ms": float(np.quantile(latencies_ms, 0.99)),
        "per_s": len(latencies_ms) / elapsed_s,
    }


def ask_many(transport: Transport, message: Message, times: int) -> list[float]:
    """Send ``message`` so many times from each client, and return every round trip."""
    latencies_ms: list[float] = []

    def client() -> None:
        for _ in range(times):
            began = time.perf_counter()
            transport.send(message)
            latencies_ms.append((time.perf_counter() - began) * 1e3)

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return latencies_ms


def main() -> None:
    settings = arguments(__doc__, rounds=400)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        network = random_network("cifar_resnet8", settings.seed)
        program = freeze(network, "global", PIXELS, ("logits",), None, Path(folder))
        encoded = codec_named("raw").encode(random_pixels(1, settings.seed))
        message = Message(program.name, program.sha256, {"pixels": encoded})
        rows = list(round_trips(program, message, settings.rounds, settings.seed))
        for max_batch in (1, 32):
            batching = Batching(max_batch=max_batch)
            rows.append(throughput(program, message, batching, 4 * settings.rounds))
    report("Asking the cloud", rows, settings)


if __name__ == "__main__":
    main()
