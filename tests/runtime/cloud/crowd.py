"""Many clients at once: a slow server in a process of its own, and who got what from it."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import grpc.aio
import numpy as np

import hybridge
from hybridge.plan.program import Program
from hybridge.runtime.sessions import ProgramSession
from hybridge.runtime.wire import oip_pb2 as pb

METHOD = "/inference.GRPCInferenceService/ModelInfer"
#: What gRPC says of calls beyond the most at once, which it does not read.
_UNREAD = "Concurrent RPC limit exceeded!"

_SERVER = """
import json, sys, time
from hybridge.plan.program import Program
from hybridge.runtime.cloud.batcher import Batching
from hybridge.runtime.cloud.models import Models
from hybridge.runtime.cloud.serve import serve
from hybridge.runtime.sessions import ProgramSession

program = Program.model_validate_json(sys.argv[1])
settings = json.loads(sys.argv[3])
batch_s = settings.pop("batch_s")
run = ProgramSession.run

def slowly(self, tensors):
    time.sleep(batch_s)
    return run(self, tensors)

ProgramSession.run = slowly
program = program.model_copy(update={"path": sys.argv[2]})
serve(Models({"pets": [program]}), port=0, batching=Batching(**settings))
"""


@contextmanager
def slow_server(
    program: Program, **settings: float
) -> "Iterator[tuple[str, subprocess.Popen[str]]]":
    """Yield the target and the process of a server whose batches take ``batch_s`` and more."""
    data = (program.model_dump_json(), os.fspath(program.path), json.dumps(settings))
    with subprocess.Popen(
        [sys.executable, "-c", _SERVER, *data],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.fspath(Path(hybridge.__file__).parents[1])},
    ) as process:
        try:
            ready = json.loads(process.stdout.readline())
            yield f"{ready['host']}:{ready['port']}", process
        finally:
            process.kill()


def peak_mib(process: "subprocess.Popen[str]") -> float:
    """Return the most memory that a process has held."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


@dataclass
class Tally:
    """How a crowd of requests fared.

    Attributes:
        asked: Requests sent.
        answers: Answers that came.
        wrong: Of them, those that are not what the bare session gives.
        answered_ms: How long each answer took to come.
        late_ms: How much longer than a request had the server took over its answer; negative
            where it was in time. Of requests without a limit there is none.
        statuses: Refusals and failures, by the name of the status.
        unread: Of them, those that gRPC refused before it read them.
        retry_after_ms: When refusals said to ask again.
        told_ms: How long each refusal took to come.
    """

    asked: int
    answers: int = 0
    wrong: int = 0
    answered_ms: list[float] = field(default_factory=list)
    late_ms: list[float] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)
    unread: int = 0
    retry_after_ms: list[int] = field(default_factory=list)
    told_ms: list[float] = field(default_factory=list)


class Crowd:
    """Asks for one program, each request with an image of its own.

    Args:
        program: What is asked for.
        pixels: Images ``(N, H, W, C)``; request ``i`` has number ``i`` modulo ``N``.
        name: By what name it is asked for; the program's own if left out.
    """

    def __init__(self, program: Program, pixels: np.ndarray, name: str | None = None) -> None:
        self._expected = ProgramSession(program).run({"pixels": pixels})["logits"]
        self._requests = [_request(name or program.name, image[None]) for image in pixels]

    async def ask(
        self, target: str, count: int, *, channels: int = 4, left_ms: float | None = None
    ) -> Tally:
        """Send ``count`` requests at once, and wait for whatever comes of each, up to a minute."""
        tally = Tally(count)
        options = [("grpc.use_local_subchannel_pool", 1)]
        opened = [grpc.aio.insecure_channel(target, options=options) for _ in range(channels)]
        try:
            calls = [channel.unary_unary(METHOD) for channel in opened]
            await asyncio.gather(
                *(self._one(calls[i % channels], i, left_ms, tally) for i in range(count))
            )
        finally:
            for channel in opened:
                await channel.close()
        return tally

    async def _one(self, call, number: int, left_ms: float | None, tally: Tally) -> None:
        row = number % len(self._requests)
        request = pb.ModelInferRequest.FromString(self._requests[row])
        if left_ms is not None:
            request.parameters["left_ms"].double_param = left_ms
        began_s = time.perf_counter()
        try:
            data = await call(request.SerializeToString(), timeout=60)
        except grpc.RpcError as error:
            status = error.code().name
            tally.statuses[status] = tally.statuses.get(status, 0) + 1
            tally.unread += error.details() == _UNREAD
            tally.told_ms.append((time.perf_counter() - began_s) * 1e3)
            trailing = dict(error.trailing_metadata() or ())
            if "retry-after-ms" in trailing:
                tally.retry_after_ms.append(int(trailing["retry-after-ms"]))
            return
        response = pb.ModelInferResponse.FromString(data)
        logits = np.frombuffer(response.raw_output_contents[0], np.float32)
        tally.answers += 1
        tally.answered_ms.append((time.perf_counter() - began_s) * 1e3)
        if left_ms is not None:
            tally.late_ms.append(response.parameters["cloud_ms"].double_param - left_ms)
        tally.wrong += not np.allclose(logits, self._expected[row], rtol=1e-4, atol=1e-5)


def _request(name: str, pixels: np.ndarray) -> bytes:
    request = pb.ModelInferRequest(model_name=name)
    request.inputs.add(name="pixels", datatype="UINT8", shape=pixels.shape)
    request.raw_input_contents.append(pixels.tobytes())
    return request.SerializeToString()
