import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridge.errors import ConfigError
from hybridge.links.recent import RecentBandwidth
from hybridge.links.trace import Trace
from trace_strategies import traces

STEPS = Trace([0, 1, 3], [8e3, 0, 16e3], 4)
windows_s = st.floats(1e-3, 5)
times_ms = st.floats(1e-3, 1e5)


@pytest.mark.parametrize(
    ("now_ms", "bandwidth_bps"),
    [(500, 8e3), (1000, 8e3), (1500, 4e3), (2500, 0), (3500, 8e3), (4000, 16e3), (4500, 12e3)],
)
def test_is_the_mean_of_the_last_second(now_ms, bandwidth_bps):
    assert RecentBandwidth(STEPS).bandwidth_bps(now_ms) == pytest.approx(bandwidth_bps)


def test_nothing_is_known_before_any_time_has_passed():
    assert RecentBandwidth(STEPS).bandwidth_bps(0) is None


@given(trace=traces(), window_s=windows_s, now_ms=times_ms)
def test_lies_between_what_the_trace_has(trace, window_s, now_ms):
    seen_bps = RecentBandwidth(trace, window_s).bandwidth_bps(now_ms)
    assert min(trace.bandwidth_bps) <= seen_bps <= max(trace.bandwidth_bps)


@given(rate=st.floats(0, 1e9), window_s=windows_s, now_ms=times_ms)
def test_a_link_that_never_changes_is_known_exactly(rate, window_s, now_ms):
    # So that a bandwidth on the border of two types is of the better one here as well.
    assert RecentBandwidth(Trace.constant(rate), window_s).bandwidth_bps(now_ms) == rate


@given(trace=traces(), rate=st.floats(0, 1e8), window_s=windows_s, share=st.floats(0.01, 1))
def test_the_future_changes_nothing(trace, rate, window_s, share):
    now_s = share * trace.duration_s
    times_s = [time_s for time_s in trace.times_s if time_s < now_s]
    rates = trace.bandwidth_bps[: len(times_s)]
    other = Trace([*times_s, now_s], [*rates, rate], now_s + 1)
    seen = [RecentBandwidth(each, window_s).bandwidth_bps(1e3 * now_s) for each in (trace, other)]
    assert seen[0] == pytest.approx(seen[1], rel=1e-6, abs=1e-3)


@given(trace=traces(), window_s=windows_s, now_ms=times_ms)
def test_is_what_a_sum_over_small_steps_says(trace, window_s, now_ms):
    now_s = now_ms / 1e3
    begin_s = max(now_s - window_s, 0.0)
    edges_s = np.linspace(begin_s, now_s, 50)
    bits = np.diff([trace.bits_by(edge_s) for edge_s in edges_s]).sum()
    seen_bps = RecentBandwidth(trace, window_s).bandwidth_bps(now_ms)
    assert seen_bps == pytest.approx(bits / (now_s - begin_s), rel=1e-4, abs=1)


@pytest.mark.parametrize("window_s", [0, -1, math.nan, math.inf])
def test_a_window_is_a_length(window_s):
    with pytest.raises(ConfigError, match="window of more than 0 seconds"):
        RecentBandwidth(STEPS, window_s)
