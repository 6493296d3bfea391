"""Tuning a selective query from its rehearsal."""

from dataclasses import replace

import numpy as np
import pytest

from hybridge.cost.surroundings import Surroundings
from hybridge.cost.target import Target
from hybridge.cost.tune import tune
from hybridge.errors import InfeasibleError, PlanError, UnknownNameError
from hybridge.plan.rehearsal import Rehearsal
from hybridge.plan.variants import edge_only
from tiny_plans import pair_plan

COUNT = 100
AROUND = Surroundings()


@pytest.fixture
def plan(tmp_path):
    return pair_plan(tmp_path)


def rehearsal_of(plan, score, base_right, sent_right):
    """Return a rehearsal with two classes in which class 1 is always true."""
    truth = np.ones(COUNT, np.int64)

    def says(right):
        return np.stack([~right, right], axis=1).astype(np.float32)

    ((path, step),) = plan.steps("cloud")
    return Rehearsal(
        fingerprint="f",
        programs={name: program.sha256 for name, program in plan.programs.items()},
        truth=truth,
        score={(): np.asarray(score, np.float64)},
        probabilities={((0,), None): says(base_right), (path, step.codec): says(sent_right)},
        payload_bytes={(path, step.codec): np.full(COUNT, 10)},
    )


@pytest.fixture
def rehearsal(plan):
    # The base is wrong on the last twenty, which also have the highest scores.
    index = np.arange(COUNT)
    return rehearsal_of(plan, index, index < 80, np.ones(COUNT, bool))


def test_coverage_is_realised_on_the_same_data(plan, rehearsal):
    point = tune(plan, rehearsal, Target(coverage=0.9), AROUND)
    assert (rehearsal.score[()] <= point.threshold).mean() == point.coverage == 0.9
    assert point.accuracy == 0.9
    assert point.payload_bytes == pytest.approx(1.0)


def test_accuracy_takes_the_cheapest_point(plan, rehearsal):
    point = tune(plan, rehearsal, Target(accuracy=1.0), AROUND)
    assert point.coverage == 0.8


def test_accuracy_is_judged_by_held_out_scores(plan, rehearsal):
    """In sample the router is perfect; held out it is no better than a coin."""
    held_out = np.random.default_rng(0).permutation(COUNT).astype(np.float64)
    honest = replace(rehearsal, held_out_score={(): held_out})
    by_coverage = tune(plan, honest, Target(coverage=0.8), AROUND)
    assert by_coverage.coverage == 0.8
    assert by_coverage.accuracy < 0.95
    by_accuracy = tune(plan, honest, Target(accuracy=1.0), AROUND)
    assert by_accuracy.coverage < 0.5


def test_an_infeasible_target_names_what_is_feasible(plan):
    index = np.arange(COUNT)
    rehearsal = rehearsal_of(plan, index, index < 80, index < 95)
    with pytest.raises(InfeasibleError, match=r"the best is 95.00%"):
        tune(plan, rehearsal, Target(accuracy=0.99), AROUND)


def test_only_a_selective_query_can_be_tuned(plan, rehearsal):
    with pytest.raises(PlanError, match="keeps inputs by score or sends them to one cloud step"):
        tune(edge_only(plan), rehearsal, Target(coverage=0.5), AROUND)


def test_surroundings_that_nobody_knows_are_corrected(plan, rehearsal):
    with pytest.raises(UnknownNameError, match="did you mean 'lte'"):
        tune(plan, rehearsal, Target(coverage=0.5), Surroundings(link="ltee"))
