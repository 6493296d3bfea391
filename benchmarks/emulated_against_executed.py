"""Emulated against executed: the same bundle, inputs and trace, in virtual time and in real time.

An edge and a cloud run as processes, over a link that a trace shapes. Then the bundle is emulated
over the same trace, one request when the last is answered, as the edge does. Times of programs,
and what gRPC adds to a message, are measured beforehand on other runs: the device alone, and the
cloud alone over a steady link.

    python benchmarks/emulated_against_executed.py runs/demo/bundle \
        --data arrays:runs/demo/reporting.npz --trace lte.up --trace bus.log
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from common import Row, report

from hybridge.cli.inputs import open_source
from hybridge.cost.device import device_named, devices
from hybridge.cost.price import Prices, price_plan
from hybridge.cost.reward import Reward
from hybridge.emulate.arrivals import back_to_back
from hybridge.emulate.drive import emulate
from hybridge.emulate.emulation import Summary
from hybridge.emulate.world import World
from hybridge.links.fit import fit_link
from hybridge.links.link import Link
from hybridge.links.read import read_trace
from hybridge.plan.bundle import Bundle, load_bundle, save_bundle
from hybridge.plan.variants import cloud_only
from hybridge.runtime.rehearse import rehearse

#: The link that `f(S|W)` is measured over: as fast as none that is compared, and steady.
STEADY_BPS = 100e6
CALIBRATED_ON = 200
Answers = list[dict[str, Any]]


@contextmanager
def served(bundle: Path) -> Iterator[str]:
    """Serve a bundle from a process of its own; yield where it listens."""
    command = [sys.executable, "-m", "hybridge", "serve", str(bundle), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"127.0.0.1:{json.loads(process.stdout.readline())['port']}"
        finally:
            process.terminate()


def executed(bundle: Path, data: str, *options: object) -> Answers:
    """Return the answers of an edge in a process of its own."""
    command = [sys.executable, "-m", "hybridge", "run", str(bundle), "--data", data, "--json"]
    done = subprocess.run(
        [*command, *map(str, options)], stdout=subprocess.PIPE, text=True, check=True
    )
    lines = map(json.loads, done.stdout.splitlines())
    return [line for line in lines if "label" in line]  # the last line sums up


def column(answers: Answers, name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([answer[name] for answer in answers], np.float64)


def measured_prices(bundle: Bundle, edge_alone: Answers, cloud_alone: Answers) -> Prices:
    """Return what programs take on this host, shared out among those of the edge by MACs."""
    on_edge = bundle.plan.programs_at("edge")
    edge_ms = float(column(edge_alone, "edge_ms").mean())
    all_macs = sum(program.macs for program in on_edge)
    cloud_ms = float(column(cloud_alone, "cloud_ms").mean())
    return Prices(
        devices.get("v100"),  # no energy is asked for, and times are measured
        {program.name: edge_ms * program.macs / all_macs for program in on_edge},
        {program.name: cloud_ms for program in bundle.plan.programs_at("cloud")},
    )


def measured_link(cloud_alone: Answers, rtt_ms: float) -> Link:
    """Return a link with the ``f(S|W)`` that transfers over the steady link show."""
    sizes, took_ms = column(cloud_alone, "bytes_sent"), column(cloud_alone, "link_ms")
    return fit_link(sizes, took_ms, STEADY_BPS, rtt_ms)


def calibrated(
    bundle: Bundle, data: str, rtt_ms: float, folder: Path, device: str | None
) -> tuple[Prices, Link]:
    """Return what programs and messages take on this host, from runs that are not compared."""
    assert bundle.path is not None
    alone = save_bundle(cloud_only(bundle.plan), folder / "alone").path
    steady = folder / "steady.txt"
    steady.write_text(f"0 {STEADY_BPS / 1e6}\n1 {STEADY_BPS / 1e6}\n")
    with served(bundle.path) as cloud:
        link = ("--cloud", cloud, "--trace", steady, "--rtt-ms", rtt_ms)
        cloud_alone = executed(alone, data, *link, "--limit", CALIBRATED_ON)
    if device is not None:
        host = device_named(device)
        prices = price_plan(bundle.plan, host, host)
    else:
        edge_alone = executed(bundle.path, data, "--limit", CALIBRATED_ON)
        prices = measured_prices(bundle, edge_alone, cloud_alone)
    return prices, measured_link(cloud_alone, rtt_ms)


def compared(name: str, answers: Answers, emulated: Summary) -> Row:
    latency_ms = column(answers, "latency_ms")
    failed = sum(answer["failure"] is not None for answer in answers)
    return {
        "what": name,
        "executed ms": float(latency_ms.mean()),
        "emulated ms": emulated.latency_ms,
        "ratio": emulated.latency_ms / float(latency_ms.mean()),
        "executed p95": float(np.quantile(latency_ms, 0.95)),
        "emulated p95": emulated.p95_ms,
        "executed query rate": float(column(answers, "asked").mean()),
        "emulated query rate": emulated.query_rate,
        "executed timeouts": str(failed),
        "emulated timeouts": str(emulated.timeouts),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--data", required=True, help="as hybridge run takes it")
    parser.add_argument("--trace", required=True, action="append", type=Path)
    parser.add_argument("--rtt-ms", type=float, default=42.0)
    parser.add_argument("--device", help="profile of this host; measured where it is left out")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    settings = parser.parse_args()
    bundle = load_bundle(settings.bundle)
    data = open_source(settings.data, bundle.plan)
    rehearsal = rehearse(bundle.plan, data)
    settings.rounds, settings.seed = len(data), 0
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        prices, link = calibrated(
            bundle, settings.data, settings.rtt_ms, Path(folder), settings.device
        )
    print(
        f"edge {dict(prices.edge_ms)}, cloud {dict(prices.cloud_ms)} ms; f(S|W) = "
        f"{link.message_ms:.3f} ms + {link.byte_ms:.6f} ms a byte"
    )
    for path in settings.trace:
        with served(settings.bundle) as cloud:
            options = ("--cloud", cloud, "--trace", path, "--rtt-ms", settings.rtt_ms)
            answers = executed(settings.bundle, settings.data, *options)
        world = World(prices, read_trace(path), link)
        emulation = emulate(bundle.plan, rehearsal, world, back_to_back(len(data)))
        rows.append(compared(path.name, answers, emulation.summary(Reward())))
    report("Emulated against executed", rows, settings)


if __name__ == "__main__":
    main()
