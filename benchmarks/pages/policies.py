"""Write docs/results/policies.md from what policies did over recorded uplinks."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from common import Row
from pages.table import table

#: Two standard errors are as good as a 95 % interval.
_ERRORS = 2.0

Figures = Mapping[str, float]
Reckon = Callable[[Figures], float]
_MOST = "most accurate"


def _figure(kind: str, figure: str, choice: str) -> Reckon:
    return lambda at: at[f"{kind} {figure}, {choice}"]


def _beyond_fixed(kind: str, figure: str, choice: str, sign: float = 1.0) -> Reckon:
    own, fixed = _figure(kind, figure, choice), _figure("fixed", figure, choice)
    return lambda at: sign * (own(at) - fixed(at))


def _savings(figure: str, choice: str) -> tuple[tuple[str, Reckon], ...]:
    lines: list[tuple[str, Reckon]] = [
        (f"**no less accurate**: {figure} of `fixed`, ms", _figure("fixed", figure, choice))
    ]
    for kind, name in (("cost", "`cost`"), ("bounded", "a deadline")):
        lines += [
            (f"{figure} saved by {name}, ms", _beyond_fixed(kind, figure, choice, -1.0)),
            ("while accuracy moves by, points", _beyond_fixed(kind, "accuracy", choice)),
        ]
    return tuple(lines)


#: What is told of a load: a name, and how it is reckoned from the figures of one trace.
_LINES: tuple[tuple[str, Reckon], ...] = (
    ("**no later in p95**: points gained by `cost`", _beyond_fixed("cost", "accuracy", _MOST)),
    ("points gained by a deadline", _beyond_fixed("bounded", "accuracy", _MOST)),
    ("p95 of `fixed`, ms", _figure("fixed", "p95", _MOST)),
    ("p95 of `cost`, ms", _figure("cost", "p95", _MOST)),
    ("p95 with a deadline, ms", _figure("bounded", "p95", _MOST)),
    *_savings("p95", "lowest p95"),
    *_savings("mean", "lowest mean"),
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
        found: For each load, one row for each trace: accuracies, p95 and mean latencies of the
            policies, for each of the choices.
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

The yardstick is `fixed` at {settings.coverage:.0%} coverage. No later in p95: each policy's most
accurate setting of those that were no later than the yardstick on the first half. No less accurate:
its quickest of those that were no less accurate, by p95 and by mean. On the second half they are
not quite equal any more, so that both figures are told. Means over traces, ± two standard errors;
`--json` gives every trace.

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
""")


def _points(found: Mapping[str, Sequence[Row]], what: str) -> str:
    rows = next(iter(found.values()))
    return f"{np.mean([float(row[f'{what} accuracy']) for row in rows]):.2f}"


def _of_load(name: str, rows: Sequence[Row]) -> str:
    groups = {
        "cellular (mahimahi, Orange)": [row for row in rows if "wifi" not in str(row["what"])],
        "Wi-Fi (Solis)": [row for row in rows if "wifi" in str(row["what"])],
        "all": rows,
    }
    found = {f"{each}, {len(group)}": _figures(group) for each, group in groups.items() if group}
    lines = [
        [what, *(_mean([reckon(at) for at in figures]) for figures in found.values())]
        for what, reckon in _LINES
    ]
    return f"## With {name}\n\n{table(['', *found], lines)}\n"


def _figures(rows: Sequence[Row]) -> list[Figures]:
    return [{key: float(value) for key, value in row.items() if key != "what"} for row in rows]


def _mean(values: Sequence[float]) -> str:
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return f"{np.mean(values):.2f} ± {_ERRORS * spread / np.sqrt(len(values)):.2f}"


def _cell(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.1f}"
