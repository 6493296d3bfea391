"""What was measured on a real link in plain numbers: ``measured.json``. Accuracies in percent."""

import platform
from collections.abc import Sequence, Set
from dataclasses import asdict
from typing import Any

import numpy as np

from hybridge.cost.operating import Bools, Floats
from hybridge.recipes.model_tree import TreeRow, TreeRun, tree_row
from hybridge.recipes.tree_link import Crossing, LinkSettings
from hybridge.recipes.tree_summary import cloud_only_wins, comparisons

MEASURED, ESTIMATED = "measured", "estimated"
#: Largest difference of a probability from the composed torch network's that is none.
TOLERANCE = 1e-4
_NOTE = (
    "Measured: an edge at the pace of the device's profile and a cloud process, over gRPC on this "
    "host, shaped by the second halves of recorded traces. Estimated: the emulator with the same "
    "bundles, traces, images and arrivals; cloud_ms and message_ms of this host, measured before."
)
Row = dict[str, Any]


def measured_summary(run: TreeRun, crossings: Sequence[Crossing], settings: LinkSettings) -> Row:
    """Return everything a machine may want to read of a measurement.

    ``traces`` has every method on every trace, ``rows`` its means over the traces of a scene, of
    both kinds; ``means``, ``against_surgery`` and ``slowed`` are as in a run's summary.
    """
    rows = link_rows(run, crossings)
    differences = np.concatenate([each.differences for each in crossings])
    return {
        "name": run.prepared.recipe.name,
        "note": _NOTE,
        "host": f"{platform.machine()}, {platform.system()} {platform.release()}",
        "settings": settings.model_dump(mode="json"),
        "largest_difference": float(differences.max()),
        "answers": len(differences),
        "answers_beyond_tolerance": int((differences > TOLERANCE).sum()),
        "tolerance": TOLERANCE,
        "rows": [asdict(row) for row in rows],
        **comparisons(rows, run.prepared.recipe.slowed_devices()),
        "traces": [_trace_row(run, each) for each in crossings],
    }


def link_rows(run: TreeRun, crossings: Sequence[Crossing]) -> list[TreeRow]:
    """Return how methods do in each scene over its traces: measured, then estimated."""
    groups: dict[tuple[str, str, str], list[Crossing]] = {}
    for each in crossings:
        scene = each.scene.scene
        groups.setdefault((scene.device.name, scene.name, each.method), []).append(each)
    rows = []
    for kind in (MEASURED, ESTIMATED):
        for group in groups.values():
            parts = [_figures(each, kind) for each in group]
            latency_ms = np.concatenate([latency_ms for latency_ms, _ in parts])
            right = np.concatenate([right for _, right in parts])
            rows.append(_row(run, group[0], kind, latency_ms, right))
    return rows


def merged(summary: Row, measured: Row, slowed_devices: Set[str]) -> Row:
    """Return a run's summary with the measured rows of ``measured`` in place of older ones.

    Args:
        summary: As ``summary.json`` has it.
        measured: As `measured_summary` returns it.
        slowed_devices: Of the recipe.
    """
    fresh = [row for row in measured["rows"] if row["kind"] == MEASURED]
    rows = [TreeRow(**row) for row in [*_others(summary), *fresh]]
    return {
        **summary,
        "rows": [asdict(row) for row in rows],
        **comparisons(rows, slowed_devices),
        "cloud_only_wins": cloud_only_wins(rows),
    }


def _others(summary: Row) -> list[Row]:
    return [row for row in summary["rows"] if row["kind"] != MEASURED]


def _figures(crossing: Crossing, kind: str) -> tuple[Floats, Bools]:
    if kind == MEASURED:
        return crossing.latency_ms, crossing.right
    return crossing.estimate.latency_ms, crossing.estimate.right


def _row(run: TreeRun, crossing: Crossing, kind: str, latency_ms: Floats, right: Bools) -> TreeRow:
    return tree_row(
        run.prepared,
        crossing.scene.scene,
        crossing.method,
        kind,
        run.prepared.recipe.reward,
        float(latency_ms.mean()),
        float(right.mean()),
    )


def _trace_row(run: TreeRun, crossing: Crossing) -> Row:
    """Return a method on a trace: what was measured, what was estimated, and their ratio."""
    answers, scene, estimate = crossing.answers, crossing.scene.scene, crossing.estimate
    both: Row = {}
    for kind in (MEASURED, ESTIMATED):
        latency_ms, right = _figures(crossing, kind)
        row = _row(run, crossing, kind, latency_ms, right)
        both[kind] = {
            "reward": row.reward,
            "latency_ms": row.latency_ms,
            "p95_ms": float(np.quantile(latency_ms, 0.95)),
            "accuracy": row.accuracy,
        }
    both[MEASURED] |= {
        "asked": sum(answer.asked for answer in answers),
        "failed": sum(answer.failure is not None for answer in answers),
        "cloud_ms": _mean([answer.cloud_ms for answer in answers if answer.asked]),
        "bytes_sent": float(np.mean([answer.bytes_sent for answer in answers])),
    }
    both[ESTIMATED] |= {
        "asked": int(estimate.asked.sum()),
        "failed": int(estimate.failed.sum()),
        "cloud_ms": _mean(estimate.cloud_ms[estimate.asked].tolist()),
        "bytes_sent": float(estimate.payload_bytes.mean()),
    }
    return {
        "device": scene.device.name,
        "scene": scene.name,
        "trace": crossing.trace,
        "method": crossing.method,
        "requests": len(answers),
        **both,
        "measured_over_estimated": both[MEASURED]["latency_ms"] / both[ESTIMATED]["latency_ms"],
        "message_ms": crossing.toll.message_ms,
        "largest_difference": float(crossing.differences.max()),
    }


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if len(values) else None
