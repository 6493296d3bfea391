"""The servers that are measured beside one another, each in a process of its own."""

import base64
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from load.client import Done, Order
from load.processes import Measured
from load.requests import Request
from load.turns import BARE, OURS, Turn

from hybridge.runtime.wire import oip
from hybridge.runtime.wire import oip_pb2 as pb

_HERE = Path(__file__).resolve().parent
_RIVALS = {
    "LitServe": ("lit", "http"),
    "Ray Serve": ("on_ray", "http"),
    "KServe": ("on_kserve", "grpc"),
}
_PATHS = {"grpc": f"/{oip.SERVICE}/ModelInfer", "http": "/predict"}
#: Outputs differ by no more: batches of other sizes are summed in another order.
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Contestant:
    """A server, and how it is asked.

    Attributes:
        name: What it is called in tables.
        protocol: ``grpc`` (the Open Inference Protocol) or ``http`` (raw bytes).
        command: What starts it.
        port: Where it listens.
    """

    name: str
    protocol: str
    command: tuple[str, ...]
    port: int

    def order(self, request: Request, clients: int, seconds: float) -> Order:
        """Return what a process of clients is told to do."""
        file = request.grpc if self.protocol == "grpc" else request.http
        target, path = f"127.0.0.1:{self.port}", _PATHS[self.protocol]
        return Order(self.protocol, target, path, str(file), clients, seconds)

    def outputs(self, answer: bytes) -> np.ndarray:
        """Return the logits ``(B, C)`` of an answer."""
        if self.protocol == "grpc":
            response = pb.ModelInferResponse.FromString(answer)
            (answer,) = response.raw_output_contents
        return np.frombuffer(answer, "<f4")


def ours(bundle: Path, port: int) -> Contestant:
    """Return ``hybridge serve`` with its defaults."""
    command = sys.executable, "-m", "hybridge", "serve", str(bundle), "--port", str(port)
    return Contestant(OURS, "grpc", command, port)


def rival(name: str, python: Path, graph: Path, port: int) -> Contestant:
    """Return one of the others, run by the Python of their own environment."""
    script, protocol = _RIVALS[name]
    command = str(python), str(_HERE.parent / "rivals" / f"{script}.py"), str(graph), str(port)
    return Contestant(name, protocol, command, port)


RIVALS = tuple(_RIVALS)


class Clients(Measured):
    """Clients in a process of their own."""

    def __init__(self, quiet: bool = False) -> None:
        super().__init__([sys.executable, str(_HERE / "client.py")], quiet)

    def run(self, order: Order) -> Done:
        """Return what came of an order; `RuntimeError` where the clients failed."""
        return Done(**self.ask(asdict(order)))


class Bare(Measured):
    """The bare session of a graph, in a process of its own."""

    def __init__(self, graph: Path) -> None:
        super().__init__([sys.executable, str(_HERE / "bare.py"), str(graph)])

    def turn(self, rows: int, seconds: float) -> Turn:
        """Compute batches of so many rows."""
        told = self.ask({"rows": rows, "seconds": seconds})
        batches = told["rows"] // rows
        return Turn(BARE, rows, told["seconds"], batches, told["cpu_s"] * 1e3 / batches)


class Started:
    """A server that answers.

    Args:
        contestant: Which one.
        process: Its process.
        expected: The logits of each request that will be asked, by its rows.
    """

    def __init__(
        self, contestant: Contestant, process: Measured, expected: dict[int, np.ndarray]
    ) -> None:
        self.contestant, self.process, self._expected = contestant, process, expected

    def turn(self, clients: Clients, request: Request, count: int, seconds: float) -> Turn:
        """Ask for a while; raises `RuntimeError` where an answer is wrong."""
        cpu_s = self.process.cpu_s()
        done = clients.run(self.contestant.order(request, count, seconds))
        cpu_s = self.process.cpu_s() - cpu_s
        self.check(done, request)
        return Turn(
            self.contestant.name,
            request.rows,
            seconds,
            done.answered,
            cpu_s * 1e3 / done.all_answered,
            done.cpu_s * 1e3 / done.all_answered,
            done.median_ms,
            done.p99_ms,
        )

    def check(self, done: Done, request: Request) -> None:
        """Raise `RuntimeError` where an answer is not the bare session's."""
        logits = self.contestant.outputs(base64.b64decode(done.answer))
        expected = self._expected[request.rows].ravel()
        if logits.shape != expected.shape or not np.allclose(logits, expected, atol=_TOLERANCE):
            raise RuntimeError(f"{self.contestant.name} gave a wrong answer")


def start(
    contestants: list[Contestant],
    request: Request,
    expected: dict[int, np.ndarray],
    stack: ExitStack,
    within_s: float = 120.0,
) -> Iterator[Started]:
    """Start all of them, and yield those that come to answer ``request`` within a time.

    They end with ``stack``.
    """
    ends_s = time.monotonic() + within_s
    processes = [stack.enter_context(Measured(each.command)) for each in contestants]
    for contestant, process in zip(contestants, processes, strict=True):
        started = Started(contestant, process, expected)
        if _answers(started, request, ends_s):
            yield started
        else:
            print(f"left out: {contestant.name}, which does not start", file=sys.stderr)


def _answers(started: Started, request: Request, ends_s: float) -> bool:
    while time.monotonic() < ends_s and started.process.process.poll() is None:
        with Clients(quiet=True) as clients:
            try:
                started.check(clients.run(started.contestant.order(request, 1, 0.2)), request)
                return True
            except RuntimeError:
                time.sleep(1.0)
    return False
