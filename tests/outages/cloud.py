"""``hybridge serve`` as a process that can be killed, frozen, and started again at its port."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import hybridge

#: Every batch takes a while, so that a server can be killed in the middle of one.
SLOW_BATCHES = """
import time
from hybridge.runtime.sessions import ProgramSession
run = ProgramSession.run
def slowly(self, tensors):
    time.sleep(0.01)
    return run(self, tensors)
ProgramSession.run = slowly
"""
#: Every row takes a while, so that a hundred a second are too much.
SLOW_ROWS = """
import time
from hybridge.runtime.sessions import ProgramSession
run = ProgramSession.run
def slowly(self, tensors):
    time.sleep(0.01 * len(next(iter(tensors.values()))))
    return run(self, tensors)
ProgramSession.run = slowly
"""
#: The server's clocks are a day ahead, and run 3 % fast. Not the calendar's: gRPC's own core, which
#: Python cannot reach, compares that one with itself.
SKEWED_CLOCK = """
import time
def skewed(clock):
    began = clock()
    return lambda: began + 86_400 + 1.03 * (clock() - began)
for name in ("monotonic", "perf_counter"):
    setattr(time, name, skewed(getattr(time, name)))
"""
_MAIN = """
import sys
from hybridge.cli.main import main
sys.argv = ["hybridge", *sys.argv[1:]]
main()
"""


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Cloud:
    """A server process at one port for as long as the context lasts, however often restarted.

    Args:
        bundle: What it serves at first.
        before: Python that its process runs before anything else.
    """

    def __init__(self, bundle: Path, before: str = "") -> None:
        self.port = free_port()
        self._bundle, self._before = bundle, before
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> "Cloud":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self, bundle: Path | None = None) -> None:
        """Start it, and wait until it listens."""
        bundle = bundle or self._bundle
        arguments = ("serve", str(bundle), "--port", str(self.port))
        source = os.fspath(Path(hybridge.__file__).parents[1])
        self._process = subprocess.Popen(
            [sys.executable, "-c", self._before + _MAIN, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1"},
        )
        assert self._process.stdout is not None
        assert json.loads(self._process.stdout.readline())["event"] == "ready"

    def kill(self) -> None:
        """End it, whatever it is doing."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def freeze(self) -> None:
        """Let it hang."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
