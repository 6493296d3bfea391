import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hybridge.cost.operating import Costs, OperatingPoint, UnitCost, area_under, measure_at, sweep
from hybridge.errors import ConfigError, DataError

COSTS = Costs(
    macs=UnitCost(10.0, 100.0),
    payload_bytes=UnitCost(0.0, 3000.0),
    latency_ms=UnitCost(5.0, 50.0),
    energy_mj=UnitCost(1.0, 20.0),
)
# Few distinct values, so that ties are common; two are neighbouring floats.
some_scores = st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0, float(np.nextafter(1.0, 2))])
any_scores = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def outcomes(draw, elements=some_scores | any_scores):
    n = draw(st.integers(1, 40))
    score = draw(arrays(np.float64, n, elements=elements))
    kept, sent = (draw(arrays(np.bool_, n)) for _ in range(2))
    return score, kept, sent


def brute_force(threshold, score, kept_correct, sent_correct):
    sent = score > threshold
    return 1 - sent.mean(), np.where(sent, sent_correct, kept_correct).mean()


@given(outcomes())
def test_every_point_of_a_sweep_is_what_its_threshold_does(data):
    curve = sweep(*data, COSTS)
    for index in range(len(curve)):
        point = curve.point(index)
        coverage, accuracy = brute_force(point.threshold, *data)
        assert point.coverage == pytest.approx(coverage)
        assert point.accuracy == pytest.approx(accuracy)
        assert_near(measure_at(point.threshold, *data, COSTS), point)


def assert_near(one, other):
    one, other = one.model_dump(), other.model_dump()
    assert {name for name in one if one[name] is None} == {n for n in other if other[n] is None}
    numbers = {name: value for name, value in one.items() if value is not None}
    assert numbers == pytest.approx({name: other[name] for name in numbers})


@given(outcomes())
def test_a_sweep_runs_from_all_kept_to_all_sent(data):
    curve = sweep(*data, COSTS)
    score, kept, sent = data
    assert curve.threshold[0] == np.inf
    assert curve.coverage[0] == 1
    assert curve.accuracy[0] == pytest.approx(kept.mean())
    assert curve.macs[0] == 10
    assert curve.threshold[-1] == -np.inf
    assert curve.coverage[-1] == 0
    assert curve.accuracy[-1] == pytest.approx(sent.mean())
    assert curve.macs[-1] == 110
    assert len(curve) == len(np.unique(score)) + 1


@given(outcomes())
def test_costs_rise_as_the_threshold_falls(data):
    curve = sweep(*data, COSTS)
    assert (curve.threshold[1:] < curve.threshold[:-1]).all()
    assert (np.diff(curve.coverage) < 0).all()
    for cost in (curve.macs, curve.payload_bytes, curve.latency_ms, curve.energy_mj):
        assert (np.diff(cost) > 0).all()


@given(outcomes(), st.randoms())
def test_the_order_of_the_inputs_does_not_matter(data, random):
    order = list(range(len(data[0])))
    random.shuffle(order)
    one, other = sweep(*data, COSTS), sweep(*(column[order] for column in data), COSTS)
    np.testing.assert_array_equal(one.threshold, other.threshold)
    np.testing.assert_allclose(one.accuracy, other.accuracy)


def test_thresholds_lie_midway_between_neighbouring_scores():
    right = np.array([True, True, True])
    curve = sweep(np.array([1.0, 3.0, 7.0]), right, right, COSTS)
    assert curve.threshold.tolist() == [np.inf, 5.0, 2.0, -np.inf]


def test_costs_that_differ_from_input_to_input_are_summed_over_what_is_sent():
    score = np.array([0.0, 2.0, 1.0, 3.0])
    right = np.ones(4, np.bool_)
    costs = Costs(
        macs=UnitCost(0, 1), payload_bytes=UnitCost(0, np.array([1000.0, 200.0, 400.0, 100.0]))
    )
    curve = sweep(score, right, right, costs)
    assert curve.payload_bytes.tolist() == [0, 25, 75, 175, 425]
    assert measure_at(1.5, score, right, right, costs).payload_bytes == 75


def test_unknown_costs_and_an_empty_edge_are_none():
    score, right = np.array([1.0, 2.0]), np.ones(2, np.bool_)
    point = measure_at(-np.inf, score, right, right, Costs(macs=UnitCost(1, 2)))
    assert (point.payload_bytes, point.latency_ms, point.energy_mj) == (None, None, None)
    assert point.accuracy_kept is None
    assert point.query_rate == 1


def test_an_infinite_threshold_survives_json():
    score, right = np.array([1.0, 2.0]), np.ones(2, np.bool_)
    point = measure_at(np.inf, score, right, right, COSTS)
    assert OperatingPoint.model_validate_json(point.model_dump_json()) == point


@pytest.mark.parametrize(
    ("score", "kept", "sent", "names"),
    [
        (np.zeros(3), np.ones(2, np.bool_), np.ones(3, np.bool_), r"\(2,\)"),
        (np.zeros(0), np.ones(0, np.bool_), np.ones(0, np.bool_), "N > 0"),
        (np.array([0.0, np.nan]), np.ones(2, np.bool_), np.ones(2, np.bool_), "input 1"),
        (np.zeros(2), np.array([7, 1]), np.ones(2, np.bool_), "kept_correct as bool"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(score, kept, sent, names):
    with pytest.raises(DataError, match=names):
        sweep(score, kept, sent, COSTS)


def test_cloud_costs_that_do_not_fit_are_refused():
    right = np.ones(2, np.bool_)
    for cloud in (np.ones(3), np.array([1.0, -1.0])):
        with pytest.raises(DataError, match="cloud cost"):
            sweep(np.zeros(2), right, right, Costs(macs=UnitCost(1, cloud)))


def test_area_under_a_straight_line_is_its_middle():
    """Base always wrong, global always right: accuracy rises in a line from 0 to 1."""
    n = 50
    curve = sweep(
        np.arange(n, dtype=np.float64), np.zeros(n, np.bool_), np.ones(n, np.bool_), COSTS
    )
    assert area_under(curve, 10, 110) == pytest.approx(0.5)
    assert area_under(curve, 10, 60) == pytest.approx(0.25)


def test_area_beyond_the_curve_is_refused():
    right = np.ones(2, np.bool_)
    curve = sweep(np.array([1.0, 2.0]), right, right, COSTS)
    with pytest.raises(ConfigError, match="10 to 110"):
        area_under(curve, 0, 110)
