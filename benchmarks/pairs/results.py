"""What the experiment on pairs measured, read back, and how its numbers are written."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hybridge.design.graph.count import count_macs
from hybridge.design.nets import build
from hybridge.design.query.evaluate import router_macs
from hybridge.design.query.router import Router, RouterSettings
from hybridge.recipes.summary import interval

Row = dict[str, Any]
COVERAGES = (0.9, 0.8, 0.7, 0.6)
PLAIN = ("entropy", "top1", "margin")
CONFIDENCES = (*PLAIN, *(f"{name}_tempered" for name in PLAIN))
TITLES = {
    "base_small": "small base",
    "base_medium": "medium base",
    "global_": "own global",
    "resnet56": "ResNet-56",
}
VARIANTS = {
    "r": "router only (r)",
    "plain": "both trained on, without weights",
    "rb": "router and base (rb)",
    "rbg": "all three (rbg)",
}


def macs_m(network: str, **options: int) -> float:
    """Return the MACs of a network for one image of CIFAR-10, in millions."""
    image = torch.zeros(1, 3, 32, 32)
    return count_macs(build(network, 10, **options).eval(), image) / 1e6


MACS_M = {
    "base_small": macs_m("cifar_resnet8", width=8, stem_stride=2),
    "base_medium": macs_m("cifar_resnet8", width=16, stem_stride=2),
    "global_": macs_m("cifar_resnet8", width=32, stem_stride=2),
    "resnet56": macs_m("cifar_resnet56"),
}
ROUTER_MACS_M = router_macs(Router(10, RouterSettings())) / 1e6


@dataclass(frozen=True)
class Result:
    """One pair, over all seeds."""

    base: str
    global_: str
    variant: str
    seeds: list[Row]

    @property
    def title(self) -> str:
        """Names of both networks."""
        return f"{TITLES[self.base]} + {TITLES[self.global_]}"

    def point(self, method: str, fused: bool, coverage: float, key: str) -> list[float]:
        """Return one figure of a method, for each seed."""
        return [
            next(
                float(row[key])
                for row in (*seed["operating_points"], *seed["more_methods"])
                if (row["method"], row["fused"], row["coverage"]) == (method, fused, coverage)
            )
            for seed in self.seeds
        ]

    def matching(self, method: str, fused: bool, key: str) -> list[float]:
        """Return one figure of the point that was to match the cloud, for each seed."""
        return [
            next(
                float(row[key])
                for row in seed["query_rate_to_match_cloud"]
                if (row["method"], row["fused"]) == (method, fused)
            )
            for seed in self.seeds
        ]

    def accuracy(self, which: str) -> list[float]:
        """Return ``base_accuracy`` or ``global_accuracy``, for each seed."""
        return [float(seed[which]) for seed in self.seeds]

    def best_confidence(self, fused: bool, coverage: float) -> str:
        """Return the confidence baseline with the highest mean: a bar set with hindsight."""
        return max(
            CONFIDENCES,
            key=lambda name: float(np.mean(self.point(name, fused, coverage, "accuracy_mean"))),
        )


def load(folder: Path, base: str, global_: str, variant: str = "r") -> Result:
    """Read what has been measured of a pair."""
    pattern = f"result_{base}_{global_}_seed*_{variant}.json"
    seeds = [json.loads(path.read_text()) for path in sorted(folder.glob(pattern))]
    return Result(base, global_, variant, seeds)


def standalone_networks(pairs: Sequence[Result]) -> dict[str, tuple[float, list[float]]]:
    """Return MACs in millions and accuracies of every network, by name."""
    found: dict[str, tuple[float, list[float]]] = {}
    for pair in pairs:
        found[pair.base] = MACS_M[pair.base], pair.accuracy("base_accuracy")
        found[pair.global_] = MACS_M[pair.global_], pair.accuracy("global_accuracy")
    return dict(sorted(found.items(), key=lambda item: item[1][0]))


def equal_macs_m(accuracy: float, standalone: dict[str, tuple[float, list[float]]]) -> float:
    """Return the MACs of a standalone network of this accuracy, in millions."""
    macs = [np.log(macs) for macs, _ in standalone.values()]
    accuracies = [float(np.mean(values)) for _, values in standalone.values()]
    return float(np.exp(np.interp(accuracy, accuracies, macs)))


def spread(values: Sequence[float]) -> str:
    """Return mean ± standard deviation."""
    if not values:
        return "none"
    deviation = f" ± {np.std(values, ddof=1):.2f}" if len(values) > 1 else ""
    return f"{np.mean(values):.2f}{deviation}"


def verdict(differences: "np.ndarray[Any, Any]") -> str:
    """Return a paired difference with its interval, and what it means."""
    found = interval(differences)
    if found["low"] is None:
        return f"{found['mean']:+.2f}"
    word = "win" if found["low"] > 0 else "loss" if found["high"] < 0 else "tie"
    return f"{found['mean']:+.2f} [{found['low']:+.2f}, {found['high']:+.2f}] {word}"


def table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""

    def cells(row: Sequence[str]) -> str:
        return f"| {' | '.join(row)} |"

    return "\n".join([cells(names), cells(["---"] * len(names)), *map(cells, rows)])
