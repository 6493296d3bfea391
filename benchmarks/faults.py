"""What becomes of requests when link or cloud fail: real processes, real sockets, every fault.

A third of the requests come before each fault, a third during it, a third after it. All of them
want the cloud, within a deadline; the edge's answer is the way out. Late is more than 10 ms after
the deadline. `jitter` is how late a thread that sleeps for a millisecond wakes at the same time:
what the machine itself does. `added` is what a request takes once the cloud is left alone, less
what it takes without a cloud; `recovered` is from the end of the fault to the beginning of the
first request that the cloud answered.

    python benchmarks/faults.py --rounds 1000 --json faults.json
"""

import sys
import tempfile
from pathlib import Path

from common import Row, arguments, report

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from hybridge.progress import track
from outages.bundles import make_stage
from outages.cases import CASES, Clouds
from outages.play import BREAKER, DEADLINE_MS, Tally


def row(name: str, tally: Tally) -> Row:
    added_ms, recovered_ms = tally.added_median_ms, tally.recovered_ms
    return {
        "what": name,
        "requests": str(tally.requests),
        "answers": str(tally.answers),
        "cloud": str(tally.from_cloud),
        "wrong": str(tally.wrong),
        "late": str(tally.late),
        "latest ms": tally.latest_ms,
        "jitter p50": tally.jitter_p50_ms,
        "jitter p100": tally.jitter_p100_ms,
        "added ms": "-" if added_ms is None else f"{added_ms:.3f}",
        "recovered ms": "-" if recovered_ms is None else f"{recovered_ms:.0f}",
    }


def main() -> None:
    settings = arguments(__doc__, rounds=1000)
    with tempfile.TemporaryDirectory() as folder, Clouds(make_stage(Path(folder))) as clouds:
        rows = [
            row(case.name, case.play(clouds, settings.rounds)) for case in track(CASES, "fault")
        ]
    report("Faults", rows, settings)
    print(f"deadline {DEADLINE_MS:g} ms, probe interval at most {BREAKER.longest_ms:g} ms")


if __name__ == "__main__":
    main()
