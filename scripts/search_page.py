"""Write docs/results/joint-search.md from the summaries of a supernet and of a joint search.

python scripts/search_page.py runs/cifar10-pairs/summary.json [runs/small-supernet/summary.json]

Without that of a supernet, what the page says of it stays. A generated part stands between
``<!-- part: NAME -->`` and ``<!-- end -->``: it is replaced, and all else on the page is kept. The
chart is written beside it.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

from hybridge.report.pair_tables import (
    accuracy_chart,
    correlation_line,
    hybrids_table,
    left_out_lines,
    networks_table,
    speed_lines,
)
from hybridge.report.tables import Column, Table

Row = dict[str, Any]
TARGET = Path(__file__).parent.parent / "docs/results/joint-search.md"
CHART = "joint-search.svg"
HEAD = """# Joint search

```bash
hybridge supernet train recipes/small_supernet.yaml --json supernet.json
hybridge search recipes/cifar10_pairs.yaml --json out.json
```

Tables are written by `scripts/search_page.py` from the summaries of the two runs.

<!-- part: supernet -->
<!-- end -->

<!-- part: found -->
<!-- end -->

<!-- part: hybrids -->
<!-- end -->

<!-- part: speed -->
<!-- end -->
"""
_PART = re.compile(r"(<!-- part: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> None:
    """Write the page and its chart."""
    if len(sys.argv) not in (2, 3):
        sys.exit("expected summary.json of a joint search, and that of a supernet if it is new")
    search, *supernet = (json.loads(Path(path).read_text()) for path in sys.argv[1:])
    page = TARGET.read_text() if TARGET.exists() else HEAD
    TARGET.write_text(with_parts(page, search, *supernet))
    if "hybrids" in search:
        (TARGET.parent / CHART).write_text(f"{accuracy_chart(search)}\n")


def with_parts(page: str, search: Row, supernet: Row | None = None) -> str:
    """Return the page with its generated parts written anew."""
    parts = {
        "found": f"## What was found\n\n{networks_table(search).markdown()}",
        "hybrids": hybrids(search),
        "speed": "## The search\n\n"
        + "\n".join(f"- {line}" for line in [*speed_lines(search), *left_out_lines(search)]),
    }
    if supernet is not None:
        parts["supernet"] = subnets(supernet)
    return _PART.sub(
        lambda match: f"{match[1]}{parts[match[2]]}\n{match[3]}" if match[2] in parts else match[0],
        page,
    )


def subnets(summary: Row) -> str:
    """Return how subnets do, beside the same trained by themselves."""
    alone = {(row["architecture"], row["resolution"]): row for row in summary["alone"]}
    rows = []
    for row in summary["rows"]:
        rival = alone.get((row["architecture"], row["resolution"]))
        rows.append(
            (
                row["name"],
                f"`{row['architecture']}`",
                row["resolution"],
                1e6 * row["macs_m"],
                row["accuracy"] / 100,
                row["accuracy_without_recalibration"] / 100,
                None if rival is None else rival["accuracy"] / 100,
            )
        )
    columns = (
        *(Column("Subnet"), Column("Kernels, expansions, depths"), Column("Pixels", "number")),
        *(Column("MACs", "count"), Column("Accuracy", "percent")),
        *(Column("Not recalibrated", "percent"), Column("Trained alone", "percent")),
    )
    phases = ", ".join(f"{phase['name']} {phase['epochs']}" for phase in summary["phases"])
    return f"""## The supernet

{summary["family"]}, {summary["epochs"]} epochs in all ({phases}); alone means as many epochs of
that network by itself. Validation images, which nothing was trained on.

{Table(columns, rows).markdown()}"""


def hybrids(summary: Row) -> str:
    """Return pairs as hybrids beside single networks: table 2 and figure 4 in kind."""
    if "hybrids" not in summary:
        return "## As hybrids\n\nNone were made."
    said = "\n\n".join(correlation_line(summary))
    return f"""## As hybrids (table 2 and figure 4 in kind)

{hybrids_table(summary).markdown()}

![Accuracy over mean MACs of hybrids and single networks]({CHART})

{said}"""


if __name__ == "__main__":
    main()
