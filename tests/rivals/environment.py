"""Software of others that speaks our protocol, in an environment of its own.

It is made as `benchmarks/contest/requirements.txt` says; ``RIVALS_PYTHON`` names another one.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

from hybridge.runtime.wire import oip
from hybridge.runtime.wire import oip_pb2 as pb
from outages.cloud import free_port

_ROOT = Path(__file__).resolve().parents[2]
PYTHON = Path(os.environ.get("RIVALS_PYTHON", _ROOT / ".venv-rivals/bin/python"))
_KSERVE = _ROOT / "benchmarks/contest/servers/on_kserve.py"
_TRITON = Path(__file__).with_name("triton_client.py")
#: How long a server may take to be ready.
_START_S = 120.0


def has(module: str) -> bool:
    """Return whether the environment is there, with this module in it."""
    if not PYTHON.exists():
        return False
    package = module.partition(".")[0]
    return any((PYTHON.parents[1] / "lib").glob(f"python3*/site-packages/{package}"))


@contextmanager
def kserve(graph: Path, name: str) -> Iterator[str]:
    """Host an ONNX file, called ``name``, on KServe's Python server; yields the target."""
    port = free_port()
    process = subprocess.Popen(
        [str(part) for part in (PYTHON, _KSERVE, graph, port, name)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_ready(f"127.0.0.1:{port}", name)
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _wait_ready(target: str, name: str) -> None:
    options = [("grpc.max_reconnect_backoff_ms", 500)]
    with grpc.insecure_channel(target, options) as channel:
        ask = channel.unary_unary(f"/{oip.SERVICE}/ModelReady")
        request = pb.ModelReadyRequest(name=name).SerializeToString()
        answer = ask(request, timeout=_START_S, wait_for_ready=True)
    assert pb.ModelReadyResponse.FromString(answer).ready


def triton_client(target: str, model: str, inputs: Path) -> dict[str, Any]:
    """Return what NVIDIA's client finds at ``target``, asking ``model`` with an array's file."""
    done = subprocess.run(
        [str(part) for part in (PYTHON, _TRITON, target, model, inputs)],
        capture_output=True,
        text=True,
        timeout=_START_S,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found
