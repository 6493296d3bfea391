"""A cloud as a process of its own, for as long as a recipe needs one."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hybridge.errors import TransportError

#: Longest that a cloud may take to load its programs, and to end.
_START_S, _END_S = 120.0, 15.0


@contextmanager
def cloud_process(bundles: Sequence[Path]) -> Iterator[str]:
    """Serve bundles from a process of its own; yield where it listens, a free port.

    The process has ended when the context does, whatever happened within.

    Args:
        bundles: Folders of bundles, at least one of them with a program in the cloud.

    Raises:
        TransportError: The process ended before it was ready, or took over two minutes.
    """
    command = [sys.executable, "-m", "hybridge", "serve", *map(str, bundles), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield f"127.0.0.1:{_port(process)}"
        finally:
            process.terminate()
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _port(process: "subprocess.Popen[str]") -> int:
    """Return the port that a server names once it listens."""
    assert process.stdout is not None
    watch = threading.Timer(_START_S, process.kill)
    watch.start()
    try:
        ready = process.stdout.readline()
    finally:
        watch.cancel()
    if not ready:
        raise TransportError("the cloud process ended before it was ready; see above")
    port: int = json.loads(ready)["port"]
    return port
