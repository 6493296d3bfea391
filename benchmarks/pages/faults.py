"""Write docs/results/faults.md from what became of requests in every fault."""

import os
from collections.abc import Mapping
from pathlib import Path

from pages.table import table

from outages.play import BREAKER, DEADLINE_MS, GRACE_MS, Tally

_NAMES = (
    *("fault", "requests", "answers", "cloud's", "wrong", "late", "latest ms"),
    *("jitter p50", "jitter p100", "added ms", "recovered ms"),
)


def write_page(target: Path, tallies: Mapping[str, Tally], machine: Mapping[str, float]) -> None:
    """Write the page; ``tallies`` are by the fault's name, ``machine`` is that of `outside`."""
    rows = [[name, *cells(tally)] for name, tally in tallies.items()]
    target.write_text(f"""# Faults

```bash
make faults
```

What becomes of requests when link or cloud fail: `hybridge serve` as a process of its own, real
sockets, a proxy that misbehaves in between. A third of the requests come before the fault, a third
during it, a third after it; all want the cloud within {DEADLINE_MS:g} ms, and the base's answer is
the way out. Written by `benchmarks/faults.py`; the same runs are `make test-slow`.

{table(_NAMES, rows)}

- **wrong**: neither the edge's own for that input, where it is marked as the edge's, nor the
  cloud's own, where it is marked as the cloud's.
- **late**: more than {GRACE_MS:g} ms after the deadline; **latest** is the last of all answers,
  after its deadline (negative: before it). **jitter** is how late a thread of the edge's process
  that sleeps for a millisecond wakes at the same time.
- **The machine's own**: a process of its own that did nothing but sleep, a millisecond at a time,
  woke {machine["p50_ms"]:.2f} ms late in the median over the whole run, one time in a thousand
  {machine["p999_ms"]:.1f} ms, and {machine["p100_ms"]:.1f} ms at worst.
- **added**: the median of what a request takes once the cloud is left alone, less what the same
  input takes in a runtime without a cloud.
- **recovered**: from the fault's end to the beginning of the first request that the cloud answered.
  The breaker probes at least every {BREAKER.longest_ms:g} ms here.

On {os.cpu_count()} cores with a load of {os.getloadavg()[0]:.1f} from elsewhere: with more to do
than cores, the machine itself is late.
""")


def cells(tally: Tally) -> list[str]:
    """Return a tally's figures as text, in the order of the page's columns."""
    added_ms, recovered_ms = tally.added_median_ms, tally.recovered_ms
    return [
        f"{tally.requests:,}",
        f"{tally.answers:,}",
        f"{tally.from_cloud:,}",
        str(tally.wrong),
        str(tally.late),
        f"{tally.latest_ms:.1f}",
        f"{tally.jitter_p50_ms:.2f}",
        f"{tally.jitter_p100_ms:.1f}",
        "-" if added_ms is None else f"{added_ms:.3f}",
        "-" if recovered_ms is None else f"{recovered_ms:.0f}",
    ]
