"""A run of a model tree in plain numbers: what ``--json`` writes. Accuracies in percent."""

from collections.abc import Iterable, Set
from dataclasses import asdict
from typing import Any

import numpy as np

from hybridge.design.modeltree.choices import plain_tree
from hybridge.recipes.model_tree import TreeRow, TreeRun
from hybridge.recipes.tree_methods import CLOUD_WEBP, SURGERY, SURGERY_ONCE, TREE

Row = dict[str, Any]


def summarise(run: TreeRun) -> Row:
    """Return everything a machine may want to read of a run.

    ``rows`` has every method in every scene, ``means`` their means over scenes; ``against_surgery``
    compares the tree with the stronger of both kinds of surgery; both are of devices as fast as
    their profiles say, and stand again in ``slowed`` for others. ``search`` has the curves of
    searchers, whose ``seconds`` count every measurement as if nothing had been measured before.
    """
    prepared = run.prepared
    return {
        "name": prepared.recipe.name,
        "network": prepared.recipe.network.network,
        "original": {
            "calibration_accuracy": 100
            * prepared.evaluator(prepared.calibration).accuracy(prepared.original).value,
            "reporting_accuracy": 100
            * prepared.evaluator(prepared.reporting).accuracy(prepared.original).value,
            "macs_m": prepared.sliced.graph.macs / 1e6,
            "input_bytes": prepared.sizes["input"],
        },
        "library": {
            "variants": [
                {**asdict(built), "unit": prepared.sliced.layers[built.unit][0].path}
                for built in run.prepared.built
            ],
            "seconds_alone": sum(built.seconds for built in prepared.built),
            "seconds_together": prepared.joint_seconds,
            "searched": {
                prepared.sliced.layers[index][0].path: [option.name for option in options]
                for index, options in prepared.options.items()
                if options
            },
        },
        "rows": [asdict(row) for row in run.rows],
        **comparisons(run.rows, prepared.recipe.slowed_devices()),
        "cloud_only_wins": cloud_only_wins(run.rows),
        "search": [asdict(row) for row in run.search],
        "library_against_distill": _errors(run),
        "trees": [
            {
                "device": found.scene.device.name,
                "scene": found.scene.name,
                "types_mbps": [bps / 1e6 for bps in found.scene.types.typical_bps],
                "tree": plain_tree(found.methods[TREE].tree),
            }
            for found in run.scenes
        ],
    }


def comparisons(rows: Iterable[TreeRow], slowed_devices: Set[str]) -> Row:
    """Return a summary's ``means`` and ``against_surgery``, and ``slowed`` with both of others.

    Args:
        rows: Of all devices.
        slowed_devices: Names of those that are not as fast as their profiles say.
    """
    rows = list(rows)
    usual = [row for row in rows if row.device not in slowed_devices]
    slowed = [row for row in rows if row.device in slowed_devices]
    return {
        "means": list(means(usual)),
        "against_surgery": list(against_surgery(usual)),
        "slowed": {"means": list(means(slowed)), "against_surgery": list(against_surgery(slowed))},
    }


def means(rows: Iterable[TreeRow]) -> Iterable[Row]:
    """Yield the means of every method over all scenes, by kind."""
    rows = list(rows)
    for kind in dict.fromkeys(row.kind for row in rows):
        for method in dict.fromkeys(row.method for row in rows if row.kind == kind):
            chosen = [row for row in rows if (row.kind, row.method) == (kind, method)]
            yield {
                "kind": kind,
                "method": method,
                "scenes": len(chosen),
                "reward": float(np.mean([row.reward for row in chosen])),
                "latency_ms": float(np.mean([row.latency_ms for row in chosen])),
                "accuracy": float(np.mean([row.accuracy for row in chosen])),
            }


def against_surgery(rows: Iterable[TreeRow]) -> Iterable[Row]:
    """Yield, by kind, what the tree saves against the stronger surgery, and what it loses."""
    by_name: dict[tuple[str, str], Row] = {(row["kind"], row["method"]): row for row in means(rows)}
    for kind in dict.fromkeys(kind for kind, _ in by_name):
        rivals = [
            by_name[kind, name] for name in (SURGERY, SURGERY_ONCE) if (kind, name) in by_name
        ]
        if not rivals or (kind, TREE) not in by_name:
            continue
        surgery, tree = min(rivals, key=lambda row: row["latency_ms"]), by_name[kind, TREE]
        yield {
            "kind": kind,
            "stronger": surgery["method"],
            "latency_saved_percent": 100 * (1 - tree["latency_ms"] / surgery["latency_ms"]),
            "accuracy_lost": surgery["accuracy"] - tree["accuracy"],
            "reward_gained": tree["reward"] - surgery["reward"],
        }


def cloud_only_wins(rows: Iterable[TreeRow]) -> list[Row]:
    """Return where no method is worth more than sending every image as WebP, foresight aside."""
    rows = [row for row in rows if row.method != "foresight"]
    found = []
    for where in dict.fromkeys((row.kind, row.device, row.scene) for row in rows):
        here = [row for row in rows if (row.kind, row.device, row.scene) == where]
        best = max(row.reward for row in here)
        if any(row.method == CLOUD_WEBP and row.reward >= best - 1e-9 for row in here):
            found.append(dict(zip(("kind", "device", "scene"), where, strict=True)))
    return found


def _errors(run: TreeRun) -> Row:
    differences = np.array([row.library - row.distill for row in run.distilled])
    return {
        "compositions": [asdict(row) for row in run.distilled],
        "mean_error": float(differences.mean()) if len(differences) else None,
        "mean_absolute_error": float(np.abs(differences).mean()) if len(differences) else None,
    }
