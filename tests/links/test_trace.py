import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hybridge.errors import ConfigError
from hybridge.links.trace import Trace, grid, joined
from trace_strategies import traces

STEPS = Trace([0, 1, 3], [8e3, 0, 16e3], 4)


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


@given(traces(), st.floats(0.01, 30))
def test_resampling_loses_no_bit(trace, step_s):
    coarse = trace.resampled(step_s)
    assert coarse.duration_s == trace.duration_s
    assert coarse.mean_bps == pytest.approx(trace.mean_bps)
    lengths_s = coarse.lengths_s
    assert lengths_s[:-1] == pytest.approx(step_s)
    assert 0 < lengths_s[-1] <= step_s * (1 + 1e-9) or len(lengths_s) == 1
    for end_s in coarse.times_s:
        assert coarse.bits_by(end_s) == pytest.approx(trace.bits_by(end_s), rel=1e-9, abs=1e-3)


def test_resampling_takes_means():
    assert STEPS.resampled(2).bandwidth_bps == (4e3, 8e3)
    assert STEPS.resampled(3).bandwidth_bps == pytest.approx((8e3 / 3, 16e3))
    assert STEPS.resampled(100).bandwidth_bps == (6e3,)


def test_what_rounding_leaves_over_is_no_piece():
    assert len(grid(0.6000000000000001, 0.2)) == 4
    assert len(Trace([0], [1], 120.002).resampled(0.001).times_s) == 120_002


@pytest.mark.parametrize("step_s", [0, -1, math.nan, math.inf, 1e-9])
def test_steps_that_cannot_be_are_refused(step_s):
    with pytest.raises(ConfigError, match="step"):
        STEPS.resampled(step_s)


@given(traces(), st.floats(0, 1), st.floats(0, 1))
def test_a_cut_is_what_lay_there(trace, one, other):
    begin_s, end_s = sorted((one * trace.duration_s, other * trace.duration_s))
    assume(end_s - begin_s > 1e-6)
    cut = trace.between(begin_s, end_s)
    assert cut.duration_s == pytest.approx(end_s - begin_s)
    for at_s in np.linspace(0.01, 0.99, 7) * cut.duration_s:
        crossed = trace.bits_by(begin_s + at_s) - trace.bits_by(begin_s)
        assert cut.bits_by(at_s) == pytest.approx(crossed, rel=1e-6, abs=1)


def test_a_cut_of_everything_is_everything():
    cut = STEPS.between(0, 4)
    assert (cut.times_s, cut.bandwidth_bps) == (STEPS.times_s, STEPS.bandwidth_bps)
    assert STEPS.between(1, 3).bandwidth_bps == (0,)


@pytest.mark.parametrize(("begin_s", "end_s"), [(-1, 2), (2, 2), (3, 1), (0, 4.1), (math.nan, 2)])
def test_cuts_that_cannot_be_are_refused(begin_s, end_s):
    with pytest.raises(ConfigError, match="trace of 4 s"):
        STEPS.between(begin_s, end_s)


@given(st.lists(traces(), min_size=1, max_size=4))
def test_joined_traces_follow_each_other(parts):
    whole = joined(parts)
    begin_s = 0.0
    for part in parts:
        crossed = whole.bits_by(begin_s + part.duration_s / 2) - whole.bits_by(begin_s)
        assert crossed == pytest.approx(part.bits_by(part.duration_s / 2), rel=1e-6, abs=1)
        begin_s += part.duration_s
    assert whole.duration_s == pytest.approx(begin_s)


def test_nothing_cannot_be_joined():
    with pytest.raises(ConfigError, match="at least one"):
        joined([])
