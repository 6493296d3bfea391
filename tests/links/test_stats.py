import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridge.links.read import read_trace
from hybridge.links.stats import autocorrelation, quantiles_bps, statistics
from hybridge.links.trace import Trace
from trace_strategies import traces

SHARED = Path(os.environ.get("HYBRIDGE_DATA", "../shared/data")) / "traces"
RATES = st.lists(st.floats(0, 1e9), min_size=1, max_size=40)


def even(rates, step_s=1.0):
    return Trace(np.arange(len(rates)) * step_s, rates, len(rates) * step_s)


@given(RATES, st.lists(st.floats(0, 1), min_size=1), st.floats(0.001, 1000))
def test_quantiles_of_equal_pieces_are_those_of_numpy(rates, shares, step_s):
    found = quantiles_bps(even(rates, step_s), shares)
    assert found == pytest.approx(np.quantile(rates, shares), rel=1e-9, abs=1e-3)


@given(traces())
def test_quantiles_rise_from_the_least_to_the_most(trace):
    found = quantiles_bps(trace, np.linspace(0, 1, 21))
    assert (np.diff(found) >= -1e-6).all()
    assert found[0] == pytest.approx(min(trace.bandwidth_bps))
    assert found[-1] == pytest.approx(max(trace.bandwidth_bps))


def test_a_long_piece_counts_as_many():
    trace = Trace([0, 90, 91, 92, 93], [1e6, 2e6, 3e6, 4e6, 5e6], 94)
    assert quantiles_bps(trace, [0.25, 0.5, 0.75, 0.9]).tolist() == [1e6] * 4


def test_a_sliver_changes_little():
    rates = np.random.default_rng(0).random(120) * 1e6
    edges = [*range(120), 120]
    with_sliver = Trace(edges, [*rates, 9e6], 120.002)
    found = quantiles_bps(with_sliver, [0.25, 0.5, 0.75])
    assert found == pytest.approx(np.quantile(rates, [0.25, 0.5, 0.75]), rel=0.02)


def test_everything_is_weighted_by_time():
    found = statistics(Trace([0, 6, 7, 9], [2e6, 0, 11_999, 4e6], 10))
    assert found.duration_s == 10
    assert found.mean_mbps == pytest.approx(1.6 + 0.0023998)
    assert found.outage_share == pytest.approx(0.3)
    assert found.p50_mbps == 2
    assert found.p25_mbps == pytest.approx(0.012, abs=0.7)


def test_a_packet_a_second_is_no_outage():
    assert statistics(Trace.constant(12_000)).outage_share == 0
    assert statistics(Trace.constant(11_999)).outage_share == 1


def test_one_bandwidth_throughout():
    found = statistics(Trace([0], [5e6], 100))
    assert (found.p25_mbps, found.mean_mbps, found.p75_mbps) == (5, 5, 5)
    assert found.coefficient_of_variation == 0
    assert found.autocorrelation_1s is None


def test_an_outage_throughout():
    found = statistics(Trace([0], [0], 100))
    assert (found.mean_mbps, found.outage_share, found.coefficient_of_variation) == (0, 1, 0)


def test_variation_is_deviation_over_mean():
    found = statistics(Trace([0, 3], [2e6, 6e6], 4))
    assert found.coefficient_of_variation == pytest.approx(np.std([2, 2, 2, 6]) / 3)


def test_autocorrelation_is_the_usual_estimate():
    rates = np.random.default_rng(1).random(50)
    off = rates - rates.mean()
    expected = [np.sum(off[lag:] * off[:-lag]) / np.sum(off**2) for lag in (1, 2, 3)]
    assert autocorrelation(even(rates), 3) == pytest.approx(expected)
    finer = even(np.repeat(rates, 5), 0.2)
    assert autocorrelation(finer, 3) == pytest.approx(expected)
    assert autocorrelation(even(rates, 0.5), 2, step_s=0.5) == pytest.approx(expected[:2])


def test_the_step_that_is_not_whole_is_left_out():
    rates = np.random.default_rng(1).random(50)
    longer = Trace(range(51), [*rates, 99], 50.3)
    assert autocorrelation(longer, 2) == pytest.approx(autocorrelation(even(rates), 2))


@pytest.mark.parametrize(
    "trace",
    [
        Trace.constant(1),
        Trace([0, 1], [1, 2], 2),
        Trace([0, 1.7], [3e5, 3e5], 90),
        Trace([0, 1], [1, 2], 1e9),
    ],
    ids=["short", "shorter", "constant", "endless"],
)
def test_no_correlation_where_there_is_none_to_tell(trace):
    assert statistics(trace).autocorrelation_1s is None


@given(traces())
def test_statistics_are_plain_numbers(trace):
    found = dataclasses.asdict(statistics(trace))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["p25_mbps"] <= found["p50_mbps"] <= found["p75_mbps"]
    assert 0 <= found["outage_share"] <= 1 + 1e-9


@pytest.mark.skipif(not SHARED.is_dir(), reason="the recorded traces are not here")
def test_a_recorded_uplink():
    found = statistics(read_trace(SHARED / "mahimahi/ATT-LTE-driving-2016.up"))
    assert found.duration_s == 120.002
    assert found.mean_mbps == pytest.approx(19101 * 12e-3 / 120.002)
    assert 0 < found.outage_share < 0.1
