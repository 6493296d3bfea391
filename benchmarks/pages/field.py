"""Write docs/results/field.md from what the field test measured."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from common import Row
from pages.table import table

PAIRS = ("ms", "p50", "p95", "asked", "right", "fell back")


def write_page(
    target: Path,
    rows: Sequence[Row],
    settings: argparse.Namespace,
    wire_share: float,
    message_ms: float,
) -> None:
    """Write the page.

    Args:
        target: The file.
        rows: One for each trace, with a measured and an emulated figure for each of `PAIRS`.
        settings: What the test was told.
        wire_share: Payload bytes for each byte that crossed.
        message_ms: What a message takes beyond its sending.
    """
    within = "none" if settings.deadline_ms is None else f"{settings.deadline_ms:g} ms"
    ratios = [float(row["emulated ms"]) / float(row["measured ms"]) for row in rows]
    names = ["trace", "requests", *(f"{pair}, measured / emulated" for pair in PAIRS), "latest ms"]
    target.write_text(f"""# Field test

```bash
make field
```

Two processes in two network namespaces joined by a veth pair, real gRPC; `tc ... tbf` lets the
uplink follow a recorded trace, a new rate every quarter of a second. Requests come at a fixed rate.
Beside it, the same requests emulated over the same trace. Written by `benchmarks/field.py`, which
takes root, `ip` and `tc`.

{table(names, map(_line, rows))}

Latencies in milliseconds; `asked` is the share of requests of which a message left the device,
`right` the share answered rightly, `fell back` how many wanted the cloud and got the edge's answer.

Bundle `{settings.bundle}`, {settings.rate:g} requests a second, deadline {within}, on
{os.cpu_count()} cores with a load of {os.getloadavg()[0]:.1f}. Measured beforehand, over the
unshaped wire: a message takes {message_ms:.1f} ms beyond its sending, and of the bytes that cross
{wire_share:.0%} are payload; the emulated link is as fast as the trace for all of them. Emulated
mean latency is {min(ratios):.2f} to {max(ratios):.2f} times the measured one.

What the test cannot show: the wire has no loss, no round trip of its own (netem is not in this
kernel), and replies come back unshaped. In an outage the wire lets a packet through every second.
""")


def _line(row: Row) -> list[str]:
    pairs = [
        f"{_cell(row[f'measured {each}'])} / {_cell(row[f'emulated {each}'])}" for each in PAIRS
    ]
    return [f"`{row['what']}`", str(row["requests"]), *pairs, _cell(row["latest ms"])]


def _cell(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:.1f}" if value >= 1.5 else f"{value:.3f}"
