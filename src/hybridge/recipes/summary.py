"""An evaluation in plain numbers: what ``--json`` writes and tables show. Accuracies in percent."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from hybridge.cost.operating import area_under
from hybridge.design.query.evaluate import METHODS, RIVALS, Evaluation, MethodResult, router_macs
from hybridge.recipes.hybrid import HybridRun

Row = dict[str, Any]


def summarise(run: HybridRun) -> Row:
    """Return everything a machine may want to read of a run.

    ``operating_points`` and ``query_rate_to_match_cloud`` hold the router and the baselines of
    the paper; ``more_methods`` holds tempered baselines and ablations in the same form.
    """
    evaluation = run.evaluation
    results = evaluation.results.values()
    main = [result for result in results if result.method in METHODS]
    more = [result for result in results if result.method not in METHODS]
    return {
        "name": run.recipe.name,
        "mode": run.recipe.mode,
        "seed": run.recipe.seed,
        "base_accuracy": 100 * evaluation.base_accuracy,
        "global_accuracy": 100 * evaluation.global_accuracy,
        "base_macs_m": evaluation.base_macs / 1e6,
        "global_macs_m": evaluation.global_macs / 1e6,
        "router_macs_m": router_macs(evaluation.first.fused_router.router) / 1e6,
        "splits": evaluation.settings.splits,
        "reporting_split": run.split.fingerprint,
        "operating_points": [row for result in main for row in _points(result, evaluation)],
        "query_rate_to_match_cloud": [_matching(result, evaluation) for result in main],
        "router_minus_best_confidence": _paired(evaluation),
        "fused_gain_over_global": _fused_gain(evaluation),
        "scalars": [_scalars(result, evaluation) for result in main],
        "more_methods": [row for result in more for row in _points(result, evaluation)],
        "cycles": [vars(record) for record in run.cycles],
    }


def _points(result: MethodResult, evaluation: Evaluation) -> list[Row]:
    rows = []
    for coverage, points in result.points.items():
        accuracy = np.array([100 * point.accuracy for point in points])
        kept = [100 * point.accuracy_kept for point in points if point.accuracy_kept is not None]
        gain = accuracy - 100 * np.array(evaluation.global_reporting)
        rows.append(
            {
                "method": result.method,
                "fused": result.fused,
                "coverage": coverage,
                "coverage_realised_mean": float(np.mean([point.coverage for point in points])),
                "accuracy_mean": float(accuracy.mean()),
                "accuracy_std": deviation(accuracy),
                "accuracy_kept_mean": float(np.mean(kept)) if kept else None,
                "gain_over_global_mean": float(gain.mean()),
                "macs_m": float(np.mean([point.macs for point in points])) / 1e6,
            }
        )
    return rows


def _matching(result: MethodResult, evaluation: Evaluation) -> Row:
    rates = np.array([point.query_rate for point in result.matching])
    accuracy = 100 * np.array([point.accuracy for point in result.matching])
    return {
        "method": result.method,
        "fused": result.fused,
        "mean": float(rates.mean()),
        "std": deviation(rates),
        "accuracy_minus_global_mean": float(
            (accuracy - 100 * np.array(evaluation.global_reporting)).mean()
        ),
        "macs_m": float(np.mean([point.macs for point in result.matching])) / 1e6,
    }


def _paired(evaluation: Evaluation) -> list[Row]:
    """Compare the router with the best confidence baseline, tempered or not, by its name."""
    rows = []
    for fused in (False, True):
        for coverage in evaluation.settings.coverages:
            accuracies = {name: _accuracies(evaluation, name, fused, coverage) for name in RIVALS}
            best = max(accuracies, key=lambda name: float(accuracies[name].mean()))
            difference = _accuracies(evaluation, "router", fused, coverage) - accuracies[best]
            rows.append(
                {"fused": fused, "coverage": coverage, "best": best, **interval(difference)}
            )
    return rows


def _fused_gain(evaluation: Evaluation) -> list[Row]:
    cloud = 100 * np.array(evaluation.global_reporting)
    return [
        {
            "coverage": coverage,
            **interval(_accuracies(evaluation, "router", True, coverage) - cloud),
        }
        for coverage in evaluation.settings.coverages
    ]


def _scalars(result: MethodResult, evaluation: Evaluation) -> Row:
    every = [curve for method in evaluation.results.values() for curve in method.curves]
    lowest = max(float(curve.macs[0]) for curve in every)
    highest = min(float(curve.macs[-1]) for curve in every)
    areas = None
    if lowest < highest:  # a router dearer than the global leaves no range that all reach
        areas = [100 * area_under(curve, lowest, highest) for curve in result.curves]
    return {
        "method": result.method,
        "fused": result.fused,
        "area_accuracy_over_macs_mean": None if areas is None else float(np.mean(areas)),
        "gap_closed_mean": _gap_closed(result, evaluation),
    }


def _gap_closed(result: MethodResult, evaluation: Evaluation) -> Row:
    """Return the share of the gap from the best confidence to the label oracle that is closed."""
    closed = {}
    for coverage in evaluation.settings.coverages:
        own = float(_accuracies(evaluation, result.method, result.fused, coverage).mean())
        low = max(
            float(_accuracies(evaluation, name, result.fused, coverage).mean()) for name in RIVALS
        )
        high = float(_accuracies(evaluation, "label_oracle", result.fused, coverage).mean())
        closed[f"{coverage:g}"] = (own - low) / (high - low) if high > low else None
    return closed


def _accuracies(
    evaluation: Evaluation, method: str, fused: bool, coverage: float
) -> "np.ndarray[Any, np.dtype[np.float64]]":
    points = evaluation.results[method, fused].points[coverage]
    return 100 * np.array([point.accuracy for point in points])


def interval(differences: "Sequence[float] | np.ndarray[Any, Any]") -> Row:
    """Return mean and 95 % t-interval of paired differences over splits.

    Random halves of one set overlap, so the interval is of the splits, not of new data.
    """
    values = np.asarray(differences, np.float64)
    mean = float(values.mean())
    if len(values) < 2:
        return {"mean": mean, "low": None, "high": None}
    margin = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    return {"mean": mean, "low": mean - margin, "high": mean + margin}


def deviation(values: "Sequence[float] | np.ndarray[Any, Any]") -> float:
    """Return the sample's standard deviation; 0 where there is but one value."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
