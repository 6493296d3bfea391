import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridge.design.export.moments import moments, nearest, scaled, windows


def alike(rng, places, width):
    """Return numbers ``(places, width)`` that rise and fall together, as neighbouring pixels do."""
    return rng.normal(size=(places, 1)) + 0.3 * rng.normal(size=(places, width)) + 1.0


def off(read, weights, whole, steps):
    """Return the root mean square by which each row's sums are off."""
    return np.sqrt(((read @ (whole * steps[:, None] - weights).T) ** 2).mean(axis=0))


def test_sums_over_what_rises_and_falls_together_stay_right():
    rng = np.random.default_rng(0)
    read, weights = alike(rng, 400, 25), rng.normal(size=(8, 25))
    steps = np.abs(weights).max(axis=1) / 7
    seen = moments(read.reshape(1, 400, 25), depthwise=False)
    plain, by_sums = nearest(weights, steps, None), nearest(weights, steps, seen)
    assert off(read, weights, by_sums, steps).mean() < 0.6 * off(read, weights, plain, steps).mean()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.integers(1, 5), st.integers(0, 1000))
def test_rounding_by_sums_stays_within_range_and_is_never_worse(width, rows, seed):
    rng = np.random.default_rng(seed)
    read, weights = alike(rng, 60, width), rng.normal(size=(rows, width))
    steps = np.abs(weights).max(axis=1).clip(1e-3) / rng.integers(1, 127)
    seen = moments(read.reshape(1, 60, width), depthwise=False)
    whole, plain = nearest(weights, steps, seen), nearest(weights, steps, None)
    assert np.abs(whole).max() <= 127
    assert (whole == np.round(whole)).all()
    # The damping counts errors of single weights, too, so that sums may be a little more off.
    slack = 1.2 * off(read, weights, plain, steps) + 1e-9
    assert (off(read, weights, whole, steps) <= slack).all()


def test_without_moments_each_weight_is_rounded_by_itself():
    weights, steps = np.array([[0.26, -0.9], [3.0, 1.0]]), np.array([0.1, 1.0])
    assert nearest(weights, steps, None).tolist() == [[3, -9], [3, 1]]
    assert nearest(weights, steps, np.zeros((1, 2, 2))).tolist() == [[3, -9], [3, 1]]


@pytest.mark.parametrize("depthwise", [False, True])
def test_moments_of_multiplied_channels_need_no_second_look(depthwise):
    rng = np.random.default_rng(0)
    image, factors = rng.normal(size=(3, 6, 6)), np.array([0.1, 1.0, 7.0])
    window = ((3, 3), (2, 2), (1, 1, 1, 1))
    once = moments(windows(image, *window), depthwise)
    again = moments(windows(image * factors[:, None, None], *window), depthwise)
    np.testing.assert_allclose(scaled(once, factors), again, rtol=1e-9, atol=1e-12)


def test_windows_are_what_a_convolution_reads():
    image = np.arange(16.0).reshape(1, 4, 4)
    seen = windows(image, (2, 2), (2, 2), (0, 0, 0, 0))
    assert seen.tolist() == [[[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]]
