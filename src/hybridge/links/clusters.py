"""One-dimensional k-means, exactly: by dynamic programming over sorted values.

Letters: ``N`` values, ``K`` clusters.
"""

from typing import Any

import numpy as np

from hybridge.links.trace import Floats


def cluster(values: Floats, weights: Floats, count: int) -> Floats:
    """Return ``(K,)`` weighted means of the clusters whose squared deviations sum up to the least.

    In one dimension clusters are runs of sorted values, and the best first value of the last run
    moves only forward as values are added; so the best of all partings is found in ``K N log N``
    steps (Grønlund et al., 2017, "Fast exact k-means").

    Args:
        values: ``(N,)``, strictly rising.
        weights: ``(N,)``, positive.
        count: ``K``, at most ``N``.
    """
    costs = _Costs(values, weights)
    size = len(values)
    best = costs.between(np.zeros(size, np.int64), np.arange(size))
    begins = np.zeros((count, size), np.int64)
    for clusters in range(1, count):
        best, begins[clusters] = _added(costs, best, clusters)
    means = np.empty(count)
    end = size - 1
    for clusters in reversed(range(count)):
        begin = int(begins[clusters, end])
        means[clusters] = np.average(values[begin : end + 1], weights=weights[begin : end + 1])
        end = begin - 1
    return means


class _Costs:
    """Weighted squared deviations of any run of values, from sums of their powers."""

    def __init__(self, values: Floats, weights: Floats) -> None:
        # About the middle, where the difference of sums loses the fewest digits.
        values = values - np.average(values, weights=weights)
        self._sums = [
            np.concatenate(([0.0], np.cumsum(weights * values**power))) for power in range(3)
        ]

    def between(self, first: Any, last: Any) -> Any:
        """Return the cost of the runs ``[first, last]``."""
        weight, linear, square = (each[last + 1] - each[first] for each in self._sums)
        return np.maximum(square - linear**2 / weight, 0.0)


def _added(costs: _Costs, best: Floats, clusters: int) -> tuple[Floats, Any]:
    """Return the least cost up to each value with one cluster more, and where the last begins."""
    size = len(best)
    least, begins = np.full(size, np.inf), np.zeros(size, np.int64)
    # Halves still to be done, each with the range in which its last cluster can begin.
    parts = [(clusters, size - 1, clusters, size - 1)]
    while parts:
        low, high, earliest, latest = parts.pop()
        if low > high:
            continue
        end = (low + high) // 2
        tried = np.arange(earliest, min(end, latest) + 1)
        found = best[tried - 1] + costs.between(tried, end)
        at = int(found.argmin())
        least[end], begins[end] = found[at], tried[at]
        parts += [(low, end - 1, earliest, tried[at]), (end + 1, high, tried[at], latest)]
    return least, begins
