from itertools import pairwise

import numpy as np
import pytest
from digits import Digits

from hybridge.design.search.budget import AnyOf
from hybridge.design.search.front import Front, FrontPoint, FrontSettings, unbeaten
from hybridge.design.search.run import search
from hybridge.errors import InfeasibleError

SETTINGS = FrontSettings(generations=8, population=16)


class Weighed(Digits):
    """Costs count odd digits as heavy, so that accuracy has a price."""

    def cross(self, one, other, rng):
        return tuple(np.where(rng.random(8) < 0.5, one, other).tolist())

    def objectives(self, trial, measures):
        digits = trial.candidate
        return measures[self.parts(trial)[0]], float(sum(digit**2 for digit in digits))


def run(problem, settings=SETTINGS, seed=0):
    front = Front(problem, seed, settings)
    search(problem, front, AnyOf(()), counts=lambda trial: trial.rung == problem.top)
    return front.points


def test_no_point_beats_another_and_all_are_measured_in_full():
    problem = Weighed()
    points = run(problem)
    assert len(points) >= 8
    for cheap, dear in pairwise(points):
        assert cheap.cost < dear.cost
        assert cheap.accuracy < dear.accuracy
    assert all((point.candidate, 1) in problem.measured for point in points)
    assert all(point.accuracy == sum(point.candidate) for point in points)


def test_a_search_comes_nearer_than_chance():
    """At each sum the cheapest has equal digits: sum squared over 8."""
    searched, drawn = run(Weighed()), run(Weighed(), FrontSettings(generations=0, population=144))

    def area(points):
        return sum(
            (dear.cost - cheap.cost) * cheap.accuracy
            for cheap, dear in zip(points, [*points[1:], FrontPoint((), 0, 648)], strict=True)
        )

    assert area(searched) > area(drawn)


def test_the_same_seed_finds_the_same_front():
    assert run(Weighed(), seed=3) == run(Weighed(), seed=3)
    assert run(Weighed(), seed=3) != run(Weighed(), seed=4)


@pytest.mark.parametrize("tells", [True, False])
def test_the_front_ends_at_the_limit(tells):
    assert 0 < max(point.accuracy for point in run(Weighed(most=30, tells=tells))) <= 30


def test_a_front_begins_with_the_smallest():
    """Which chance would hardly ever draw."""
    points = run(Weighed(most=0, tells=False), FrontSettings(generations=0, population=4))
    assert [point.candidate for point in points] == [(0,) * 8]


def test_one_rung_needs_no_confirming():
    points = run(Weighed(top=0))
    assert points
    assert all(point.accuracy == sum(point.candidate) for point in points)


def test_nothing_within_the_limits_is_an_error():
    with pytest.raises(InfeasibleError, match="at most -1"):
        run(Weighed(most=-1, tells=False))


def test_of_equals_one_is_kept():
    points = [FrontPoint("a", 1.0, 2.0), FrontPoint("b", 1.0, 2.0), FrontPoint("c", 0.5, 2.0)]
    assert unbeaten([*points, FrontPoint("d", 1.0, 3.0)]) == (points[0],)
