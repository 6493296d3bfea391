"""Write the generated parts of docs/results/model-tree.md from summaries of model-tree runs.

python scripts/tree_page.py runs/*-tree/summary.json

A generated part stands between ``<!-- tree: NAME -->`` and ``<!-- end -->``: what stands there is
replaced, and all else on the page is kept. Parts that the page lacks are appended. A chart of the
searchers of each run is written beside it.
"""

import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hybridge.report.tables import Column, Table
from hybridge.report.tree_search import closeness_table, search_chart
from hybridge.report.tree_tables import (
    all_means,
    device_tables,
    distilled_table,
    findings,
    library_line,
    methods_table,
    seconds,
)

Row = dict[str, Any]
TARGET = Path(__file__).parent.parent / "docs/results/model-tree.md"
HEAD = """# Model trees

```bash
hybridge tree search recipes/vgg11_tree.yaml --json out.json
```

Tables are written by `scripts/tree_page.py` from the summaries of runs. Offline: expected over
types of bandwidth, every type as likely as another. Emulated: over the second halves of recorded
traces. Measured: between two processes over a shaped link. Surgery and branch are decided anew for
every request, or once where that is said. Accuracies are in percent of images that no search saw.
"""
_PART = re.compile(r"(<!-- tree: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> None:
    """Write the page and its charts."""
    if len(sys.argv) < 2:
        sys.exit("expected one or several summary.json of model-tree runs; got none")
    summaries = [json.loads(Path(path).read_text()) for path in sys.argv[1:]]
    page = TARGET.read_text() if TARGET.exists() else HEAD
    TARGET.write_text(with_parts(page, summaries))
    for summary in summaries:
        for name, svg in charts(summary):
            (TARGET.parent / name).write_text(f"{svg}\n")


def with_parts(page: str, summaries: Sequence[Row]) -> str:
    """Return a page with its generated parts written anew, and those appended that it lacks."""
    parts = {"overview": overview(summaries)}
    parts |= {summary["name"]: network_part(summary) for summary in summaries}
    found = {match[2] for match in _PART.finditer(page)}

    def written(match: re.Match[str]) -> str:
        return match[0] if match[2] not in parts else f"{match[1]}{parts[match[2]]}\n{match[3]}"

    page = _PART.sub(written, page)
    more = [
        f"\n<!-- tree: {name} -->\n{part}\n<!-- end -->\n"
        for name, part in parts.items()
        if name not in found
    ]
    return page.rstrip("\n") + "\n" + "".join(more)


def overview(summaries: Sequence[Row]) -> str:
    """Return what the tree saves against the stronger surgery, a row for each network and kind."""
    rows = [
        (
            *(summary["name"], which, row["kind"], row["stronger"]),
            *(f"{row['latency_saved_percent']:.1f} %", f"{row['accuracy_lost']:.2f}"),
            f"{row['reward_gained']:+.1f}",
        )
        for summary in summaries
        for which, comparison in (
            ("as they are", summary["against_surgery"]),
            ("slowed", summary.get("slowed", {}).get("against_surgery", ())),
        )
        for row in comparison
    ]
    columns = (
        *(Column("Run"), Column("Devices"), Column("Kind"), Column("Against")),
        *(Column("Latency saved", "number"), Column("Points of accuracy lost", "number")),
        Column("Reward gained", "number"),
    )
    return f"""## The tree against the stronger surgery

{Table(columns, rows).markdown()}"""


def network_part(summary: Row) -> str:
    """Return everything that is said of one run."""
    return "\n\n".join(
        [
            head(summary),
            *_sections("Offline rewards (table III)", _rewards(summary, "offline")),
            *_sections("Emulated rewards (table IV)", _rewards(summary, "emulated")),
            *_sections("Measured rewards (table V)", _rewards(summary, "measured")),
            *_sections("Every scene and method", device_tables(summary["rows"])),
            *_sections("Means", all_means(summary)),
            *search_part(summary),
            *library_part(summary),
        ]
    )


def head(summary: Row) -> str:
    """Return what was run, and what it came to in a sentence each."""
    original = summary["original"]
    said = "\n".join(f"- {sentence}" for sentence in findings(summary))
    return f"""## {summary["name"]}

{summary["network"]}, {original["macs_m"]:.1f} M MACs, {original["reporting_accuracy"]:.2f} % of the
reporting images right ({original["calibration_accuracy"]:.2f} % of the calibration images), an
image {original["input_bytes"]:.0f} bytes on average.

{said}"""


def search_part(summary: Row) -> Iterator[str]:
    """Yield how near each searcher comes to the best tree, and the chart of their curves."""
    if summary["search"]:
        yield "### Searchers (figure 7)"
        for name, _ in charts(summary):
            yield f"![Best reward so far of each searcher]({name})"
        near = closeness_table(summary["search"])
        if near is not None:
            yield from _shown(near)


def library_part(summary: Row) -> Iterator[str]:
    """Yield what the library took, and how far its accuracies are from the paper's way."""
    library = summary["library"]
    variants = library["variants"]
    yield (
        f"### The library\n\n{len(variants)} variants, trained by themselves in "
        f"{library['seconds_alone']:.0f} s and together in {library['seconds_together']:.0f} s. "
        f"Searched: {_searched(library['searched'])}."
    )
    yield _variants(variants).markdown()
    if summary["library_against_distill"]["compositions"]:
        yield from _shown(distilled_table(summary))
    else:
        yield library_line(summary)


def charts(summary: Row) -> Iterator[tuple[str, str]]:
    """Yield the file name and the SVG of each chart of a run."""
    if summary["search"]:
        for over in ("evaluations", "seconds"):
            yield f"{summary['name']}-{over}.svg", search_chart(summary["search"], over)


def _rewards(summary: Row, kind: str) -> list[Table]:
    rows = [row for row in summary["rows"] if row["kind"] == kind]
    return [methods_table(rows, kind, "reward", "")] if rows else []


def _sections(title: str, tables: Sequence[Table]) -> list[str]:
    """Return tables below a title; nothing where there are none."""
    return [f"### {title}", *(text for table in tables for text in _shown(table))] if tables else []


def _shown(table: Table) -> Iterator[str]:
    if table.caption:
        yield f"{table.caption.rstrip('.')}:"
    yield table.markdown()


def _variants(variants: Sequence[Row]) -> Table:
    rows = [(row["unit"], row["option"], row["error"], seconds(row["seconds"])) for row in variants]
    columns = (
        *(Column("Layer"), Column("Variant"), Column("Error", "number")),
        Column("Training", "number"),
    )
    return Table(columns, rows)


def _searched(searched: dict[str, list[str]]) -> str:
    return "; ".join(f"`{layer}` {', '.join(names)}" for layer, names in searched.items())


if __name__ == "__main__":
    main()
