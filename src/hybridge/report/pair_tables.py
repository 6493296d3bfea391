"""A joint search's summary as tables, sentences and figures: table 2 and figure 4 in kind."""

from typing import Any

import numpy as np

from hybridge.report.charts import Line, Role
from hybridge.report.figures import accuracy_over_macs
from hybridge.report.tables import Column, Table

Row = dict[str, Any]


def limits_text(given: dict[str, float], digits: int = 6) -> str:
    """Return limits, or what is spent of them, as a table has them."""
    return ", ".join(f"{name} {value:.{digits}g}" for name, value in given.items())


def networks_table(summary: Row) -> Table:
    """Return what was found for every limit, as it does on the validation images."""
    columns = [
        Column("Limit"),
        Column("Found by"),
        Column("Base"),
        Column("Global"),
        Column("By agreement", "percent"),
        Column("By confidence", "percent"),
        Column("Base alone", "percent"),
        Column("Sent", "percent"),
        Column("MACs", "count"),
        Column("Cost"),
        Column("Within"),
    ]
    rows = [
        [
            limits_text(row["limits"]),
            row["method"],
            row["base"],
            row["global"] or "",
            row["agreement_score"] / 100,
            row["confidence_score"] / 100,
            row["base_accuracy"] / 100,
            row["query_rate"],
            1e6 * row["macs_m"],
            limits_text({name: row[name] for name in row["limits"]}, digits=4),
            "yes" if row["within_limits"] else "no",
        ]
        for row in [*summary["pairs"], *summary["networks"]]
    ]
    caption = (
        f"{summary['name']}: networks of {summary['family']} on the validation images; accuracy "
        "under the agreement oracle, and where what the base is least sure of is sent"
    )
    return Table(columns, rows, caption)


def hybrids_table(summary: Row) -> Table:
    """Return how pairs do as hybrids on the held-out images, and single networks beside them."""
    columns = [
        Column("Limit"),
        Column("Found by"),
        Column("Mode"),
        Column("Decided by"),
        Column("Kept", "percent"),
        Column("MACs", "count"),
        Column("Accuracy", "percent"),
        Column("± over seeds", "percent"),
        Column("Base", "percent"),
        Column("Global", "percent"),
    ]
    rows: list[tuple[dict[str, float], list[Any]]] = [
        (
            row["limits"],
            [
                limits_text(row["limits"]),
                row["method"],
                row["mode"],
                row["decided_by"] + (", fused" if row["fused"] else ""),
                row["coverage"],
                1e6 * row["macs_m"],
                row["accuracy"] / 100,
                row["accuracy_std"] / 100,
                row["base_accuracy"] / 100,
                row["global_accuracy"] / 100,
            ],
        )
        for row in summary["hybrids"]
    ]
    rows += [
        (
            row["limits"],
            [
                limits_text(row["limits"]),
                _single(row),
                "",
                "",
                1.0,
                1e6 * row["macs_m"],
                row["accuracy"] / 100,
                row["accuracy_std"] / 100,
                None,
                None,
            ],
        )
        for row in summary["singles"]
    ]
    rows.sort(key=lambda row: tuple(row[0].items()))
    return Table(
        columns, [row for _, row in rows], "As hybrids that spend the limit, on the held-out images"
    )


def speed_lines(summary: Row) -> list[str]:
    """Say what every search took."""
    return [
        f"{limits_text(row['limits'])}, {row['method']}: {row['evaluations']:,} "
        f"evaluations of networks, {row['candidates_scored']:,} candidates scored "
        f"({row['candidates_scored_per_second']:,.0f} a second), {row['seconds']:,.0f} s; "
        f"evaluating each afresh would take {row['times_faster_than_afresh']:.1f} times as long."
        for row in summary["searches"]
    ]


def left_out_lines(summary: Row) -> list[str]:
    """Say what was not found, under which limit and why."""
    return [
        f"Left out: {limits_text(each['limits'])}, {each['method']}: {each['why']}."
        for each in summary["left_out"]
    ]


def fronts_table(summary: Row) -> Table:
    """Return the pairs that nothing is better and cheaper than, for every limit."""
    columns = [
        Column("Limit"),
        Column("Base"),
        Column("Global"),
        Column("By agreement", "percent"),
        Column("Cost"),
    ]
    rows = [
        [
            limits_text(front["limits"]),
            point["base"],
            point["global"],
            point["score"] / 100,
            limits_text({next(iter(front["limits"])): point["cost"]}, digits=4),
        ]
        for front in summary["fronts"]
        for point in front["points"]
    ]
    return Table(columns, rows, "Fronts of accuracy against cost, on the validation images")


def correlation_line(summary: Row) -> list[str]:
    """Say how the agreement oracle ranks pairs, against their hybrids."""
    found = summary.get("oracle_against_hybrid")
    if found is None:
        return []
    said = (
        f"Over {found['pairs']} pairs the agreement oracle's score on the validation images and "
        f"the trained hybrid's accuracy on the held-out ones, where it spends the limit, have a "
        f"rank correlation of {_ranks(found)}"
    )
    if found["at_oracle_rate"] is not None:
        said += f"; where it sends as much as the oracle does, of {_ranks(found['at_oracle_rate'])}"
    if found["by_confidence"] is not None:
        said += f"; the score by confidence, where it spends, of {_ranks(found['by_confidence'])}"
    within = [
        f"{limits_text(each['limits'])} {_ranks(each['by_agreement'])} and "
        f"{_ranks(each['by_confidence'])}"
        for each in found["within"]
        if each["by_agreement"] and each["by_confidence"]
    ]
    lines = [f"{said}."]
    if within:
        lines.append(f"Within one limit, by agreement and by confidence: {'; '.join(within)}.")
    return lines


def _single(row: Row) -> str:
    return "single network, trained on" if row["trained_on"] else "single network"


def _ranks(found: Row) -> str:
    return f"{found['spearman']:.2f} (p = {found['p_value']:.2g})"


def accuracy_chart(summary: Row) -> str:
    """Return figure 4 in kind as SVG: accuracy over mean MACs, of hybrids and single networks."""
    fused = [row for row in summary["hybrids"] if row["decided_by"] == "router" and row["fused"]]
    groups: dict[str, list[Row]] = {}
    for row in summary["singles"]:
        groups.setdefault(_single(row), []).append(row)
    for row in fused:
        searched = row["method"].startswith("pair")
        name = f"{row['method']}, mode {row['mode']}" if searched else row["method"]
        groups.setdefault(name, []).append(row)
    return accuracy_over_macs([_line(name, rows) for name, rows in groups.items() if rows])


def _line(name: str, rows: list[Row]) -> Line:
    points = np.array(sorted((1e6 * row["macs_m"], row["accuracy"] / 100) for row in rows))
    joined = name.startswith(("single network", "pair"))
    role: Role = "main" if name.startswith("pair") else "other"
    return Line(name, points[:, 0], points[:, 1], role=role, dots=not joined)
