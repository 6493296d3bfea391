from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hybridge.errors import DataError, PlanError
from hybridge.plan.rehearsal import (
    Rehearsal,
    dump_rehearsal,
    leaf_at,
    leaf_of_each,
    parse_rehearsal,
    query_rate,
)
from hybridge.plan.variants import cloud_only, edge_only, with_threshold
from priced_plans import tree_plan as score_tree
from tiny_plans import assert_same_rehearsal, pair_plan, pair_rehearsal
from tiny_trees import BORDER_BPS, tree_plan


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return pair_plan(tmp_path_factory.mktemp("programs"))


some_scores = arrays(np.float64, st.integers(1, 30), elements=st.floats(-5, 5))


@given(score=some_scores)
def test_a_rehearsal_survives_the_disk(plan, score):
    rehearsal = pair_rehearsal(plan, score)
    assert_same_rehearsal(parse_rehearsal(dump_rehearsal(rehearsal)), rehearsal)


@given(score=some_scores)
def test_held_out_scores_survive_the_disk(plan, score):
    rehearsal = replace(pair_rehearsal(plan, score), held_out_score={(): score})
    assert_same_rehearsal(parse_rehearsal(dump_rehearsal(rehearsal)), rehearsal)


@given(score=some_scores, name=st.text(min_size=1), codec=st.sampled_from(["raw", "webp"]))
def test_what_programs_say_alone_survives_the_disk(plan, score, name, codec):
    said = np.tile(np.float32([0.5, 0.25, 0.25]), (len(score), 1))
    rehearsal = replace(pair_rehearsal(plan, score), alone={(name, codec): said})
    assert_same_rehearsal(parse_rehearsal(dump_rehearsal(rehearsal)), rehearsal)


def test_a_rehearsal_of_before_there_was_alone_still_loads(plan):
    assert parse_rehearsal(dump_rehearsal(pair_rehearsal(plan, [0.0]))).alone == {}


@given(score=some_scores, threshold=st.floats(-5, 5))
def test_the_query_rate_is_the_share_of_scores_above_the_threshold(plan, score, threshold):
    moved = with_threshold(plan, threshold)
    rehearsal = pair_rehearsal(plan, score)
    assert query_rate(moved, rehearsal) == (score > threshold).mean()
    sent = [path == (1,) for path in leaf_of_each(moved, rehearsal)]
    assert sent == list(score > threshold)


def test_answers_are_those_of_the_leaf(plan):
    rehearsal = pair_rehearsal(plan, [0.0, 1.0])
    assert rehearsal.answers((0,)).tolist() == [0, 0]
    assert rehearsal.answers((1,), "raw").tolist() == [2, 2]
    with pytest.raises(PlanError, match=r"codec 'webp' was not rehearsed; known"):
        rehearsal.answers((1,), "webp")


def test_a_rehearsal_fits_its_plan_at_any_threshold(plan):
    pair_rehearsal(plan, [0.0]).check_fits(with_threshold(plan, 3.0))


@pytest.mark.parametrize("variant", [edge_only, cloud_only])
def test_a_rehearsal_does_not_fit_another_tree(plan, variant):
    with pytest.raises(PlanError, match="leaves"):
        pair_rehearsal(plan, [0.0]).check_fits(variant(plan))


def test_a_rehearsal_does_not_fit_other_programs(plan):
    other = plan.programs["base"].model_copy(update={"sha256": "0" * 64})
    changed = plan.model_copy(update={"programs": plan.programs | {"base": other}})
    with pytest.raises(PlanError, match="'base'"):
        pair_rehearsal(plan, [0.0]).check_fits(changed)


def test_a_rehearsal_fits_only_with_the_codec_of_the_plan(plan):
    with pytest.raises(PlanError, match="not rehearsed with 'raw'"):
        pair_rehearsal(plan, [0.0], codec="webp").check_fits(plan)


@pytest.mark.parametrize("what", ["score", "probabilities", "payload_bytes"])
@pytest.mark.parametrize("spoil", [lambda array: array[:1], lambda array: array[..., None]])
def test_a_rehearsal_has_a_row_for_each_input(plan, what, spoil):
    rehearsal = pair_rehearsal(plan, [0.0, 1.0])
    spoilt = {key: spoil(array) for key, array in getattr(rehearsal, what).items()}
    with pytest.raises(PlanError, match=f"{what} at .* with N = 2, but is"):
        replace(rehearsal, **{what: spoilt}).check_fits(plan)


@pytest.mark.parametrize("data", [b"", b"nonsense", b"\0" * 64])
def test_what_is_no_rehearsal_is_refused(data):
    with pytest.raises(DataError, match="expected a rehearsal"):
        parse_rehearsal(data)


def test_a_later_format_is_refused(plan):
    data = dump_rehearsal(pair_rehearsal(plan, [0.0]))
    with pytest.raises(DataError, match="expected rehearsal format 1, got 9"):
        parse_rehearsal(data.replace(b'\\"format\\": 1', b'\\"format\\": 9'))


@pytest.mark.parametrize(
    ("bandwidth_bps", "leaf", "rate"),
    [(None, (0, 0, 0), 0), (BORDER_BPS - 1, (0, 0, 0), 0), (BORDER_BPS, (1,), 1)],
)
def test_where_inputs_end_depends_on_the_bandwidth(tmp_path, bandwidth_bps, leaf, rate):
    plan = tree_plan(tmp_path)
    rehearsal = Rehearsal("f", {}, np.zeros(3), {}, {}, {})
    assert leaf_of_each(plan, rehearsal, bandwidth_bps) == [leaf] * 3
    assert query_rate(plan, rehearsal, bandwidth_bps) == rate
    assert leaf_at(plan, bandwidth_bps) == leaf


def test_a_bandwidth_alone_does_not_say_what_a_score_decides():
    with pytest.raises(PlanError, match="score"):
        leaf_at(score_tree(), 1e6)
