import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pydantic import TypeAdapter, ValidationError

from hybridge.errors import PlanError
from hybridge.links.contexts import BandwidthTypes
from hybridge.plan.answers import Abstain, Fused, Newest, log_softmax, softmax
from hybridge.plan.choosers import Always, ByBandwidth, Chooser, ScoreThreshold
from hybridge.plan.observation import Observation

numbers = st.floats(allow_nan=False)
logits = arrays(
    np.float32, array_shapes(min_dims=2, max_dims=2), elements=st.floats(-1e3, 1e3, width=32)
)


@given(score=numbers, threshold=numbers)
def test_an_input_is_sent_only_where_its_score_is_above_the_threshold(score, threshold):
    choice = ScoreThreshold(threshold=threshold).choose(Observation(score=score))
    assert choice.child == (1 if score > threshold else 0)
    assert choice.reason


def test_a_score_at_the_threshold_is_kept():
    assert ScoreThreshold(threshold=0.5).choose(Observation(score=0.5)).child == 0


def test_without_a_score_there_is_no_choice():
    with pytest.raises(PlanError, match="score"):
        ScoreThreshold().choose(Observation())


@given(numbers)
def test_a_threshold_survives_json(threshold):
    chooser = ScoreThreshold(threshold=threshold)
    assert ScoreThreshold.model_validate_json(chooser.model_dump_json()) == chooser


def test_nan_is_no_threshold():
    with pytest.raises(ValueError, match="nan"):
        ScoreThreshold(threshold=math.nan)


@given(logits)
def test_probabilities_sum_to_one_and_keep_the_order(values):
    probabilities = softmax(values)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    best = np.take_along_axis(values, probabilities.argmax(axis=1)[:, None], axis=1)
    np.testing.assert_allclose(best[:, 0], values.max(axis=1), atol=1e-9)


@given(logits, st.floats(-100, 100))
def test_log_softmax_does_not_change_with_a_shift(values, shift):
    shifted = log_softmax(values.astype(np.float64) + shift)
    np.testing.assert_allclose(shifted, log_softmax(values), atol=1e-9)


def test_a_high_temperature_flattens():
    values = np.array([[0.0, 4.0]])
    assert softmax(values, temperature=4.0).max() < softmax(values).max()


def test_newest_and_abstain_give_the_softmax_of_their_logits():
    values = {"base.logits": np.array([[1.0, 2.0]])}
    for combine in (Newest(logits="base.logits"), Abstain(logits="base.logits")):
        np.testing.assert_array_equal(combine.probabilities(values), softmax(values["base.logits"]))


@pytest.mark.parametrize(("weight", "same_as"), [(1.0, "base"), (0.0, "global")])
def test_fusing_with_all_the_weight_on_one_is_that_one(weight, same_as):
    values = {"base": np.array([[1.0, 2.0, 0.0]]), "global": np.array([[3.0, 2.0, 1.0]])}
    fused = Fused(base="base", global_="global", base_weight=weight)
    np.testing.assert_allclose(fused.probabilities(values), softmax(values[same_as]))


def test_fusing_can_answer_what_neither_says_alone():
    values = {"base": np.array([[4.0, 3.9, -9.0]]), "global": np.array([[-9.0, 3.9, 4.0]])}
    fused = Fused(base="base", global_="global", base_weight=0.5)
    assert fused.probabilities(values).argmax() == 1
    assert fused.needs == ("base", "global")


@given(st.floats(allow_nan=False))
def test_a_score_that_is_no_number_is_never_kept(threshold):
    choice = ScoreThreshold(threshold=threshold).choose(Observation(score=math.nan))
    assert (choice.child, choice.reason) == (1, "score is NaN")


def test_a_chooser_says_what_leads_to_each_child():
    chooser = ScoreThreshold(threshold=0.25)
    assert chooser.describe(0) == "kept: score ≤ 0.25"
    assert chooser.describe(1) == "sent: score > 0.25"


@given(child=st.integers(0, 9), score=st.none() | st.floats())
def test_always_takes_one_child_whatever_is_seen(child, score):
    chooser = Always(child=child)
    assert chooser.choose(Observation(score=score)).child == child
    assert chooser.describe(child) == "always"
    assert chooser.describe(child + 1) == "never"


def test_there_is_no_child_before_the_first():
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        Always(child=-1)


@pytest.mark.parametrize("chooser", [Always(child=1), ScoreThreshold(threshold=math.inf)])
def test_choosers_are_told_apart_by_their_kind(chooser):
    union = TypeAdapter(Chooser)
    assert union.validate_json(chooser.model_dump_json()) == chooser


def test_an_unknown_kind_of_chooser_is_named():
    with pytest.raises(ValidationError, match=r"'oracle'.*'score_threshold', 'always'"):
        TypeAdapter(Chooser).validate_python({"kind": "oracle"})


borders = st.lists(st.floats(1e3, 1e9), max_size=4).map(lambda found: tuple(sorted(found)))


@given(
    typical=st.lists(st.floats(1e3, 1e9), min_size=1, max_size=5).map(sorted),
    bandwidth_bps=st.floats(0, 1e10),
    near=st.integers(0, 9),
)
def test_a_bandwidth_is_of_the_type_that_links_say_it_is(typical, bandwidth_bps, near):
    types = BandwidthTypes(tuple(typical))
    chooser = ByBandwidth(borders_bps=types.borders_bps)
    for bps in (bandwidth_bps, *types.borders_bps, typical[near % len(typical)]):
        choice = chooser.choose(Observation(bandwidth_bps=bps))
        assert choice.child == types.type_of(bps)
        assert choice.reason == chooser.describe(choice.child)


@given(borders_bps=borders, bandwidth_bps=st.floats(0, 1e10))
def test_the_child_is_how_many_borders_are_reached(borders_bps, bandwidth_bps):
    chooser = ByBandwidth(borders_bps=borders_bps)
    child = chooser.choose(Observation(bandwidth_bps=bandwidth_bps)).child
    assert child == sum(border <= bandwidth_bps for border in borders_bps) < chooser.least_children


@given(borders_bps=borders, bandwidth_bps=st.sampled_from([None, math.nan]))
def test_a_bandwidth_that_is_not_known_is_taken_as_the_poorest(borders_bps, bandwidth_bps):
    choice = ByBandwidth(borders_bps=borders_bps).choose(Observation(bandwidth_bps=bandwidth_bps))
    assert choice.child == 0
    assert "unknown" in choice.reason


def test_types_of_bandwidth_are_told_in_words():
    chooser = ByBandwidth(borders_bps=(400e3, 3.2e6))
    assert [chooser.describe(child) for child in range(4)] == [
        "bandwidth < 0.4 Mbit/s",
        "0.4 ≤ bandwidth < 3.2 Mbit/s",
        "bandwidth ≥ 3.2 Mbit/s",
        "never by bandwidth",
    ]
    assert ByBandwidth(borders_bps=()).describe(0) == "any bandwidth"


@given(borders_bps=borders)
def test_borders_survive_json(borders_bps):
    chooser = ByBandwidth(borders_bps=borders_bps)
    assert TypeAdapter(Chooser).validate_json(chooser.model_dump_json()) == chooser


@pytest.mark.parametrize("borders_bps", [(2e6, 1e6), (0.0,), (-1.0,), (math.nan,), (math.inf,)])
def test_borders_are_positive_and_rise(borders_bps):
    with pytest.raises(ValidationError, match="borders_bps"):
        ByBandwidth(borders_bps=borders_bps)
