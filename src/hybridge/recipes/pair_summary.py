"""What a joint search came to, as plain data; accuracies and scores are in percent."""

import json
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
from scipy import stats

from hybridge.cost.operating import OperatingPoint
from hybridge.recipes.pair import Found, PairRun
from hybridge.recipes.pair_hybrids import Hybrids, MadeHybrid
from hybridge.recipes.pair_schema import JUDGES
from hybridge.recipes.pair_singles import MadeSingle
from hybridge.recipes.summary import deviation

Row = dict[str, Any]
Thing = TypeVar("Thing")
#: How what is sent is decided on, and whether it is then answered by both together.
_DECIDED_BY = (("router", False), ("router", True), ("entropy", False))


def summarise(done: PairRun, made: Hybrids | None = None) -> Row:
    """Return the summary that ``summary.json`` holds.

    ``pairs`` are those that were searched, by limit; ``networks`` everything else that stands
    beside them; ``hybrids`` how they do on the held-out images.
    """
    searched = [found for found in done.found if found.result is not None]
    tallies = [(each.method, each.result.tally) for each in searched if each.result is not None]
    own = sum(tally.scoring_seconds for _, tally in tallies)
    pairs = [tally for method, tally in tallies if method in JUDGES]
    scored = sum(tally.candidates for tally in pairs)
    summary: Row = {
        "name": done.recipe.name,
        "family": done.recipe.supernet.family,
        "seed": done.recipe.seed,
        "pairs": [_row(found) for found in done.found if found.method in JUDGES],
        "networks": [_row(found) for found in done.found if found.method not in JUDGES],
        "left_out": [
            {"limits": limits.given, "method": method, "why": why}
            for limits, method, why in done.left_out
        ],
        "architectures_evaluated": done.architectures_evaluated,
        "pairs_scored": scored,
        "pairs_scored_per_second": scored / max(sum(t.scoring_seconds for t in pairs), 1e-9),
        "seconds": own + done.measuring_seconds,
        "searches": [_search(found) for found in searched],
        "fronts": [
            {
                "limits": limits.given,
                "points": [
                    {
                        "base": str(point.candidate.base),
                        "global": str(point.candidate.global_),
                        "score": 100 * point.accuracy,
                        "cost": point.cost,
                    }
                    for point in points
                ],
            }
            for limits, points in done.fronts
        ],
    }
    if made is not None:
        summary |= hybrids_summary(made)
    return summary


def _row(found: Found) -> Row:
    global_ = found.pair.global_
    return {
        "limits": found.limits.given,
        "method": found.method,
        "number": found.number,
        "base": str(found.pair.base),
        "global": None if global_ is None else str(global_),
        "score": 100 * found.point.accuracy,
        "agreement_score": 100 * found.agreement.accuracy,
        "confidence_score": 100 * found.confidence.accuracy,
        "base_accuracy": 100 * found.point.base_accuracy,
        "query_rate": found.point.query_rate,
        "macs_m": found.macs_m,
        "within_limits": found.within,
        **{name: cost for name, cost in found.point.costs.items() if name != "macs_m"},
    }


def _search(found: Found) -> Row:
    result = found.result
    assert result is not None
    tally = result.tally
    return {
        "limits": found.limits.given,
        "method": found.method,
        "score": 100 * found.point.accuracy,
        "evaluations": tally.evaluations,
        "candidates_scored": tally.candidates,
        "candidates_scored_per_second": tally.candidates_per_second,
        "seconds": tally.scoring_seconds + tally.measuring_seconds,
        "times_faster_than_afresh": tally.times_faster,
        "curve": [[row.candidates, round(100 * row.score, 3)] for row in _rises(result.history)],
    }


def _rises(history: Sequence[Any]) -> list[Any]:
    """Return the rows at which the score rose."""
    risen, best = [], float("-inf")
    for row in history:
        if row.score > best:
            risen.append(row)
            best = row.score
    return risen


def hybrids_summary(made: Hybrids) -> Row:
    """Return how everything does on the held-out images."""
    groups = _grouped(
        made.hybrids,
        lambda each: (_limits(each.found), each.found.method, each.found.number, each.job.mode),
    )
    rows = [row for group in groups for row in _hybrid_rows(group)]
    return {
        "hybrids": rows,
        "singles": _singles(made.singles),
        "oracle_against_hybrid": correlation(rows),
        # Through JSON, in which a threshold that is infinite is text.
        "operating_point": json.loads(made.point.model_dump_json()),
    }


