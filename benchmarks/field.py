"""The field test: measured beside emulated, over a link that the kernel shapes.

Two network namespaces joined by a veth pair; `tc … tbf` lets the uplink follow a recorded trace.
`hybridge serve` runs in one, an edge in the other, over real gRPC; requests come at a fixed rate.
Then the same requests are emulated over the same trace. What programs take, what a message takes
beyond its sending, and how many bytes cross for each byte of payload, is measured beforehand, over
the unshaped wire. Takes root, `ip` and `tc`.

    make field
    python benchmarks/field.py runs/demo/bundle --data arrays:runs/demo/reporting.npz --trace lte.up
"""

import argparse
import json
import math
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import numpy as np
from common import Row, report
from emulated_against_executed import Answers, column
from fieldwork.namespaces import CLOUD_ADDRESS, Shaping, Wire, shapeable
from pages.field import write_page

from hybridge.cli.inputs import open_source
from hybridge.cost.device import devices
from hybridge.cost.price import Prices
from hybridge.cost.reward import Reward
from hybridge.data.dataset import subset
from hybridge.emulate.arrivals import at_fixed_rate
from hybridge.emulate.drive import emulate
from hybridge.emulate.world import World
from hybridge.errors import ConfigError, HybridgeError
from hybridge.links.link import Link
from hybridge.links.read import read_trace
from hybridge.links.trace import Trace
from hybridge.plan.bundle import Bundle, load_bundle, save_bundle
from hybridge.plan.variants import cloud_only, with_threshold
from hybridge.recipes.load import data_root
from hybridge.runtime.edge.edge import EdgeRuntime
from hybridge.runtime.edge.grpc import GrpcTransport
from hybridge.runtime.rehearse import rehearse

TRACES = (
    "mahimahi/ATT-LTE-driving-2016.up",
    "mahimahi/Verizon-LTE-short.up",
    "solis-wifi-uplink/traces/wifi_cafe_231115-151422.txt",
)
CALIBRATED_ON = 60
PORT = 8001
#: An unshaped wire is as good as this.
WIRE_BPS = 10e9
#: Requests that may be under way at once.
OVERLAP = 16


@dataclass(frozen=True)
class Calibration:
    """What this host takes.

    Attributes:
        prices: Of the programs.
        link: What a message takes beyond its sending.
        wire_share: Payload bytes for each byte that crosses.
    """

    prices: Prices
    link: Link
    wire_share: float


def answer(settings: argparse.Namespace) -> None:
    """Be the edge: answer requests at a fixed rate once a line comes, and print each."""
    bundle = load_bundle(settings.bundle)
    data = open_source(settings.data, bundle.plan)
    rows = np.arange(settings.requests) % len(data)
    cloud = GrpcTransport(settings.cloud, insecure=True) if settings.cloud else None
    with EdgeRuntime(bundle, cloud) as edge, ThreadPoolExecutor(OVERLAP) as pool:
        images = data.pixels(rows)
        for image in images[:20]:  # sessions are warm, and the connection is made
            edge.predict(image, 1000.0)
        print("ready", flush=True)
        sys.stdin.readline()
        began_s, asked = monotonic(), []
        for number, image in enumerate(images):
            sleep(max(began_s + number / settings.rate - monotonic(), 0))
            asked.append(pool.submit(edge.predict, image, settings.deadline_ms))
        for row, future in zip(rows, asked, strict=True):
            told = future.result()
            names = ("latency_ms", "edge_ms", "link_ms", "cloud_ms", "bytes_sent", "asked")
            figures = {name: getattr(told, name) for name in names}
            right = told.label == int(data.labels[row])
            print(json.dumps({**figures, "right": right, "failure": told.failure}), flush=True)


@contextmanager
def served(wire: Wire, bundle: Path) -> Iterator[str]:
    """Serve a bundle at the cloud's end; yield where it listens."""
    options = ("--host", CLOUD_ADDRESS, "--port", PORT, "--insecure")
    command = wire.inside(wire.cloud, [sys.executable, "-m", "hybridge", "serve", bundle, *options])
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            if not process.stdout.readline():
                raise ConfigError(f"the server of {bundle} did not start; its own words are above")
            yield f"{CLOUD_ADDRESS}:{PORT}"
        finally:
            process.terminate()


def answered(
    wire: Wire,
    bundle: Path,
    settings: argparse.Namespace,
    *,
    cloud: str = "",
    shaping: Shaping | None = None,
    requests: int,
    deadline_ms: float | None = None,
) -> Answers:
    """Return the answers of an edge at its end of the wire."""
    options: list[object] = ["--data", settings.data, "--requests", requests]
    options += ["--rate", settings.rate, "--cloud", cloud]
    options += [] if deadline_ms is None else ["--deadline-ms", deadline_ms]
    command = wire.inside(wire.edge, [sys.executable, __file__, bundle, "--as-edge", *options])
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdout.readline()
            if shaping is not None:
                shaping.begin()
            process.stdin.write("go\n")
            process.stdin.flush()
            found = [json.loads(line) for line in process.stdout]
        finally:
            process.terminate()
    if len(found) != requests:
        raise ConfigError(f"the edge gave {len(found)} answers to {requests} requests")
    return found


