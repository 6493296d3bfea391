"""Write docs/results/policies.md from what policies did over recorded uplinks."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from common import Row
from pages.table import table

#: Two standard errors are as good as a 95 % interval.
_ERRORS = 2.0


def write_page(
    target: Path, rows: Sequence[Row], shifts: Sequence[Row], settings: argparse.Namespace
) -> None:
    """Write the page.

    Args:
        target: The file.
        rows: One for each trace: accuracies and p95 of both policies, at equal p95 and at equal
            accuracy.
        shifts: Coverage under a shift of classes, one for each policy.
        settings: What was asked for.
    """
    groups = {
        "cellular (mahimahi, Orange)": [row for row in rows if "wifi" not in str(row["what"])],
        "Wi-Fi (Solis)": [row for row in rows if "wifi" in str(row["what"])],
        "all": list(rows),
    }
    means = [_mean_line(name, group) for name, group in groups.items() if group]
    each = [[f"`{row['what']}`", *_cells(row)] for row in rows]
    names = [
        "at equal p95: gained, points",
        "p95 by which, ms",
        "at equal accuracy: p95 saved, ms",
        "p95 of fixed, ms",
        "accuracy by which, points",
    ]
    target.write_text(f"""# Policies over recorded uplinks

```bash
python benchmarks/policies.py {settings.bundle} --page {target}
```

`cost` against `fixed` over {len(rows)} recorded uplinks, by emulation: every trace is cut in the
middle; threshold, worth of a point and deadline are chosen on the first half, and on one half of
the rehearsed inputs; what is told here is of the other halves. Device `{settings.device}`, cloud
`{settings.cloud}`, round trip of `{settings.link}`, {settings.rate:g} requests a second,
{settings.requests:,} requests each. Written by `benchmarks/policies.py`.

The yardstick is `fixed` at {settings.coverage:.0%} coverage. At equal p95: each policy's most
accurate setting of those that were no later than the yardstick on the first half. At equal
accuracy: its quickest of those that were no less accurate. On the second half neither is quite
equal any more, so both differences are told.

{table(["traces", *names], means)}

Means over traces, ± two standard errors.

## Coverage under a shift of classes

`coverage:{settings.coverage:g}` and the threshold that kept as much of the tuning inputs, over one
stream: midway the easy classes become few and the hard ones many. Shares in percent, of all
requests, before and after, and the least and most over any 500 of them.

{table(list(shifts[0]), [[_cell(value) for value in row.values()] for row in shifts])}

## Every trace

{table(["trace", *names], each)}
""")


def differences(row: Row) -> list[float]:
    """Return accuracy gained and its p95, then p95 saved, of what, and its accuracy."""
    at = {key: float(value) for key, value in row.items() if key != "what"}
    return [
        at["cost accuracy at equal p95"] - at["fixed accuracy at equal p95"],
        at["cost p95 at equal p95"] - at["fixed p95 at equal p95"],
        at["fixed p95 at equal accuracy"] - at["cost p95 at equal accuracy"],
        at["fixed p95 at equal accuracy"],
        at["cost accuracy at equal accuracy"] - at["fixed accuracy at equal accuracy"],
    ]


def _cells(row: Row) -> list[str]:
    gained, later_ms, saved_ms, fixed_ms, better = differences(row)
    return [
        f"{gained:+.2f}",
        f"{later_ms:+.0f}",
        f"{saved_ms:+.0f}",
        f"{fixed_ms:.0f}",
        f"{better:+.2f}",
    ]


def _mean_line(name: str, rows: Sequence[Row]) -> list[str]:
    values = np.array([differences(row) for row in rows])
    spread = values.std(axis=0, ddof=1) if len(rows) > 1 else np.zeros(values.shape[1])
    errors = _ERRORS * spread / np.sqrt(len(rows))
    digits = (2, 0, 0, 0, 2)
    cells = [
        f"{mean:.{places}f} ± {error:.{places}f}"
        for mean, error, places in zip(values.mean(axis=0), errors, digits, strict=True)
    ]
    return [f"{name}, {len(rows)}", *cells]


def _cell(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.1f}"
