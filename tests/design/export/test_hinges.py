import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridge.design.export.hinges import STEP, exp_knots, exp_scales, falling, log_knots, rising


def drawn_down(x, knots, scales, factors):
    return np.maximum((knots - x[:, None]) * scales, 0) @ factors


@pytest.mark.parametrize(("count", "error"), [(16, 6e-3), (24, 4e-3), (44, 3e-3)])
def test_falling_hinges_follow_an_exponential(count, error):
    knots = exp_knots(count, 8.0)
    scales = exp_scales(knots)
    factors = falling(lambda x: np.where(x >= knots[-1], 0.0, np.exp(-x)), knots, scales)
    x = np.linspace(0, 12, 999)
    assert np.abs(drawn_down(x, knots, scales, factors) - np.exp(-x)).max() < error


@given(st.floats(2.0, 60.0))
def test_rising_hinges_follow_a_logarithm(end):
    knots = log_knots(16, end)
    factors = rising(np.log, knots)
    x = np.linspace(1, end, 999)
    got = np.maximum(x[:, None] - knots[:-1], 0) @ factors
    drawn = (np.log(end) / 16) ** 2 / 8
    # Half a step of slope over the widest interval.
    rounded = STEP / 2 * (knots[-1] - knots[-2])
    assert np.abs(got - np.log(x)).max() < drawn + rounded + 1e-3


def test_factors_are_whole_steps_of_an_8_bit_weight():
    knots = exp_knots(24, 8.0)
    steps = falling(lambda x: np.exp(-x), knots, exp_scales(knots)) / STEP
    assert steps == pytest.approx(np.round(steps))
    assert np.abs(steps).max() <= 127
