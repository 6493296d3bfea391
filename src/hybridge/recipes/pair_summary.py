"""What a joint search came to, as plain data; accuracies and scores are in percent."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from hybridge.recipes.pair import Found, PairRun
from hybridge.recipes.pair_hybrids import Hybrids, MadeHybrid
from hybridge.recipes.summary import deviation

Row = dict[str, Any]
#: How what is sent is decided on, and whether it is then answered by both together.
_DECIDED_BY = (("router", False), ("router", True), ("entropy", False))


def summarise(done: PairRun, made: Hybrids | None = None) -> Row:
    """Return the summary that ``summary.json`` holds.

    ``pairs`` are those that were searched, by limit; ``networks`` everything else that stands
    beside them; ``hybrids`` how they do on the held-out images.
    """
    searched = [found for found in done.found if found.result is not None]
    tallies = [found.result.tally for found in searched if found.result is not None]
    own = sum(tally.scoring_seconds for tally in tallies)
    summary: Row = {
        "name": done.recipe.name,
        "family": done.recipe.supernet.family,
        "seed": done.recipe.seed,
        "pairs": [_row(found) for found in done.found if found.method == "pair"],
        "networks": [_row(found) for found in done.found if found.method != "pair"],
        "left_out": [
            {**_limits(limits.given), "method": method, "why": why}
            for limits, method, why in done.left_out
        ],
        "architectures_evaluated": sum(tally.evaluations for tally in tallies),
        "pairs_scored": sum(tally.candidates for tally in tallies),
        "pairs_scored_per_second": sum(tally.candidates for tally in tallies) / max(own, 1e-9),
        "seconds": own + sum(tally.measuring_seconds for tally in tallies),
        "searches": [_search(found) for found in searched],
        "fronts": [
            {
                **_limits(limits.given),
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
        summary |= _hybrids(made)
    return summary


def _limits(given: dict[str, float]) -> Row:
    return {"limits": given}


def _row(found: Found) -> Row:
    global_ = found.pair.global_
    return {
        **_limits(found.limits.given),
        "method": found.method,
        "number": found.number,
        "base": str(found.pair.base),
        "global": None if global_ is None else str(global_),
        "score": 100 * found.point.accuracy,
        "base_accuracy": 100 * found.point.base_accuracy,
        "query_rate": found.point.query_rate,
        "macs_m": found.macs_m,
        **{name: cost for name, cost in found.point.costs.items() if name != "macs_m"},
    }


def _search(found: Found) -> Row:
    result = found.result
    assert result is not None
    tally = result.tally
    return {
        **_limits(found.limits.given),
        "method": found.method,
        "score": 100 * result.score,
        "architectures_evaluated": tally.evaluations,
        "pairs_scored": tally.candidates,
        "pairs_scored_per_second": tally.candidates_per_second,
        "seconds": tally.scoring_seconds + tally.measuring_seconds,
        "times_faster_than_afresh": tally.times_faster,
        "curve": [[row.candidates, 100 * row.score] for row in _rises(result.history)],
    }


def _rises(history: Sequence[Any]) -> list[Any]:
    """Return the rows at which the score rose."""
    risen, best = [], float("-inf")
    for row in history:
        if row.score > best:
            risen.append(row)
            best = row.score
    return risen


def _hybrids(made: Hybrids) -> Row:
    groups: dict[tuple[Any, ...], list[MadeHybrid]] = {}
    for each in made.hybrids:
        found = each.found
        key = (tuple(found.limits.given.items()), found.method, found.number, each.mode)
        groups.setdefault(key, []).append(each)
    rows = [row for group in groups.values() for row in _hybrid_rows(group)]
    return {
        "hybrids": rows,
        "singles": [
            {
                **_limits(single.found.limits.given),
                "network": str(single.found.pair.base),
                "accuracy": 100 * single.accuracy,
                "macs_m": single.found.macs_m,
            }
            for single in made.singles
        ],
        "oracle_against_hybrid": _correlation(rows),
        "operating_point": made.point.model_dump(mode="json"),
    }


def _hybrid_rows(seeds: list[MadeHybrid]) -> list[Row]:
    """Return how a pair does in one mode, over its seeds, by every way of deciding."""
    first = seeds[0]
    rows = []
    for method, fused in _DECIDED_BY:
        points = [each.points(method, fused) for each in seeds]
        means = [100 * float(np.mean([point.accuracy for point in split])) for split in points]
        evaluations = [each.run.evaluation for each in seeds]
        rows.append(
            {
                **_limits(first.found.limits.given),
                "method": first.found.method,
                "number": first.found.number,
                "mode": first.mode,
                "decided_by": method,
                "fused": fused,
                "seeds": len(seeds),
                "coverage": float(np.mean([p.coverage for split in points for p in split])),
                "accuracy": float(np.mean(means)),
                "accuracy_std": deviation(means),
                "macs_m": float(np.mean([p.macs for split in points for p in split])) / 1e6,
                "base_accuracy": 100 * float(np.mean([e.base_accuracy for e in evaluations])),
                "global_accuracy": 100 * float(np.mean([e.global_accuracy for e in evaluations])),
                "oracle_score": 100 * first.found.point.accuracy,
            }
        )
    return rows


def _correlation(rows: list[Row]) -> Row | None:
    """Return how the agreement oracle's score ranks pairs as their hybrids do (mode r)."""
    trained = [
        row
        for row in rows
        if (row["mode"], row["decided_by"], row["fused"]) == ("r", "router", False)
    ]
    if len(trained) < 3:
        return None
    scores, accuracies = ([row[key] for row in trained] for key in ("oracle_score", "accuracy"))
    found = stats.spearmanr(scores, accuracies)
    return {
        "pairs": len(trained),
        "spearman": float(found.statistic),
        "p_value": float(found.pvalue),
    }
