"""Answers of ``hybridge run``: as lines, as records, and what they come to."""

import math
from typing import TYPE_CHECKING, Any

from hybridge.cli.inputs import Input
from hybridge.cli.output import show_facts, show_json

if TYPE_CHECKING:
    from hybridge.runtime.edge.answer import Answer


def line(item: Input, answer: "Answer") -> str:
    """Return an answer as a line for a reader."""
    label = "no label" if answer.label is None else str(answer.label)
    name = "" if answer.class_name in (None, label) else f" {answer.class_name}"
    score = "" if answer.score is None else f", score {answer.score:.4f}"
    reason = " ".join(answer.reason.split())
    return (
        f"{item.name}: {label}{name} from the {answer.source}{score}, "
        f"{answer.latency_ms:.2f} ms, {reason}"
    )


def record(item: Input, answer: "Answer") -> dict[str, Any]:
    """Return an answer as plain data; probabilities only of what is answered."""
    truth = {} if item.truth is None else {"truth": item.truth}
    return {
        "input": item.name,
        **truth,
        "label": answer.label,
        "class_name": answer.class_name,
        "probability": _finite(float(answer.probabilities.max())),
        "source": answer.source,
        "reason": answer.reason,
        "score": None if answer.score is None else _finite(answer.score),
        "latency_ms": answer.latency_ms,
        "edge_ms": answer.edge_ms,
        "link_ms": answer.link_ms,
        "cloud_ms": answer.cloud_ms,
        "bytes_sent": answer.bytes_sent,
        "wanted": answer.wanted,
        "asked": answer.asked,
        "abstained": answer.abstained,
        "failure": answer.failure,
    }


def _finite(value: float) -> float | None:
    """Return ``value``, or None where JSON has no number for it."""
    return value if math.isfinite(value) else None


def figures_of(counts: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what came of all answers, counted as `counted` does.

    ``accuracy`` is of the labels given, ``share_answered`` how many those are. ``query_rate`` is
    the share that was asked, ``query_rate_wanted`` what the plan would have asked of a cloud that
    is always there.
    """
    import numpy as np

    latency_ms = [row["latency_ms"] for row in counts]
    given = [row["right"] for row in counts if not row["abstained"]]
    return {
        "inputs": len(counts),
        "accuracy": float(np.mean(given)) if given else None,
        "share_answered": len(given) / len(counts),
        "query_rate": float(np.mean([row["asked"] for row in counts])),
        "query_rate_wanted": float(np.mean([row["wanted"] for row in counts])),
        "abstained": sum(row["abstained"] for row in counts),
        "failed": sum(row["failed"] for row in counts),
        "bytes_sent": sum(row["bytes"] for row in counts),
        "latency_p50_ms": float(np.percentile(latency_ms, 50)),
        "latency_p95_ms": float(np.percentile(latency_ms, 95)),
    }


def show_figures(figures: dict[str, Any], json: bool) -> None:
    """Print the figures, as a line of JSON or for a reader."""
    from hybridge.report.values import Kind, format_value

    if json:
        show_json({"summary": figures}, indent=None)
        return
    kinds: dict[str, Kind] = {
        "inputs": "number",
        "accuracy": "percent",
        "share_answered": "percent",
        "query_rate": "percent",
        "query_rate_wanted": "percent",
        "abstained": "number",
        "failed": "number",
        "bytes_sent": "bytes",
        "latency_p50_ms": "ms",
        "latency_p95_ms": "ms",
    }
    show_facts(
        {
            name.removesuffix("_ms").replace("_", " "): format_value(figures[name], kind)
            for name, kind in kinds.items()
        }
    )


def counted(item: Input, answer: "Answer") -> dict[str, Any]:
    """Return what figures need to know of an answer."""
    return {
        "right": answer.label == item.truth,
        "abstained": answer.abstained,
        "failed": answer.failure is not None,
        "wanted": answer.wanted,
        "asked": answer.asked,
        "bytes": answer.bytes_sent,
        "latency_ms": answer.latency_ms,
    }
