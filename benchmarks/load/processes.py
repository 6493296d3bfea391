"""Processes that are measured: their start, their processor time, their end."""

import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

import psutil


class Measured:
    """A process and all that it starts, for as long as the context lasts.

    Args:
        command: What is run; on one thread wherever a library asks the environment.
        quiet: Whether what it writes on standard error is of no interest.
    """

    def __init__(self, command: Sequence[str], quiet: bool = True) -> None:
        self.process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if quiet else None,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def __enter__(self) -> "Measured":
        return self

    def __exit__(self, *_: object) -> None:
        family = self._family()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for left in psutil.wait_procs(family, 1)[1]:
            left.kill()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()

    def ask(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Write one line of JSON to the process, and return the one that it writes."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return self.told()

    def told(self) -> dict[str, Any]:
        """Return the next line of JSON that the process writes; `RuntimeError` at its end."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args} ended with {self.process.wait()}")
        told: dict[str, Any] = json.loads(line)
        return told

    def cpu_s(self) -> float:
        """Return the processor time of all its processes so far."""
        return sum(_cpu_s(process) for process in self._family())

    def rss_bytes(self) -> int:
        """Return the memory that all its processes hold."""
        return sum(_rss_bytes(process) for process in self._family())

    def _family(self) -> list[psutil.Process]:
        try:
            parent = psutil.Process(self.process.pid)
            return [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []


def _cpu_s(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def _rss_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
