import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError

from hybridge.cost.operating import Costs, UnitCost
from hybridge.cost.target import (
    Target,
    choose,
    threshold_for_coverage,
)
from hybridge.errors import ConfigError, DataError, InfeasibleError

EPS = 1e-9
# Whole numbers over a small range tie often.
scores = st.one_of(
    arrays(np.float64, st.integers(1, 60), elements=st.integers(-3, 3)),
    arrays(
        np.float64, st.integers(1, 60), elements=st.floats(allow_nan=False, allow_infinity=False)
    ),
)
shares = st.floats(0, 1) | st.sampled_from([0.0, 0.1, 0.3, 0.7, 0.9, 1.0])


def costs(edge=20e6, cloud=100e6):
    return Costs(macs=UnitCost(edge, cloud))


@given(scores, shares)
def test_the_realised_query_rate_never_exceeds_the_planned_one(score, coverage):
    threshold = threshold_for_coverage(score, coverage)
    assert (score > threshold).mean() <= 1 - coverage + EPS


@given(scores, shares)
def test_no_lower_threshold_would_keep_to_the_planned_rate(score, coverage):
    """Ties are kept only where they must be."""
    threshold = threshold_for_coverage(score, coverage)
    kept = score[score <= threshold]
    if kept.size:
        assert (score >= kept.max()).mean() > 1 - coverage + EPS / 2


@given(scores, shares, shares)
def test_more_coverage_means_a_higher_threshold(score, one, other):
    low, high = sorted((one, other))
    assert threshold_for_coverage(score, low) <= threshold_for_coverage(score, high)


@given(scores)
def test_the_extremes_keep_and_send_everything(score):
    assert threshold_for_coverage(score, 1.0) == np.inf
    assert threshold_for_coverage(score, 0.0) == -np.inf


def test_ties_are_kept_together():
    score = np.array([0.0, 1.0, 1.0, 1.0, 2.0])
    # Two of five may be sent, but the second comes with two others.
    threshold = threshold_for_coverage(score, 0.6)
    assert (score > threshold).tolist() == [False, False, False, False, True]
    assert (score > threshold_for_coverage(score, 0.2)).sum() == 4
    assert (score > threshold_for_coverage(np.ones(5), 0.2)).sum() == 0


@given(scores, st.floats(20, 200))
def test_a_target_cost_is_the_quantile_at_its_coverage(score, macs_m):
    """Algorithm 2: c* = 1 - (rho - R_router - R_base) / R_global."""
    right = np.ones(len(score), np.bool_)
    point = choose(score, right, right, costs(), Target(macs_m=macs_m))
    planned = np.clip(1 - (macs_m * 1e6 - 20e6) / 100e6, 0, 1)
    assert point.threshold == threshold_for_coverage(score, planned)
    assert point.macs <= macs_m * 1e6 * (1 + EPS)
    assert point.query_rate <= 1 - planned + EPS


def test_a_cost_below_the_edges_own_is_infeasible_and_names_the_nearest():
    score, right = np.arange(4.0), np.ones(4, np.bool_)
    with pytest.raises(InfeasibleError, match="costs 20"):
        choose(score, right, right, costs(), Target(macs_m=19.9))
    assert choose(score, right, right, costs(), Target(macs_m=20)).coverage == 1


def test_a_cost_above_the_clouds_does_not_bind():
    score, right = np.arange(4.0), np.ones(4, np.bool_)
    assert choose(score, right, right, costs(), Target(macs_m=500)).coverage == 0


def test_bytes_are_counted_input_by_input():
    """The two hardest inputs are small, the next is large."""
    score, right = np.array([1.0, 2.0, 3.0, 4.0]), np.ones(4, np.bool_)
    unit = Costs(UnitCost(0, 1), payload_bytes=UnitCost(0, np.array([9.0, 500.0, 10.0, 20.0])))
    point = choose(score, right, right, unit, Target(payload_bytes=30))
    assert point.coverage == 0.5
    assert point.payload_bytes == 7.5


@pytest.mark.parametrize("what", ["latency_ms", "energy_mj", "payload_bytes"])
def test_a_target_whose_cost_is_unknown_is_refused(what):
    score, right = np.arange(4.0), np.ones(4, np.bool_)
    with pytest.raises(ConfigError, match=what):
        choose(score, right, right, costs(), Target(**{what: 3}))


def test_a_target_accuracy_takes_the_cheapest_point():
    score = np.array([4.0, 3.0, 2.0, 1.0])
    kept = np.array([False, False, True, False])
    sent = np.array([True, True, False, True])
    point = choose(score, kept, sent, costs(), Target(accuracy=0.5))
    assert (point.coverage, point.accuracy) == (0.75, 0.5)
    assert choose(score, kept, sent, costs(), Target(accuracy=0.75)).coverage == 0.5
    assert choose(score, kept, sent, costs(), Target(accuracy=0)).coverage == 1


def test_an_accuracy_nobody_reaches_names_the_best():
    score, half = np.array([2.0, 1.0]), np.array([True, False])
    with pytest.raises(InfeasibleError, match=r"90.00%.*best is 50.00%.*coverage of 100.00%"):
        choose(score, half, half, costs(), Target(accuracy=0.9))


@pytest.mark.parametrize("given", [{}, {"coverage": 0.5, "accuracy": 0.9}, {"coverage": 1.5}])
def test_a_target_is_exactly_one_sensible_number(given):
    with pytest.raises(ValidationError):
        Target(**given)


@pytest.mark.parametrize("coverage", [-0.1, 1.1, np.nan])
def test_a_coverage_outside_0_and_1_is_refused(coverage):
    with pytest.raises(ConfigError, match="from 0 to 1"):
        threshold_for_coverage(np.arange(3.0), coverage)


def test_no_scores_give_no_threshold():
    with pytest.raises(DataError, match="N > 0"):
        threshold_for_coverage(np.zeros(0), 0.5)
