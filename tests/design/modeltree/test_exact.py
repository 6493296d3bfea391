from functools import reduce

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_problem import GOOD, POOR, TinyCosts, slot, tiny_problem

from hybridge.design.modeltree.choices import BlockSpace, Space
from hybridge.design.modeltree.exact import Exact, ExactSettings
from hybridge.design.modeltree.problem import AccuracyFloor, TreeProblem
from hybridge.design.search.budget import Candidates
from hybridge.design.search.problem import Measured
from hybridge.design.search.run import search
from hybridge.errors import ConfigError

ENOUGH = Candidates(limit=100_000)
times = st.floats(1.0, 60.0)
sizes = st.floats(100, 5000)


class Table:
    """Any accuracies at all."""

    def __init__(self, rows):
        self.rows = rows

    def accuracy(self, composition):
        return Measured(self.rows[composition], 1.0)


def two_blocks(types):
    first = BlockSpace(((slot("a", "C1", crossing=("C1",)),), (slot("b", "W1"),)), cuts=(0, 1))
    second = BlockSpace(((slot("c", "C1"),), ()), cuts=(1,))
    return Space((first, second), types)


def whole_options(block):
    return [choice.options for choice in block.choices() if choice.cut is None]


@st.composite
def problems(draw):
    space = two_blocks(draw(st.integers(1, 2)))
    before, after = map(whole_options, space.blocks)
    rows = {(*a, *b): draw(st.floats(0.3, 1.0)) for a in before for b in after}
    costs = TinyCosts(
        space,
        {s.name: draw(times) for s in space.slots},
        {(s.name, o): draw(st.floats(0.1, 1.0)) for s in space.slots for o in s.options[1:]},
        {(0, 0): draw(sizes), (0, 1): draw(sizes), (1, 1): draw(sizes)},
    )
    floor = draw(st.none() | st.builds(AccuracyFloor, st.floats(0.5, 1.0), st.floats(0.0, 60.0)))
    return TreeProblem(space, (POOR, GOOD)[: space.types], costs, Table(rows), floor=floor)


def every_tree(space, level=0):
    """Return all that may stand below a node whose children are blocks of ``level``."""
    options = []
    for choice in space.blocks[level].choices():
        ends = choice.cut is not None or level == space.levels - 1
        for below in [{}] if ends else every_tree(space, level + 1):
            options.append({(): choice, **below})

    def beside(forests, kind):
        return [
            {**forest, **{(kind, *path): choice for path, choice in option.items()}}
            for forest in forests
            for option in options
        ]

    return reduce(beside, range(space.types), [{}])


@given(problems(), st.booleans())
@settings(max_examples=15)
def test_no_tree_is_better_than_the_exact_one(problem, bounded):
    rows = problem.evaluator.rows
    best = max(problem.score(tree, rows) for tree in every_tree(problem.space))
    # Compressing more never raises an accuracy by more than the widest gap between any two.
    gap = max(rows.values()) - min(rows.values())
    given_ = ExactSettings(ceiling=max(rows.values()), margin=gap) if bounded else None
    found = search(problem, Exact(problem, given_), ENOUGH)
    problem.space.check(found.best)
    assert found.score == pytest.approx(best, abs=1e-9)


def test_what_cannot_win_is_not_measured():
    """Sending pixels takes 56 ms, so that on a slow device little that is compressed can win."""
    plain, bounded = (
        search(problem, Exact(problem, given_), ENOUGH)
        for problem, given_ in (
            (tiny_problem(0, edge_ms=120), ExactSettings()),
            (tiny_problem(0, edge_ms=120), ExactSettings(margin=0.01)),
        )
    )
    assert plain.score == pytest.approx(bounded.score)
    assert plain.history[-1].evaluations < 216
    assert bounded.history[-1].evaluations < plain.history[-1].evaluations / 3


def test_a_ceiling_that_is_too_low_is_raised():
    problem = tiny_problem(1)
    low = search(problem, Exact(problem, ExactSettings(ceiling=0.1)), ENOUGH)
    high = search(problem, Exact(problem), ENOUGH)
    assert low.history[-1].evaluations <= high.history[-1].evaluations
    assert low.score <= high.score


def test_a_space_that_is_too_large_is_refused():
    with pytest.raises(ConfigError, match="at most 100 compositions to search exactly, got 216"):
        Exact(tiny_problem(), ExactSettings(compositions=100))
