"""Figures of model-tree runs: methods by latency and accuracy, the library against training."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from hybridge.report.charts import Axis, Line, line_chart

Row = Mapping[str, Any]

#: Kinds of cloud only and of what is decided once that a chart has no colour for.
LEFT_OUT = ("cloud only jpeg-90", "branch once")


def latency_and_accuracy(rows: Iterable[Row], kind: str) -> str:
    """Return every method's latency and accuracy in every scene as SVG.

    Args:
        rows: Of a summary.
        kind: ``offline``, ``emulated`` or ``measured``.
    """
    found: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        if row["kind"] == kind and row["method"] not in LEFT_OUT:
            points = found.setdefault(row["method"], [])
            points.append((row["latency_ms"], row["accuracy"] / 100))
    columns = {name: np.array(points).T for name, points in found.items()}
    everything = np.concatenate([each[0] for each in columns.values()])
    least = max(float(everything.min()), 1e-3)
    return line_chart(
        [
            # Of dots that lie on one another, the tree's is seen.
            Line(name, each[0], each[1], role="main" if name == "tree" else "other", dots=True)
            for name, each in columns.items()
        ],
        Axis("Mean latency", "ms", log=float(everything.max()) > 10 * least),
        Axis("Accuracy", "percent"),
    )


def library_over_distilled(compositions: Iterable[Row]) -> str:
    """Return accuracies by the library over those after training as the paper does, as SVG.

    Args:
        compositions: Of a summary's ``library_against_distill``; at least one.
    """
    pairs = np.array([(row["distill"], row["library"]) for row in compositions]) / 100
    ends = np.array([pairs.min(), pairs.max()])
    return line_chart(
        [
            Line("a composition", x=pairs[:, 0], y=pairs[:, 1], dots=True),
            Line("the same", ends, ends, role="bound"),
        ],
        Axis("Accuracy after training it", "percent"),
        Axis("Accuracy by the library", "percent"),
    )


def accuracy_over_macs(variants: Iterable[tuple[str, float, float]]) -> str:
    """Return the accuracy of a network with one layer compressed over its MACs, as SVG.

    Args:
        variants: Technique, MACs of the network, and accuracy as a share, for each variant; at
            least one.
    """
    found: dict[str, list[tuple[float, float]]] = {}
    for technique, macs, accuracy in variants:
        found.setdefault(technique, []).append((macs, accuracy))
    columns = {name: np.array(points).T for name, points in found.items()}
    return line_chart(
        [Line(name, x=each[0], y=each[1], dots=True) for name, each in columns.items()],
        Axis("MACs of the network", "count"),
        Axis("Accuracy", "percent"),
    )
