import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridge.emulate.arrivals import (
    MAX_REQUESTS,
    at_fixed_rate,
    at_random,
    back_to_back,
    count_within,
)
from hybridge.errors import ConfigError


def test_a_fixed_rate_begins_at_once_and_is_even():
    assert at_fixed_rate(4, 3).times_ms.tolist() == [0, 250, 500]


@given(per_s=st.floats(0.1, 1000), seed=st.integers(0, 99))
def test_random_arrivals_rise_and_keep_their_rate(per_s, seed):
    times_ms = at_random(per_s, 2000, seed).times_ms
    assert (np.diff(times_ms) > 0).all()
    assert 2000 / times_ms[-1] * 1000 == pytest.approx(per_s, rel=0.15)


def test_a_seed_gives_the_same_times_and_another_gives_others():
    times_ms = [at_random(10, 50, seed).times_ms.tolist() for seed in (0, 0, 1)]
    assert times_ms[0] == times_ms[1] != times_ms[2]


def test_requests_back_to_back_have_no_times():
    assert (back_to_back(7).count, back_to_back(7).times_ms) == (7, None)


def test_a_duration_holds_as_many_requests_as_the_rate_says():
    assert count_within(3600, 10) == 36_000
    assert count_within(0.01, 1) == 1


@pytest.mark.parametrize("per_s", [0, -1, math.nan, math.inf])
def test_a_rate_must_be_positive(per_s):
    for make in (
        at_fixed_rate,
        partial(at_random, seed=0),
        lambda per_s, _: count_within(1, per_s),
    ):
        with pytest.raises(ConfigError, match="rate of more than 0 requests a second"):
            make(per_s, 10)


@pytest.mark.parametrize("count", [0, -1, MAX_REQUESTS + 1])
def test_requests_must_be_some_and_not_too_many(count):
    for make in (back_to_back, lambda count: at_fixed_rate(10, count)):
        with pytest.raises(ConfigError, match=r"expected 1 to 1,000,000 requests"):
            make(count)


def test_a_seed_is_not_negative():
    with pytest.raises(ConfigError, match="seed"):
        at_random(1, 1, -1)


@pytest.mark.parametrize("duration_s", [0, -1, math.nan, math.inf])
def test_a_duration_must_be_positive_and_end(duration_s):
    with pytest.raises(ConfigError, match="duration of more than 0"):
        count_within(duration_s, 10)


def test_too_long_a_duration_is_refused_before_anything_is_made():
    with pytest.raises(ConfigError, match="make it shorter or slower"):
        count_within(1e300, 1e300)
