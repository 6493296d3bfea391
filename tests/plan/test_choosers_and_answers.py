import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pydantic import TypeAdapter, ValidationError

from hybridge.errors import PlanError
from hybridge.plan.answers import Abstain, Fused, Newest, log_softmax, softmax
from hybridge.plan.choosers import Always, Chooser, ScoreThreshold
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
