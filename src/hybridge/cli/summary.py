"""The figures of a run as tables for a terminal, and as a file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.text import Text

from hybridge.cli.output import show
from hybridge.files import write_json
from hybridge.report.tables import Column, Table
from hybridge.report.values import Spread, Value

Row = dict[str, Any]

_BOUNDS = ("random", "agreement_oracle", "label_oracle")


def write_summary(summary: Row, path: Path | None) -> None:
    """Write the figures as JSON, all or nothing; does nothing without a path."""
    if path is not None:
        write_json(path, summary)


def show_summary(summary: Row) -> None:
    """Print accuracies, operating points, paired differences and query rates."""
    base, global_ = summary["base_accuracy"], summary["global_accuracy"]
    show(
        Text(
            f"{summary['name']}, mode {summary['mode']}, seed {summary['seed']}: "
            f"base {base:.2f} %, global {global_:.2f} %, on all held-out images\n"
        )
    )
    for table in (_points(summary), _differences(summary), _matching(summary)):
        show(table.rich())
        show("")


def _points(summary: Row) -> Table:
    rows: list[tuple[Value, ...]] = []
    strong = set()
    for row in _shown_points(summary):
        if row["method"] == "router":
            strong.add(len(rows))
        rows.append(
            (
                _share(row["coverage"]),
                _name(row["method"], row["fused"]),
                _spread(row["accuracy_mean"], row["accuracy_std"]),
                _percent(row["accuracy_kept_mean"]),
                f"{row['gain_over_global_mean']:+.2f}",
                1e6 * row["macs_m"],
            )
        )
    columns = (
        Column("Coverage"),
        Column("Method"),
        Column("Accuracy", "percent"),
        Column("Accuracy if kept", "percent"),
        Column("Gain over global", "number"),
        Column("MACs", "count"),
    )
    caption = f"Operating points on the reporting halves, mean ± deviation, {_splits(summary)}"
    return Table(columns, rows, caption, frozenset(strong))


def _shown_points(summary: Row) -> Iterator[Row]:
    """Yield the points worth a line, coverage by coverage: of the confidences, the best."""
    points = {
        (row["coverage"], row["method"], row["fused"]): row
        for row in (*summary["operating_points"], *summary["more_methods"])
    }
    best = {
        (row["coverage"], row["fused"]): row["best"]
        for row in summary["router_minus_best_confidence"]
    }
    for coverage in dict.fromkeys(coverage for coverage, _ in best):
        for fused in (False, True):
            for method in ("router", best[coverage, fused]):
                yield points[coverage, method, fused]
        for method in _BOUNDS:
            yield points[coverage, method, False]


def _differences(summary: Row) -> Table:
    rows: list[tuple[Value, ...]] = []
    for row in summary["router_minus_best_confidence"]:
        against = _name(row["best"], row["fused"])
        rows.append((_share(row["coverage"]), _name("router", row["fused"]), against, *_gap(row)))
    for row in summary["fused_gain_over_global"]:
        rows.append((_share(row["coverage"]), _name("router", True), "global alone", *_gap(row)))
    columns = (
        Column("Coverage"),
        Column("Method"),
        Column("Against"),
        Column("Points", "number"),
        Column("95 % interval", "number"),
    )
    return Table(columns, rows, f"Paired differences in accuracy, {_splits(summary)}")


def _matching(summary: Row) -> Table:
    rows = [
        (
            _name(row["method"], row["fused"]),
            Spread(row["mean"], row["std"]),
            f"{row['accuracy_minus_global_mean']:+.2f}",
            1e6 * row["macs_m"],
        )
        for row in summary["query_rate_to_match_cloud"]
        if row["method"] not in _BOUNDS
    ]
    columns = (
        Column("Method"),
        Column("Query rate", "percent"),
        Column("Gain over global", "number"),
        Column("MACs", "count"),
    )
    return Table(columns, rows, "Query rate needed to match the global")


def _gap(row: Row) -> tuple[str, str]:
    mean = f"{row['mean']:+.2f}"
    if row["low"] is None:
        return mean, "needs two splits"
    return mean, f"{row['low']:+.2f} to {row['high']:+.2f}"


def _name(method: str, fused: bool) -> str:
    return method.replace("_", " ") + (", fused" if fused else "")


def _share(coverage: float) -> str:
    return f"{coverage:.0%}"


def _percent(value: float | None) -> Value:
    return None if value is None else value / 100


def _spread(mean: float, deviation: float) -> Spread:
    return Spread(mean / 100, deviation / 100)


def _splits(summary: Row) -> str:
    count = summary["splits"]
    return "1 split" if count == 1 else f"{count} splits"
