"""What becomes of requests when link or cloud fail: real processes, real sockets, every fault.

A third of the requests come before each fault, a third during it, a third after it. All of them
want the cloud, within a deadline; the edge's answer is the way out. Late is more than 10 ms after
the deadline. `jitter` is how late a thread that sleeps for a millisecond wakes at the same time:
what the machine itself does. `added` is what a request takes once the cloud is left alone, less
what it takes without a cloud; `recovered` is from the end of the fault to the beginning of the
first request that the cloud answered.

    python benchmarks/faults.py --rounds 1000 --json faults.json
"""

import argparse
import sys
import tempfile
from pathlib import Path

from common import Row, report

from hybridge.progress import track

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from outside import machine_jitter
from pages.faults import cells, write_page

from outages.bundles import make_stage
from outages.cases import CASES, Clouds
from outages.play import BREAKER, DEADLINE_MS, Tally

_NAMES = ("requests", "answers", "cloud", "wrong", "late", "latest ms")
_TIMES = ("jitter p50", "jitter p100", "added ms", "recovered ms")


def row(name: str, tally: Tally) -> Row:
    return {"what": name, **dict(zip((*_NAMES, *_TIMES), cells(tally), strict=True))}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=1000, help="requests of each fault")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    parser.add_argument("--page", type=Path, help="page to write the results to")
    settings = parser.parse_args()
    with (
        machine_jitter() as machine,
        tempfile.TemporaryDirectory() as folder,
        Clouds(make_stage(Path(folder))) as clouds,
    ):
        tallies = {case.name: case.play(clouds, settings.rounds) for case in track(CASES, "fault")}
    settings.seed = 0
    report("Faults", [row(name, tally) for name, tally in tallies.items()], settings)
    print(f"deadline {DEADLINE_MS:g} ms, probe interval at most {BREAKER.longest_ms:g} ms")
    print(f"a process that only sleeps wakes {machine['p100_ms']:.1f} ms late at most")
    if settings.page is not None:
        write_page(settings.page, tallies, machine)


if __name__ == "__main__":
    main()
