"""Memory of server and edge over 100,000 requests, all of which go to the cloud.

`hybridge serve` and an edge that keeps a decision log are processes of their own. Every 5,000
requests it is noted what each holds; a straight line through what comes after the first tenth, in
which caches and pools fill, says how much they grow. The edge loads neither torch nor onnx.

    python benchmarks/memory.py --page docs/results/throughput.md
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from contest.processes import resident_bytes
from pages.section import put
from pages.table import table

from hybridge.plan.log import DecisionLog
from hybridge.progress import track
from hybridge.runtime.edge.edge import EdgeRuntime
from hybridge.runtime.edge.grpc import GrpcTransport

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

#: What a table shows, by column.
Row = Mapping[str, float | str]

EVERY = 5000
#: Requests that the edge is asked at once.
LANES = 8
_MIB = 1 << 20


def as_edge(bundle: Path, target: str, inputs: Path, requests: int) -> None:
    """Ask, and print a line of JSON every `EVERY` requests."""
    vectors = np.load(inputs)
    log = DecisionLog(bundle.with_name("decisions.jsonl"), max_mb=5, keep=1)
    transport = GrpcTransport(target, timeout_ms=10_000.0)
    with EdgeRuntime(bundle, transport, log=log) as runtime, ThreadPoolExecutor(LANES) as lanes:

        def ask(number: int) -> bool:
            return runtime.predict(vectors[number % len(vectors)]).source == "cloud"

        for first in range(0, requests, EVERY):
            came = sum(lanes.map(ask, range(first, first + EVERY)))
            print(json.dumps({"cloud": came, "bytes": resident_bytes(os.getpid())}), flush=True)


@contextmanager
def process(*command: object) -> Iterator["subprocess.Popen[str]"]:
    """Run a process, and end it with the context."""
    running = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True)
    try:
        yield running
    finally:
        running.terminate()
        running.communicate()


def measure(requests: int, folder: Path) -> tuple[np.ndarray, int]:
    """Return bytes ``(readings, 2)`` of server and edge, and how many answers were the cloud's."""
    from outages.bundles import make_stage

    stage = make_stage(folder)
    np.save(folder / "inputs.npy", stage.inputs)
    readings, came = [], 0
    serve = (sys.executable, "-m", "hybridge", "serve", stage.bundle, "--port", 0)
    with process(*serve) as server:
        assert server.stdout is not None
        target = f"127.0.0.1:{json.loads(server.stdout.readline())['port']}"
        arguments = (stage.bundle, "--cloud", target, "--inputs", folder / "inputs.npy")
        edge_command = (sys.executable, __file__, "--as-edge", *arguments, "--requests", requests)
        with process(*edge_command) as edge:
            assert edge.stdout is not None
            for _ in track(range(0, requests, EVERY), "memory"):
                told = json.loads(edge.stdout.readline())
                came += told["cloud"]
                readings.append((resident_bytes(server.pid), told["bytes"]))
    return np.array(readings), came


def rows(readings: np.ndarray) -> list[Row]:
    """Return what server and edge held, and how their memory grows."""
    numbers = EVERY * np.arange(1, len(readings) + 1)
    settled = numbers > numbers[-1] / 10
    found: list[Row] = []
    for name, held in zip(("server", "edge"), readings.T, strict=True):
        line = np.polyfit(numbers[settled], held[settled], 1)
        rest = held[settled] - np.polyval(line, numbers[settled])
        found.append(
            {
                "what": name,
                "first MiB": held[0] / _MIB,
                "settled MiB": held[settled][0] / _MIB,
                "last MiB": held[-1] / _MIB,
                "most MiB": held.max() / _MIB,
                "bytes a request": line[0],
                "scatter MiB": float(rest.std()) / _MIB,
            }
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    parser.add_argument("--page", type=Path, help="page to write the results to")
    for hidden in ("--as-edge", "--inputs"):
        parser.add_argument(hidden, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--cloud", help=argparse.SUPPRESS)
    settings = parser.parse_args()
    if settings.as_edge is not None:
        as_edge(settings.as_edge, settings.cloud, settings.inputs, settings.requests)
        return
    with tempfile.TemporaryDirectory() as folder:
        readings, came = measure(settings.requests, Path(folder))
    from common import report

    found = rows(readings)
    settings.rounds, settings.seed = settings.requests, 0
    report("Memory", found, settings)
    print(f"answered by the cloud: {came:,}")
    if settings.page is not None:
        put(settings.page, "memory", _section(found, readings, came, settings.requests))


def _section(found: list[Row], readings: np.ndarray, came: int, requests: int) -> str:
    cells = [[row["what"], *(f"{v:.2f}" for v in list(row.values())[1:])] for row in found]
    names = ("process", *list(found[0])[1:])
    held = "\n".join(
        f"- {name}: {', '.join(f'{each / _MIB:.1f}' for each in column)}"
        for name, column in zip(("server", "edge"), readings.T, strict=True)
    )
    return f"""## Memory over {requests:,} requests

```bash
make throughput
```

`hybridge serve` and an edge that keeps a decision log, {LANES} requests at once of 12 KiB each, all
sent to the cloud; {came:,} were answered there. Resident memory was read every {EVERY:,} requests.
The slope is that of a straight line through what came after the first tenth; the scatter is the
standard deviation around it.

{table(names, cells)}

MiB at every reading:

{held}
"""


if __name__ == "__main__":
    main()
