"""Write docs/results/policies.md from what policies did over recorded uplinks."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from common import Row
from pages.table import table

#: Two standard errors are as good as a 95 % interval.
_ERRORS = 2.0


_NAMES = (
    *("gained, points", "by a deadline", "p95 of fixed, ms", "of cost", "with a deadline"),
    *("p95 saved, ms", "by a deadline", "accuracy by which", "by a deadline"),
)


def write_page(
    target: Path,
    found: Mapping[str, Sequence[Row]],
    shifts: Sequence[Row],
    settings: argparse.Namespace,
) -> None:
    """Write the page.

    Args:
        target: The file.
        found: For each load, one row for each trace: accuracies and p95 of both policies, at
            equal p95 and at equal accuracy.
        shifts: Coverage under a shift of classes, one for each policy.
        settings: What was asked for.
    """
    count = len(next(iter(found.values())))
    target.write_text(f"""# Policies over recorded uplinks

```bash
make policies
```

`cost` against `fixed` over {count} recorded uplinks, by emulation: every trace is cut in the
middle; threshold, worth of a point and deadline are chosen on the first half, and on one half of
the rehearsed inputs; what is told here is of the other halves. Beside `cost` stands `fixed` with a
deadline, which makes the runtime leave unasked what would be late: it follows the link, too. Device
`{settings.device}`, cloud `{settings.cloud}`, round trip of `{settings.link}`,
{settings.requests:,} requests each. Written by `benchmarks/policies.py`.

The yardstick is `fixed` at {settings.coverage:.0%} coverage. At equal p95: each policy's most
accurate setting of those that were no later than the yardstick on the first half. At equal
accuracy: its quickest of those that were no less accurate. On the second half they are not quite
equal any more, so both figures are told. The first five columns are at equal p95: points gained by
`cost` and by a deadline over `fixed`, and the p95 of all three. The others are at equal accuracy:
what p95 `cost` and a deadline save, and by how many points they are more accurate all the same.
Means over traces, ± two standard errors.

{chr(10).join(_of_load(name, rows) for name, rows in found.items())}
How to read it: once more than one request in twenty is sent, p95 is what a message takes, however
many are sent, unless they wait for one another. So at equal p95 every policy may send about as many
as it likes, and all come near the most that this pair has to give: everything sent and fused is
{_points(found, "all sent")} points right on average on the first load, the yardstick
{_points(found, "yardstick")}. That is all there is to be gained between them.

## Coverage under a shift of classes

`coverage:{settings.coverage:g}` and the threshold that kept as much of the tuning inputs, over one
stream: midway the easy classes become few and the hard ones many. Shares in percent, of all
requests, before and after, and the least and most over any 500 of them.

{table(list(shifts[0]), [[_cell(value) for value in row.values()] for row in shifts])}

{chr(10).join(_every_trace(name, rows) for name, rows in found.items())}""")


def _points(found: Mapping[str, Sequence[Row]], what: str) -> str:
    rows = next(iter(found.values()))
    return f"{np.mean([float(row[f'{what} accuracy']) for row in rows]):.2f}"


def _of_load(name: str, rows: Sequence[Row]) -> str:
    cellular = [row for row in rows if "wifi" not in str(row["what"])]
    wifi = [row for row in rows if "wifi" in str(row["what"])]
    groups = {"cellular (mahimahi, Orange)": cellular, "Wi-Fi (Solis)": wifi, "all": rows}
    lines = [_mean_line(each, group) for each, group in groups.items() if group]
    return f"## With {name}\n\n{table(['traces', *_NAMES], lines)}\n"


def _every_trace(name: str, rows: Sequence[Row]) -> str:
    lines = [[f"`{row['what']}`", *map(_form, differences(row), _DIGITS)] for row in rows]
    return f"## Every trace: {name}\n\n{table(['trace', *_NAMES], lines)}\n"


def differences(row: Row) -> list[float]:
    """Return what the page's columns say of one trace, in their order."""
    at = {key: float(value) for key, value in row.items() if key != "what"}

    def beyond_fixed(kind: str, what: str, purpose: str) -> float:
        return at[f"{kind} {what} at equal {purpose}"] - at[f"fixed {what} at equal {purpose}"]

    kinds = ("cost", "bounded")
    return [
        *(beyond_fixed(kind, "accuracy", "p95") for kind in kinds),
        *(at[f"{kind} p95 at equal p95"] for kind in ("fixed", *kinds)),
        *(-beyond_fixed(kind, "p95", "accuracy") for kind in kinds),
        *(beyond_fixed(kind, "accuracy", "accuracy") for kind in kinds),
    ]


_DIGITS = (2, 2, 0, 0, 0, 0, 0, 2, 2)


def _form(value: float, digits: int) -> str:
    return f"{value:.{digits}f}"


def _mean_line(name: str, rows: Sequence[Row]) -> list[str]:
    values = np.array([differences(row) for row in rows])
    spread = values.std(axis=0, ddof=1) if len(rows) > 1 else np.zeros(values.shape[1])
    errors = _ERRORS * spread / np.sqrt(len(rows))
    cells = [
        f"{_form(mean, digits)} ± {_form(error, digits)}"
        for mean, error, digits in zip(values.mean(axis=0), errors, _DIGITS, strict=True)
    ]
    return [f"{name}, {len(rows)}", *cells]


def _cell(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.1f}"
