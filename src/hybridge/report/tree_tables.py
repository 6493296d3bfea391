"""The figures of model-tree runs as tables and sentences.

All read a run's summary, as `hybridge tree search` writes it: rows of plain data, accuracies in
percent.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hybridge.report.tables import Column, Table
from hybridge.report.values import Kind, Value, format_value

Row = Mapping[str, Any]

_TREE = "tree"
_QUANTITIES: tuple[tuple[str, str, Kind], ...] = (
    ("reward", "reward", "number"),
    ("latency_ms", "latency", "ms"),
    ("accuracy", "accuracy", "percent"),
)


def device_tables(rows: Iterable[Row]) -> list[Table]:
    """Return a table for each device: a row for each scene and method, every kind side by side."""
    by_device: dict[str, list[Row]] = {}
    for row in rows:
        by_device.setdefault(row["device"], []).append(row)
    return [_device_table(device, found) for device, found in by_device.items()]


def _device_table(device: str, rows: Sequence[Row]) -> Table:
    kinds = _each(rows, "kind")
    found = {(row["scene"], row["method"], row["kind"]): row for row in rows}
    lines: list[list[Value]] = []
    strong = set()
    for scene in _each(rows, "scene"):
        shown = scene
        for method in _each((row for row in rows if row["scene"] == scene), "method"):
            if method == _TREE:
                strong.add(len(lines))
            cells = [cell for kind in kinds for cell in _cells(found.get((scene, method, kind)))]
            lines.append([shown, method, *cells])
            shown = ""
    columns = [Column("Scene"), Column("Method"), *_kind_columns(kinds)]
    return Table(columns, lines, device, frozenset(strong))


def means_table(means: Sequence[Row], caption: str) -> Table:
    """Return the means of every method over scenes, every kind side by side.

    Args:
        means: Of a summary: ``means``, or those of ``slowed``.
        caption: What they are means of.
    """
    kinds, methods = _each(means, "kind"), _each(means, "method")
    found = {(row["method"], row["kind"]): row for row in means}
    lines = [
        [method, *(cell for kind in kinds for cell in _cells(found.get((method, kind))))]
        for method in methods
    ]
    strong = frozenset(index for index, method in enumerate(methods) if method == _TREE)
    return Table([Column("Method"), *_kind_columns(kinds)], lines, caption, strong)


def all_means(summary: Row) -> list[Table]:
    """Return `means_table` of the devices as they are, and of slowed ones, where there are such."""
    parts = (
        (summary["means"], "Means over devices and scenes"),
        (summary.get("slowed", {}).get("means", ()), "Means over scenes of slowed devices"),
    )
    return [means_table(means, caption) for means, caption in parts if means]


def methods_table(rows: Sequence[Row], kind: str, quantity: str, caption: str) -> Table:
    """Return one quantity of every method beside the others, a row for each device and scene.

    Args:
        rows: Of a summary.
        kind: ``offline``, ``emulated`` or ``measured``.
        quantity: ``reward``, ``latency_ms`` or ``accuracy``.
        caption: What the table shows.
    """
    rows = [row for row in rows if row["kind"] == kind]
    methods = _each(rows, "method")
    found = {(row["device"], row["scene"], row["method"]): row for row in rows}
    shown = {name: measure for name, _, measure in _QUANTITIES}[quantity]
    lines: list[list[Value]] = [
        [
            *(device, scene),
            *(_cell(found.get((device, scene, method)), quantity) for method in methods),
        ]
        for device, scene in dict.fromkeys((row["device"], row["scene"]) for row in rows)
    ]
    columns = [Column("Device"), Column("Scene"), *(Column(method, shown) for method in methods)]
    return Table(columns, lines, caption)


def findings(summary: Row) -> list[str]:
    """Return in a sentence each what the tree saves, and where sending every image is worth most.

    Args:
        summary: Of a run.
    """
    slowed = summary.get("slowed", {}).get("against_surgery", ())
    found = [_saved(row, "") for row in summary["against_surgery"]]
    found += [_saved(row, " on slowed devices") for row in slowed]
    for kind in _each(summary["cloud_only_wins"], "kind"):
        rows = [row for row in summary["cloud_only_wins"] if row["kind"] == kind]
        places = "; ".join(f"{row['device']} in {row['scene']}" for row in rows)
        found.append(f"{_capital(kind)}, no method is worth more than cloud only for: {places}.")
    return found


def _saved(row: Row, where: str) -> str:
    percent, lost, gained = (
        row["latency_saved_percent"],
        row["accuracy_lost"],
        row["reward_gained"],
    )
    latency = f"{abs(percent):.1f} % {'less' if percent >= 0 else 'more'} latency"
    points = f"{abs(lost):.2f} points {'less' if lost >= 0 else 'more'} accuracy"
    return (
        f"{_capital(row['kind'])}{where}, the tree has {latency} than {row['stronger']!r}, the "
        f"stronger kind of surgery, for {points}; its reward is {gained:+.1f}."
    )


def library_line(summary: Row) -> str:
    """Return in a sentence how far the library's accuracies are from the paper's way."""
    errors = summary["library_against_distill"]
    if errors["mean_error"] is None:
        return "The library was not compared with training every composition."
    return (
        f"Over {len(errors['compositions'])} random compositions, the library's accuracy is "
        f"{errors['mean_error']:+.2f} points from that of training each as the paper does "
        f"(mean of absolute differences {errors['mean_absolute_error']:.2f})."
    )


def distilled_table(summary: Row) -> Table:
    """Return the accuracies of compositions by the library, and trained as the paper does."""
    rows = [
        (
            *(changed(row["composition"]), row["library"] / 100, row["distill"] / 100),
            f"{row['library'] - row['distill']:+.2f}",
        )
        for row in summary["library_against_distill"]["compositions"]
    ]
    columns = (
        *(Column("Composition"), Column("Library", "percent"), Column("Distilled", "percent")),
        Column("Points", "number"),
    )
    return Table(columns, rows, library_line(summary))


def changed(composition: Sequence[str]) -> str:
    """Return what is changed of a composition: the place and option of every unit not kept."""
    units = [f"{at}: {option}" for at, option in enumerate(composition) if option != "keep"]
    return ", ".join(units) or "all kept"


def _cells(row: Row | None) -> list[Value]:
    return [_cell(row, name) for name, _, _ in _QUANTITIES]


def _cell(row: Row | None, quantity: str) -> Value:
    if row is None:
        return None
    value = float(row[quantity])
    if quantity == "reward":
        return f"{value:.1f}"
    return value / 100 if quantity == "accuracy" else value


def _kind_columns(kinds: Sequence[str]) -> list[Column]:
    return [
        Column(f"{_capital(kind)} {name}", measure)
        for kind in kinds
        for _, name, measure in _QUANTITIES
    ]


def _each(rows: Iterable[Row], key: str) -> list[str]:
    """Return every value of a key once, in the order they are met."""
    return list(dict.fromkeys(row[key] for row in rows))


def _capital(word: str) -> str:
    return word[:1].upper() + word[1:]


def seconds(value: float | None) -> Value:
    """Return a time in seconds as text."""
    return None if value is None else f"{format_value(value, 'number')} s"
