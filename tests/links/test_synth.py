import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridge.errors import ConfigError
from hybridge.links.synth import cellular


def test_cellular_is_repeated_by_its_seed():
    assert cellular(7).bandwidth_bps == cellular(7).bandwidth_bps
    assert cellular(7).bandwidth_bps != cellular(8).bandwidth_bps


@given(st.integers(0, 1000), st.floats(0.1, 100), st.floats(0.5, 900))
def test_cellular_meets_its_mean_and_duration(seed, mean_mbps, duration_s):
    trace = cellular(seed, duration_s, mean_mbps)
    assert trace.mean_bps == pytest.approx(mean_mbps * 1e6)
    assert trace.duration_s == duration_s


def test_cellular_swings_and_stays():
    rates = np.array(cellular(0, 3600).bandwidth_bps)
    assert rates.std() / rates.mean() > 0.4
    assert rates.min() < 0.1 * rates.mean()
    assert np.corrcoef(rates[:-1], rates[1:])[0, 1] > 0.6


@pytest.mark.parametrize(("seed", "mbps"), [(-1, 5), (0, math.nan), (0, 0), (0, -1), (0, math.inf)])
def test_cellular_refuses_what_cannot_work(seed, mbps):
    with pytest.raises(ConfigError, match="positive mean_mbps"):
        cellular(seed, mean_mbps=mbps)
