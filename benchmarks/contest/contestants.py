"""Who takes part: how each server is started, asked, and measured."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from contest.processes import cpu_s, family

from hybridge.runtime.wire import oip
from hybridge.runtime.wire import oip_pb2 as pb

_HERE = Path(__file__).resolve().parent
#: The environment that the other servers are installed in.
RIVALS = Path(os.environ.get("RIVALS_PYTHON", _HERE.parents[1] / ".venv-rivals/bin/python"))
#: How often a server is started that does not answer: its ports may have been others'.
_ATTEMPTS = 2
#: How long a server may take to start, and is then watched at rest.
_START_S = 240.0
_SETTLE_S = 2.0
#: Client processes of each server.
CLIENTS = 2


@dataclass(frozen=True, slots=True)
class Contestant:
    """A server.

    Attributes:
        name: What the table calls it.
        script: What starts it, among `servers`.
        protocol: How clients speak to it, one of those of `client.py`.
        form: Which form its requests have: ``pixels`` as they are, ``message`` of the Open
            Inference Protocol, or ``sealed``, such a message with hash and checksums.
        python: What runs it.
    """

    name: str
    script: str
    protocol: str
    form: Literal["pixels", "message", "sealed"]
    python: Path = RIVALS


OURS = Contestant("Hybridge, gRPC", "ours.py", "grpc", "sealed", Path(sys.executable))
CONTESTANTS = (
    OURS,
    Contestant("LitServe, HTTP", "lit.py", "http:/predict", "pixels"),
    Contestant("Ray Serve, HTTP", "on_ray.py", "http:/", "pixels"),
    Contestant("KServe's Python server, gRPC", "on_kserve.py", "grpc", "message"),
)
#: How far logits may be from the session's own, which has computed other batches.
_TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class Questions:
    """What all are asked, and what is right.

    Attributes:
        files: A request's bytes, by form and rows.
        logits: What the session alone says ``(rows, 10)``, by rows.
    """

    files: Mapping[tuple[str, int], Path]
    logits: Mapping[int, np.ndarray[Any, np.dtype[np.float32]]]


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked for.

    Attributes:
        rows: Rows of a request.
        lanes: Requests that each client process keeps in flight.
    """

    rows: int
    lanes: int


@dataclass(frozen=True, slots=True)
class Turn:
    """What came of one turn.

    Attributes:
        per_s: Requests answered in a second.
        server_cpu_s: Processor time that the server spent on a request, over all its processes.
        client_cpu_s: The same of the clients.
        median_ms: Time until an answer.
        p99_ms: The same, of one in a hundred.
    """

    per_s: float
    server_cpu_s: float
    client_cpu_s: float = 0.0
    median_ms: float = 0.0
    p99_ms: float = 0.0


