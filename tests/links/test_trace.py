import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hybridge.errors import ConfigError
from hybridge.links.trace import Trace, cellular

STEPS = Trace([0, 1, 3], [8e3, 0, 16e3], 4)


@st.composite
def traces(draw):
    lengths_s = draw(st.lists(st.floats(0.01, 10), min_size=1, max_size=6))
    rates = draw(
        st.lists(
            st.just(0.0) | st.floats(1e3, 1e8), min_size=len(lengths_s), max_size=len(lengths_s)
        )
    )
    edges = np.cumsum([0, *lengths_s])
    return Trace(edges[:-1].tolist(), rates, float(edges[-1]))


@pytest.mark.parametrize(
    ("time_s", "bandwidth_bps"), [(0, 8e3), (0.99, 8e3), (1, 0), (3, 16e3), (4, 8e3), (4e6 + 2, 0)]
)
def test_holds_each_piece_and_loops(time_s, bandwidth_bps):
    assert STEPS.at(time_s) == bandwidth_bps


@pytest.mark.parametrize(
    ("time_s", "bits"), [(0, 0), (0.5, 4e3), (2, 8e3), (3.5, 16e3), (4, 24e3), (8, 48e3)]
)
def test_counts_the_bits_that_cross(time_s, bits):
    assert STEPS.bits_by(time_s) == pytest.approx(bits)


@pytest.mark.parametrize(
    ("bits", "time_s"), [(0, 0), (4e3, 0.5), (8e3, 1), (8e3 + 1, 3), (24e3, 4), (32e3, 5)]
)
def test_says_when_bits_have_crossed(bits, time_s):
    assert STEPS.time_of(bits) == pytest.approx(time_s, abs=1e-3)


@given(traces(), st.floats(0, 1e10))
def test_time_and_bits_are_inverse(trace, bits):
    assume(trace.mean_bps > 0)
    time_s = trace.time_of(bits)
    assert trace.bits_by(time_s) == pytest.approx(bits, rel=1e-6, abs=1e-2)


def test_nothing_crosses_an_outage_without_end():
    outage = Trace.constant(0)
    assert outage.time_of(1) == math.inf
    assert outage.time_of(0) == 0


@pytest.mark.parametrize(
    ("times_s", "rates", "duration_s"),
    [
        ([], [], 1),
        ([0], [1, 2], 1),
        ([1], [1], 2),
        ([0, 0], [1, 1], 2),
        ([0, 2], [1, 1], 2),
        ([0], [-1], 1),
        ([0], [math.inf], 1),
        ([0], [math.nan], 1),
    ],
)
def test_what_is_no_trace_is_refused(times_s, rates, duration_s):
    with pytest.raises(ValueError, match="expected"):
        Trace(times_s, rates, duration_s)


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
