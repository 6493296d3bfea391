import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_problem import GOOD, POOR, tiny_problem

from hybridge.design.modeltree.choices import KEEP, BlockChoice, branch_to
from hybridge.design.modeltree.drawn import Random, RandomSettings
from hybridge.design.modeltree.problem import AccuracyFloor

WHOLE = BlockChoice(None, (KEEP, KEEP))


def measured(problem, tree):
    return {part: problem.measure(part).value for part in problem.parts(tree)}


@given(st.integers(0, 1000))
def test_a_parents_reward_is_the_mean_of_its_childrens(seed):
    problem = tiny_problem(seed % 5)
    (tree,) = Random(problem, seed, RandomSettings()).ask()
    rewards = problem.rewards(tree, measured(problem, tree))
    assert set(rewards) == set(tree)
    for path, choice in tree.items():
        if choice.cut is None and len(path) < 3:
            children = [rewards[*path, kind] for kind in (0, 1)]
            assert rewards[path] == pytest.approx(sum(children) / 2)
    assert problem.score(tree, measured(problem, tree)) == pytest.approx(
        (rewards[0,] + rewards[1,]) / 2
    )


def test_a_transfer_is_priced_at_the_type_under_which_the_cut_was_reached():
    problem = tiny_problem()
    branch = (WHOLE, BlockChoice(1, (KEEP,)))
    payload = problem.costs.payload_bytes(1, 1)
    difference_ms = problem.latency_ms(branch, 0) - problem.latency_ms(branch, 1)
    assert difference_ms == pytest.approx(POOR.transfer_ms(payload) - GOOD.transfer_ms(payload))
    tree = dict(problem.space.tree_of(branch))
    rewards = problem.rewards(tree, measured(problem, tree))
    assert rewards[0, 1] == rewards[1, 1] > rewards[0, 0] == rewards[1, 0]


def test_a_branch_that_stays_on_the_edge_does_not_feel_the_link():
    problem = tiny_problem()
    assert problem.latency_ms((WHOLE,) * 3, 0) == problem.latency_ms((WHOLE,) * 3, 1)
    assert problem.latency_ms((WHOLE,) * 3, 0) == pytest.approx(44)


def test_parts_are_compositions_each_once():
    problem = tiny_problem()
    tree = problem.space.tree_of((WHOLE, BlockChoice(1, ("C1",))))
    (part,) = problem.parts(tree)
    assert part == (KEEP, KEEP, "C1", KEEP, KEEP, KEEP)


def test_the_problem_under_one_link_is_that_of_a_branch():
    problem = tiny_problem()
    branch = (WHOLE, BlockChoice(1, (KEEP,)))
    assert problem.under(GOOD).latency_ms(branch, 0) == problem.latency_ms(branch, 1)
    tree = problem.under(GOOD).space.tree_of(branch)
    assert set(tree) == {(0,), (0, 0)}
    assert branch_to(tree, (0, 0)) == branch


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 100))
def test_each_hundredth_below_the_floor_costs_its_points(accuracy, floor, points):
    expected = points * 100 * max(0.0, floor - accuracy)
    found = AccuracyFloor(floor, points).penalty(accuracy)
    assert found == pytest.approx(expected, abs=1e-9)


def test_worth_is_that_of_each_of_an_array():
    problem = tiny_problem(floor=0.9)
    latencies, accuracies = np.array([10.0, 60.0]), np.array([0.85, 0.95])
    pairs = zip(latencies, accuracies, strict=True)
    assert problem.worth(latencies, accuracies) == pytest.approx(
        [problem.worth(float(ms), float(accuracy)) for ms, accuracy in pairs]
    )
    assert problem.worth(10.0, 0.85) == pytest.approx(294 + 70 - 250)
