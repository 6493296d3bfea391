import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridge.cost.gain import gains
from hybridge.errors import ConfigError
from hybridge.plan.variants import cloud_only
from tiny_plans import pair_plan, pair_rehearsal


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return pair_plan(tmp_path_factory.mktemp("programs"))


def rehearsed(plan, score, kept_right, sent_right):
    """A rehearsal in which the kept and the sent answers are right where it is said."""
    rehearsal = pair_rehearsal(plan, score)
    truth = np.zeros(len(score), np.int64)
    said = {
        ((0,), None): np.eye(3, dtype=np.float32)[1 - np.asarray(kept_right, np.int64)],
        ((1,), "raw"): np.eye(3, dtype=np.float32)[1 - np.asarray(sent_right, np.int64)],
    }
    return replace(rehearsal, truth=truth, probabilities=said)


def test_hard_inputs_gain_and_easy_ones_do_not(plan):
    score = np.arange(1000.0)
    found = gains(plan, rehearsed(plan, score, score < 600, np.ones(1000)))
    assert found.points[0] == 0
    assert found.points[-1] == 100
    assert found.threshold(1.0) == pytest.approx(600, abs=1)
    assert found.threshold(0.0) == -math.inf
    assert found.threshold(101.0) == math.inf


@given(seed=st.integers(0, 999), count=st.integers(1, 400))
def test_gains_never_fall_and_keep_their_mean(plan, seed, count):
    rng = np.random.default_rng(seed)
    kept, sent = rng.random((2, count)) < 0.7
    found = gains(plan, rehearsed(plan, rng.normal(size=count), kept, sent))
    assert list(found.points) == sorted(found.points)
    assert list(found.lows) == sorted(found.lows)
    mean = 100 * (sent.mean() - kept.mean())
    assert found.points[0] - 1e-9 <= mean <= found.points[-1] + 1e-9


def test_gains_are_judged_by_held_out_scores_on_the_device_s_axis(plan):
    score = np.arange(100.0)
    rehearsal = rehearsed(plan, score, score < 50, np.ones(100))
    # Held out, the router ranks the other way round and on another scale.
    turned = replace(rehearsal, held_out_score={(): -10 * score})
    assert max(gains(plan, turned).points) <= 50
    assert set(gains(plan, turned).scores) == set(score)


def test_a_plan_that_is_no_query_is_refused(plan):
    with pytest.raises(ConfigError, match="one fork by score"):
        gains(cloud_only(plan), pair_rehearsal(plan, [0.0]))