class Partner:
    """A process that is told lines of JSON, and answers each with one.

    Args:
        command: What starts it.
    """

    def __init__(self, *command: object) -> None:
        self.process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ask(self, **asked: float | str) -> None:
        """Tell it something."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, float]:
        """Return what it says to it; raises `ConnectionError` where it has ended."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise ConnectionError(f"{self.process.args} has ended")
        figures: dict[str, float] = json.loads(line)
        return figures

    def close(self) -> None:
        """Let it end."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()


class Standing:
    """A server that has been started, and its clients.

    Args:
        contestant: Which.
        graph: The ONNX file.
        log: Where it writes what it says.

    Attributes:
        idle_cores: How many cores it keeps busy while nobody asks it anything.
    """

    def __init__(self, contestant: Contestant, graph: Path, log: Path) -> None:
        self.contestant = contestant
        self._port = _free_port()
        self._answer = log.with_suffix(".answer")
        self._clients: list[Partner] = []
        self.idle_cores = 0.0
        script = _HERE / "servers" / contestant.script
        command = [str(contestant.python), str(script), str(graph), str(self._port)]
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                command, stdout=file, stderr=file, stdin=subprocess.DEVNULL
            )

    def wait_ready(self, questions: Questions) -> None:
        """Return once it answers.

        Raises:
            TimeoutError: It does not.
            ValueError: It answers otherwise than the session alone.
        """
        ends_s = time.monotonic() + _START_S
        while time.monotonic() < ends_s and self._process.poll() is None:
            client = self._client()
            try:
                for rows, logits in questions.logits.items():
                    file = questions.files[self.contestant.form, rows]
                    self._tell(client, file, lanes=1, seconds=0.1)
                    client.answer()
                    self._check(logits)
            except ConnectionError:
                time.sleep(0.5)
            else:
                self._clients = [self._client() for _ in range(CLIENTS)]
                self._settle()
                return
            finally:
                client.close()
        raise TimeoutError(f"{self.contestant.name} does not answer")

    def _tell(self, client: Partner, request: Path, lanes: int, seconds: float) -> None:
        answer = str(self._answer)
        client.ask(request=str(request), lanes=lanes, seconds=seconds, answer=answer)

    def _check(self, logits: np.ndarray[Any, np.dtype[np.float32]]) -> None:
        said = self._answer.read_bytes()
        if self.contestant.form == "pixels":
            answer = np.frombuffer(said, np.float32).reshape(logits.shape)
        else:
            answer = oip.from_response(pb.ModelInferResponse.FromString(said)).tensors["logits"]
        if not np.allclose(answer, logits, rtol=_TOLERANCE, atol=_TOLERANCE):
            raise ValueError(f"{self.contestant.name} answers otherwise than the session alone")

    def _settle(self) -> None:
        """Measure it at rest, and put it to sleep."""
        time.sleep(_SETTLE_S)
        spent_s = cpu_s(self._process.pid)
        time.sleep(_SETTLE_S)
        self.idle_cores = (cpu_s(self._process.pid) - spent_s) / _SETTLE_S
        self._signal(signal.SIGSTOP)

    def _signal(self, number: signal.Signals) -> None:
        for pid in family(self._process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def turn(self, request: Path, load: Load, seconds: float) -> Turn:
        """Return what it does under ``load`` for so many seconds.

        It sleeps before and after: some are busy while nobody asks, at the cost of the others.
        """
        self._signal(signal.SIGCONT)
        try:
            return self._turn(request, load, seconds)
        finally:
            self._signal(signal.SIGSTOP)

    def _turn(self, request: Path, load: Load, seconds: float) -> Turn:
        spent_s = cpu_s(self._process.pid)
        for client in self._clients:
            self._tell(client, request, load.lanes, seconds)
        came = [client.answer() for client in self._clients]
        spent_s = cpu_s(self._process.pid) - spent_s
        requests = max(sum(each["requests"] for each in came), 1)
        return Turn(
            per_s=sum(each["per_s"] for each in came),
            server_cpu_s=spent_s / sum(each["asked"] for each in came),
            client_cpu_s=sum(each["cpu_s"] for each in came) / requests,
            median_ms=sum(each["median_ms"] for each in came) / len(came),
            p99_ms=max(each["p99_ms"] for each in came),
        )

    def _client(self) -> Partner:
        client = _HERE / "client.py"
        return Partner(sys.executable, client, self.contestant.protocol, self._port)

    def stop(self) -> None:
        """End it, and whatever it has started."""
        for client in self._clients:
            client.close()
        self._signal(signal.SIGCONT)
        processes = list(family(self._process.pid))
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for left in processes[1:]:
            with suppress(ProcessLookupError):
                os.kill(left, signal.SIGKILL)


@contextmanager
def started(
    contestants: Sequence[Contestant], graph: Path, questions: Questions, folder: Path
) -> Iterator[tuple[list[Standing], dict[str, str]]]:
    """Yield the servers that answer, and why those that are left out do not.

    Args:
        contestants: Who is to take part.
        graph: The ONNX file.
        questions: What they are asked first, to see whether they answer, and rightly.
        folder: Where they write what they say.
    """
    standing: list[Standing] = []
    absent: dict[str, str] = {}
    try:
        for contestant in contestants:
            if not contestant.python.exists():
                absent[contestant.name] = f"there is no {contestant.python}"
                continue
            log = folder / f"{contestant.script}.log"
            for _ in range(_ATTEMPTS):
                standing.append(Standing(contestant, graph, log))
                try:
                    standing[-1].wait_ready(questions)
                except TimeoutError as error:
                    standing.pop().stop()
                    last = log.read_text(errors="replace").strip().splitlines()[-1:]
                    absent[contestant.name] = f"{error}: {' '.join(last)}"
                else:
                    absent.pop(contestant.name, None)
                    break
        yield standing, absent
    finally:
        for each in standing:
            each.stop()


class Bare:
    """The session alone.

    Args:
        graph: The ONNX file.
    """

    def __init__(self, graph: Path) -> None:
        self._partner = Partner(sys.executable, _HERE / "servers/bare.py", graph)

    def turn(self, rows: int, seconds: float) -> Turn:
        """Return what it does with so many rows at a time, for so many seconds."""
        self._partner.ask(rows=rows, seconds=seconds)
        came = self._partner.answer()
        return Turn(came["requests"] / came["seconds"], came["cpu_s"] / came["requests"])

    def close(self) -> None:
        """Let it end."""
        self._partner.close()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