def calibrated(
    wire: Wire, bundle: Bundle, settings: argparse.Namespace, folder: Path
) -> Calibration:
    """Return what programs and messages take here, over the unshaped wire."""
    alone = save_bundle(cloud_only(bundle.plan), folder / "alone").path
    assert alone is not None
    edge_alone = answered(wire, settings.bundle, settings, requests=CALIBRATED_ON)
    with served(wire, settings.bundle) as cloud:
        before = wire.sent_bytes()
        told = answered(wire, alone, settings, cloud=cloud, requests=CALIBRATED_ON)
        crossed = wire.sent_bytes() - before
    sizes, link_ms = column(told, "bytes_sent"), column(told, "link_ms")
    warm = CALIBRATED_ON + 20
    on_edge = bundle.plan.programs_at("edge")
    all_macs = sum(program.macs for program in on_edge) or 1
    edge_ms = float(np.median(column(edge_alone, "edge_ms")))
    prices = Prices(
        devices.get("v100"),  # no energy is asked for, and times are measured
        {program.name: edge_ms * program.macs / all_macs for program in on_edge},
        {
            program.name: float(np.median(column(told, "cloud_ms")))
            for program in bundle.plan.programs_at("cloud")
        },
    )
    # At the speed of this wire, what a message takes is what it takes beyond its sending.
    link = Link(WIRE_BPS, provenance="measured here", message_ms=float(np.median(link_ms)))
    return Calibration(prices, link, float(sizes.mean() * warm / crossed))


def row(name: str, told: Answers, emulated: Any) -> Row:
    """Return measured beside emulated."""
    latency_ms = column(told, "latency_ms")
    summary = emulated.summary(Reward())
    p50_ms, p95_ms = np.quantile(latency_ms, (0.5, 0.95)).tolist()
    return {
        "what": name,
        "requests": str(len(told)),
        "measured ms": float(latency_ms.mean()),
        "emulated ms": summary.latency_ms,
        "measured p50": p50_ms,
        "emulated p50": summary.p50_ms,
        "measured p95": p95_ms,
        "emulated p95": summary.p95_ms,
        "measured asked": float(column(told, "asked").mean()),
        "emulated asked": summary.query_rate,
        "measured right": float(column(told, "right").mean()),
        "emulated right": summary.accuracy,
        "measured fell back": str(sum(each["failure"] is not None for each in told)),
        "emulated fell back": str(summary.timeouts),
        "latest ms": float(latency_ms.max()),
    }


def _measured(wire: Wire, bundle: Bundle, settings: argparse.Namespace, trace: Trace) -> Answers:
    assert bundle.path is not None
    with served(wire, bundle.path) as cloud, wire.shaped(trace) as shaping:
        return answered(
            wire,
            bundle.path,
            settings,
            cloud=cloud,
            shaping=shaping,
            requests=settings.requests,
            deadline_ms=settings.deadline_ms,
        )


def field(settings: argparse.Namespace) -> None:
    """Measure and emulate every trace, and say how they compare."""
    bundle = load_bundle(settings.bundle)
    data = subset(open_source(settings.data, bundle.plan), np.arange(settings.requests))
    rehearsal = rehearse(bundle.plan, data)
    arrivals = at_fixed_rate(settings.rate, settings.requests)
    rows = []
    with tempfile.TemporaryDirectory() as folder, Wire() as wire:
        found = calibrated(wire, bundle, settings, Path(folder))
        all_sent = save_bundle(with_threshold(bundle.plan, -math.inf), Path(folder) / "all")
        for path in settings.trace:
            trace = shapeable(read_trace(path, bin_s=0.5))
            payload = [bps * found.wire_share for bps in trace.bandwidth_bps]
            world = World(
                found.prices,
                Trace(trace.times_s, payload, trace.duration_s),
                found.link,
                settings.deadline_ms,
            )
            for name, played in ((path.name, bundle), (f"{path.name}, all sent", all_sent)):
                told = _measured(wire, played, settings, trace)
                rows.append(row(name, told, emulate(played.plan, rehearsal, world, arrivals)))
    settings.rounds, settings.seed = settings.requests, 0
    print(f"measured beforehand: {found}")
    report("Field test", rows, settings)
    if settings.page is not None:
        write_page(settings.page, rows, settings, found.wire_share, found.link.message_ms)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--data", default=f"parquet:{data_root()}/cifar10/test.parquet")
    parser.add_argument("--trace", action="append", type=Path)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--rate", type=float, default=5.0, help="requests a second")
    parser.add_argument("--deadline-ms", type=float)
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    parser.add_argument("--page", type=Path, help="page to write the results to")
    parser.add_argument("--as-edge", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--cloud", default="", help=argparse.SUPPRESS)
    settings = parser.parse_args()
    settings.trace = settings.trace or [data_root() / "traces" / name for name in TRACES]
    # Told to end, it ends as it does by itself: what it made is taken away.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        answer(settings) if settings.as_edge else field(settings)
    except HybridgeError as error:
        print(f"field: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
