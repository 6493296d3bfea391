"""Two network namespaces joined by a wire whose rate follows a trace: a link with root's help.

The edge's end of the wire is shaped by `tc … tbf`; so it is the uplink that follows the trace, and
replies come back as fast as they can. Nothing outside the two namespaces is touched.
"""

import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from hybridge.errors import ConfigError
from hybridge.links.trace import Trace

EDGE_ADDRESS, CLOUD_ADDRESS = "10.77.0.1", "10.77.0.2"
#: An outage still lets a packet through every second: at nothing at all, `tbf` would never wake.
LEAST_BPS = 12e3
#: Rates are set so often.
STEP_S = 0.25
#: What `tbf` saves up while nothing is sent passes at once, and it saves up a packet at least. So
#: packets are small beside a message.
_MTU_BYTES, _HEADER_BYTES = 300, 14
#: What it has to save up besides, as time at its rate: how late it may wake.
_WAKES_WITHIN_S = 0.0005
_QUEUE_BYTES = 512_000


def check_possible() -> None:
    """Raise `ConfigError` unless this process may make namespaces, and has the tools for it."""
    missing = [tool for tool in ("ip", "tc") if shutil.which(tool) is None]
    if missing:
        raise ConfigError(
            f"the field test needs {' and '.join(missing)}; run: apt-get install iproute2"
        )
    if os.geteuid() != 0:
        raise ConfigError("the field test makes network namespaces, which takes root; use sudo")


class Wire(ExitStack):
    """The two namespaces, for as long as the context lasts.

    Raises `ConfigError` where they cannot be made.
    """

    def __init__(self) -> None:
        super().__init__()
        check_possible()
        self.edge, self.cloud = (f"hybridge-{end}-{os.getpid()}" for end in ("edge", "cloud"))

    def __enter__(self) -> "Wire":
        super().__enter__()
        try:
            self._make()
        except BaseException:
            self.close()
            raise
        return self

    def _make(self) -> None:
        for name in (self.edge, self.cloud):
            _run("ip", "netns", "add", name)
            # With its namespace, an end of the wire is gone, and the other one with it.
            self.callback(subprocess.run, ["ip", "netns", "delete", name], check=False)
        peer = ("peer", "name", "cloud", "netns", self.cloud)
        _run("ip", "link", "add", "edge", "netns", self.edge, "type", "veth", *peer)
        for name, end, address in (
            (self.edge, "edge", EDGE_ADDRESS),
            (self.cloud, "cloud", CLOUD_ADDRESS),
        ):
            _run("ip", "-n", name, "address", "add", f"{address}/24", "dev", end)
            # Packets as they are on a wire, not in bundles of 64 kB.
            sizes = ("mtu", _MTU_BYTES, "gso_max_segs", 1)
            _run("ip", "-n", name, "link", "set", end, "up", *sizes)
            _run("ip", "-n", name, "link", "set", "lo", "up")

    def inside(self, name: str, command: Sequence[object]) -> list[str]:
        """Return a command line that runs ``command`` in one of the namespaces."""
        return ["ip", "netns", "exec", name, *map(str, command)]

    def sent_bytes(self) -> int:
        """Return the bytes that have left the edge, headers and all."""
        shown = _run("ip", "-n", self.edge, "-s", "-j", "link", "show", "edge")
        found: list[dict[str, Any]] = json.loads(shown)
        return int(found[0]["stats64"]["tx"]["bytes"])

    def shaped(self, trace: Trace) -> "Shaping":
        """Return what lets the uplink follow ``trace`` while its context lasts."""
        return Shaping(self, trace)


class Shaping:
    """Sets the uplink's rate, piece by piece, from the moment it is begun."""

    def __init__(self, wire: Wire, trace: Trace) -> None:
        self._wire = wire
        self._trace = trace
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> "Shaping":
        self._tc("add", self._trace.at(0))
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        _run("tc", "-n", self._wire.edge, "qdisc", "delete", "dev", "edge", "root")

    def begin(self) -> None:
        """Let the trace begin."""
        self._thread.start()

    def _follow(self) -> None:
        began_s, piece = time.monotonic(), 0
        while not self._stop.wait(max(began_s + piece * STEP_S - time.monotonic(), 0)):
            self._tc("change", self._trace.at(piece * STEP_S))
            piece += 1

    def _tc(self, verb: str, rate_bps: float) -> None:
        burst_bytes = _MTU_BYTES + _HEADER_BYTES + round(rate_bps / 8 * _WAKES_WITHIN_S)
        tbf = ("rate", f"{rate_bps:.0f}bit", "burst", burst_bytes, "limit", _QUEUE_BYTES)
        _run("tc", "-n", self._wire.edge, "qdisc", verb, "dev", "edge", "root", "tbf", *tbf)


def shapeable(trace: Trace) -> Trace:
    """Return a trace in the steps that rates are set in, with none that is too low."""
    steps = trace.resampled(STEP_S)
    rates = [max(rate, LEAST_BPS) for rate in steps.bandwidth_bps]
    return Trace(steps.times_s, rates, steps.duration_s)


def _run(*command: object) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if done.returncode:
        raise ConfigError(
            f"`{' '.join(map(str, command))}` failed: {done.stderr.strip()}; the kernel needs "
            "network namespaces, veth and sch_tbf, and the user the right to use them"
        )
    return done.stdout