def _singles(made: list[MadeSingle]) -> list[Row]:
    """Return how single networks do, over seeds."""
    rows = []
    for seeds in _grouped(made, lambda each: (_limits(each.found), each.job.trained_on)):
        found, accuracies = seeds[0].found, [100 * each.accuracy for each in seeds]
        rows.append(
            {
                "limits": found.limits.given,
                "network": str(found.pair.base),
                "trained_on": seeds[0].job.trained_on,
                "seeds": len(seeds),
                "accuracy": float(np.mean(accuracies)),
                "accuracy_std": deviation(accuracies),
                "macs_m": found.macs_m,
            }
        )
    return rows


def _hybrid_rows(seeds: list[MadeHybrid]) -> list[Row]:
    """Return how a pair does in one mode, over its seeds, by every way of deciding."""
    first = seeds[0]
    rows = []
    for method, fused in _DECIDED_BY:
        points = [each.points(method, fused) for each in seeds]
        means = [_accuracy(split) for split in points]
        at_oracle = [_accuracy(each.oracle_points(method, fused)) for each in seeds]
        judged = [each.judged for each in seeds]
        rows.append(
            {
                "limits": first.found.limits.given,
                "method": first.found.method,
                "number": first.found.number,
                "base": str(first.found.pair.base),
                "global": str(first.found.pair.global_),
                "mode": first.job.mode,
                "decided_by": method,
                "fused": fused,
                "seeds": len(seeds),
                "coverage": float(np.mean([p.coverage for split in points for p in split])),
                "accuracy": float(np.mean(means)),
                "accuracy_std": deviation(means),
                "macs_m": float(np.mean([p.macs for split in points for p in split])) / 1e6,
                "base_accuracy": 100 * float(np.mean([e.base_accuracy for e in judged])),
                "global_accuracy": 100 * float(np.mean([e.global_accuracy for e in judged])),
                "oracle_score": 100 * first.found.agreement.accuracy,
                "oracle_query_rate": first.found.agreement.query_rate,
                "confidence_score": 100 * first.found.confidence.accuracy,
                "accuracy_at_oracle_rate": float(np.mean(at_oracle)),
            }
        )
    return rows


def _accuracy(points: list[OperatingPoint]) -> float:
    return 100 * float(np.mean([point.accuracy for point in points]))


def correlation(rows: list[Row]) -> Row | None:
    """Return how the agreement oracle's score ranks pairs as their hybrids do (mode r).

    Each pair counts once, by the mean over the limits that it was judged under: at the coverage
    that spends the limit, and, as ``at_oracle_rate``, where it sends as much as the oracle; as
    ``by_confidence``, the score by confidence takes the oracle's place. Under ``within`` both
    scores rank the pairs of each limit by themselves: whatever depends on the limit drops out.
    None for fewer than three pairs, or where all are alike.

    Args:
        rows: Of the summary's ``hybrids``.
    """
    trained = [
        row
        for row in rows
        if (row["mode"], row["decided_by"], row["fused"]) == ("r", "router", False)
    ]
    pairs = _grouped(trained, lambda row: (row["base"], row["global"]))
    scores, by_confidence, spending, at_oracle = (
        [float(np.mean([row[key] for row in each])) for each in pairs]
        for key in ("oracle_score", "confidence_score", "accuracy", "accuracy_at_oracle_rate")
    )
    found = _rank_correlation(scores, spending)
    if found is None:
        return None
    return {
        "pairs": len(pairs),
        **found,
        "at_oracle_rate": _rank_correlation(scores, at_oracle),
        "by_confidence": _rank_correlation(by_confidence, spending),
        "within": [
            _within(alike) for alike in _grouped(trained, lambda row: tuple(row["limits"].items()))
        ],
    }


def _grouped(things: Iterable[Thing], key: Callable[[Thing], Hashable]) -> list[list[Thing]]:
    """Return things with those of one key together, in the order in which keys first come."""
    groups: dict[Hashable, list[Thing]] = {}
    for each in things:
        groups.setdefault(key(each), []).append(each)
    return list(groups.values())


def _limits(found: Found) -> Hashable:
    return tuple(found.limits.given.items())


def _within(rows: list[Row]) -> Row:
    """Return how both scores rank the pairs of one limit."""
    scores, by_confidence, spending = (
        [row[key] for row in rows] for key in ("oracle_score", "confidence_score", "accuracy")
    )
    return {
        "limits": rows[0]["limits"],
        "pairs": len(rows),
        "by_agreement": _rank_correlation(scores, spending),
        "by_confidence": _rank_correlation(by_confidence, spending),
    }


def _rank_correlation(ones: list[float], others: list[float]) -> Row | None:
    if len(ones) < 3 or len(set(ones)) == 1 or len(set(others)) == 1:
        return None  # of numbers that are all the same there is no rank
    found = stats.spearmanr(ones, others)
    return {"spearman": float(found.statistic), "p_value": float(found.pvalue)}
