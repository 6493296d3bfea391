"""How searchers of model trees rise: curves over evaluations and seconds, distance from the best.

Rows are those of a run's summary, ``search``: searcher, seed, evaluations, seconds, reward.

Letters: ``S`` seeds of a searcher.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from hybridge.report.charts import Axis, Line, Role, line_chart
from hybridge.report.figures import RESOLUTION
from hybridge.report.tables import Column, Table
from hybridge.report.tree_tables import seconds
from hybridge.report.values import Spread, Value

Row = Mapping[str, Any]
Floats = np.ndarray[Any, np.dtype[np.float64]]
Over = Literal["evaluations", "seconds"]
Runs = dict[str, list[list[Row]]]
"""The rows of every seed of every searcher, in order."""

_MAIN, _FROM, _TO = "reinforce", "surgery", "exact"
#: Share of the gap between surgery and the best tree after which a searcher is near.
NEAR = 0.9
_LABELS = {"evaluations": "Compositions evaluated", "seconds": "Seconds, measuring counted"}


def search_chart(rows: Iterable[Row], over: Over) -> str:
    """Return the best reward so far of every searcher as SVG (model tree, figure 7).

    Of a searcher that was run several times, the mean and its deviation.

    Args:
        rows: Of a summary.
        over: What lies along the horizontal axis, which is logarithmic.
    """
    runs = _runs(rows)
    ends = [row[over] for run in _all(runs) for row in (run[0], run[-1])]
    first, last = max(min(ends), 1e-3), max(ends)
    lines = [_line(name, found, over, first, last) for name, found in runs.items()]
    log = last > 3 * first
    return line_chart(lines, Axis(_LABELS[over], log=log), Axis("Best expected reward"))


def _line(name: str, runs: Sequence[Sequence[Row]], over: Over, first: float, last: float) -> Line:
    begin = max(first, *(run[0][over] for run in runs))
    end = max(run[-1][over] for run in runs)
    role: Role = "main" if name == _MAIN else "other"
    if all(len(run) == 1 for run in runs):
        begin, end, role = first, last, "bound"
    x = np.geomspace(begin, max(end, begin), RESOLUTION)
    y = np.array([_best_at(x, run, over) for run in runs])
    band = y.std(axis=0, ddof=1) if len(runs) > 1 else None
    return Line(name, x, y.mean(axis=0), band=band, role=role, steps=True)


def _best_at(x: Floats, run: Sequence[Row], over: Over) -> Floats:
    """Return the best reward of one run at each of some evaluations or seconds."""
    place = np.searchsorted([row[over] for row in run], x * (1 + 1e-12), side="right") - 1
    best = np.maximum.accumulate([row["reward"] for row in run])
    found: Floats = best[np.maximum(place, 0)]
    return found


@dataclass(frozen=True)
class Closeness:
    """How near a searcher comes to the best tree there is.

    Attributes:
        searcher: Its name.
        reward: Best reward at the end of each run: ``(S,)``.
        closed: Share of the gap between surgery and the best tree closed at the end: ``(S,)``;
            None where there is no gap.
        near: Runs that closed `NEAR` of it.
        evaluations: Mean evaluations until they did, or None where none did.
        seconds: Mean seconds until they did, or None likewise.
    """

    searcher: str
    reward: Floats
    closed: Floats | None
    near: int
    evaluations: float | None
    seconds: float | None


def closeness(rows: Iterable[Row]) -> list[Closeness]:
    """Return how near each searcher comes; nothing where surgery or the exact one was not run."""
    runs = _runs(rows)
    if _FROM not in runs or _TO not in runs:
        return []
    low, high = _best(runs[_FROM][0]), _best(runs[_TO][0])
    return [_closeness(name, found, low, high) for name, found in runs.items()]


def _closeness(name: str, runs: Sequence[Sequence[Row]], low: float, high: float) -> Closeness:
    reward = np.array([_best(run) for run in runs])
    if high - low < 1e-9:
        return Closeness(name, reward, None, 0, None, None)
    near_by = low + NEAR * (high - low)
    first = [next((row for row in run if row["reward"] >= near_by), None) for run in runs]
    near = [row for row in first if row is not None]
    evaluations, took_s = (
        float(np.mean([row[key] for row in near])) if near else None
        for key in ("evaluations", "seconds")
    )
    closed = (reward - low) / (high - low)
    return Closeness(name, reward, closed, len(near), evaluations, took_s)


def closeness_table(rows: Iterable[Row]) -> Table | None:
    """Return how near each searcher comes to the best tree, or None where that is not known."""
    found = closeness(rows)
    if not found:
        return None
    lines: list[list[Value]] = [
        [
            each.searcher,
            _spread(each.reward),
            None if each.closed is None else _spread(each.closed),
            f"{each.near} of {len(each.reward)}",
            None if each.evaluations is None else f"{each.evaluations:.0f}",
            seconds(each.seconds),
        ]
        for each in found
    ]
    columns = (
        *(Column("Searcher"), Column("Reward at the end", "number")),
        *(Column("Gap closed", "percent"), Column(f"Runs at {100 * NEAR:.0f} %", "number")),
        *(Column("Evaluations", "number"), Column("Seconds", "number")),
    )
    caption = (
        "How much of the gap between surgery and the best tree each searcher closes, and mean "
        f"evaluations and seconds of the runs that close {100 * NEAR:.0f} % of it until they do"
    )
    return Table(columns, lines, caption)


def _spread(values: Floats) -> Value:
    mean = float(values.mean())
    return Spread(mean, float(values.std(ddof=1))) if len(values) > 1 else mean


def _best(run: Sequence[Row]) -> float:
    return max(float(row["reward"]) for row in run)


def _runs(rows: Iterable[Row]) -> Runs:
    by_seed: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        by_seed.setdefault((row["searcher"], row["seed"]), []).append(row)
    runs: Runs = {}
    for (searcher, _), run in by_seed.items():
        runs.setdefault(searcher, []).append(run)
    return runs


def _all(runs: Runs) -> list[list[Row]]:
    return [run for found in runs.values() for run in found]
