import math
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hybridge.errors import ConfigError
from hybridge.links.read import read_trace
from hybridge.links.stats import autocorrelation
from hybridge.links.synth import Synthesiser, cellular, fit_synthesiser
from hybridge.links.trace import Trace
from trace_strategies import traces

SHARED = Path(os.environ.get("HYBRIDGE_DATA", "../shared/data")) / "traces"


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


def alternating(rates=(1e6, 5e6, 5e6, 9e6), repeats=60):
    """A link that goes up and down in steps of several seconds."""
    values = np.repeat(np.tile(rates, repeats), np.tile((3, 2, 4, 6), repeats))
    return Trace(range(len(values)), values, len(values))


def noisy(seed=0, steps=600):
    """A link that drifts: an autoregressive bandwidth, cut off at nothing."""
    rng = np.random.default_rng(seed)
    level, rates = 0.0, []
    for _ in range(steps):
        level = 0.9 * level + rng.normal()
        rates.append(max(0.0, 5 + 2 * level) * 1e6)
    return Trace(range(steps), rates, steps)


def assert_alike(trace, sample):
    """The tolerances that `fit_synthesiser` states."""
    source = np.asarray(trace.resampled(1).bandwidth_bps[: int(trace.duration_s)])
    rates = np.asarray(sample.bandwidth_bps)
    assert rates.mean() == pytest.approx(source.mean(), rel=0.1)
    for quartile in np.quantile(source, (0.25, 0.5, 0.75)):
        assert np.mean(rates <= quartile) == pytest.approx(np.mean(source <= quartile), abs=0.07)
        assert np.mean(rates < quartile) == pytest.approx(np.mean(source < quartile), abs=0.07)
    off = autocorrelation(sample, 10) - autocorrelation(even(source), 10)
    assert np.abs(off).max() < 0.2
    assert np.abs(off).mean() < 0.1


def even(rates):
    return Trace(range(len(rates)), rates, len(rates))


@pytest.mark.parametrize(
    "trace", [alternating(), noisy(), cellular(3)], ids=["steps", "drift", "phone"]
)
def test_a_long_sample_is_like_its_source(trace):
    assert_alike(trace, fit_synthesiser(trace).sample(0, 21_600))


@pytest.mark.skipif(not SHARED.is_dir(), reason="the recorded traces are not here")
@pytest.mark.parametrize(
    "path",
    [
        "mahimahi/ATT-LTE-driving-2016.up",
        "spark/PiTree/ghent/trace4.log",
        "spark/PiTree/hsr/trace5.log",
        "spark/Zhuge/4g/trace5.log",
        "norway-3g/cooked_3gp/norway_bus_12",
        "solis-wifi-uplink/traces/wifi_campus_231115-192852.txt",
        "lumos/ABR_data/210512_1815-50Mbps-4g-weak-bbb_4s-RobustMPC.csv",
    ],
)
def test_a_long_sample_is_like_a_recorded_link(path):
    trace = read_trace(SHARED / path)
    assert_alike(trace, fit_synthesiser(trace).sample(1, 21_600))


def test_seconds_that_come_independently_are_not_like_it():
    # What the tests above can tell apart.
    trace = noisy()
    sample = fit_synthesiser(trace, states=1, stretch_s=1.0).sample(0, 21_600)
    with pytest.raises(AssertionError):
        assert_alike(trace, sample)


def test_one_state_and_stretches_of_a_step_forget_everything():
    sample = fit_synthesiser(alternating(), states=1, stretch_s=1.0).sample(0, 20_000)
    assert np.abs(autocorrelation(sample, 5)).max() < 0.05


def test_outages_come_as_often_and_last_as_long():
    trace = even(np.tile([8e6] * 40 + [0.0] * 10, 6))
    sample = np.asarray(fit_synthesiser(trace, states=2).sample(4, 20_000).bandwidth_bps)
    assert np.mean(sample == 0) == pytest.approx(0.2, abs=0.05)
    ends = np.sum((sample[:-1] == 0) & (sample[1:] > 0))
    assert np.sum(sample == 0) / ends == pytest.approx(10, rel=0.3)


@given(traces(), st.integers(0, 99), st.floats(0.5, 40), st.integers(1, 9))
def test_samples_hold_what_was_recorded_and_nothing_else(trace, seed, duration_s, states):
    synthesiser = fit_synthesiser(trace, states, step_s=0.5, stretch_s=2.0)
    sample = synthesiser.sample(seed, duration_s)
    assert sample.duration_s == duration_s
    assert set(sample.bandwidth_bps) <= set(synthesiser.bandwidth_bps)
    assert sample.bandwidth_bps == synthesiser.sample(seed, duration_s).bandwidth_bps


def test_another_seed_is_another_trace():
    synthesiser = fit_synthesiser(noisy())
    assert synthesiser.sample(0, 600).bandwidth_bps != synthesiser.sample(1, 600).bandwidth_bps


def test_a_synthesiser_travels_as_json():
    synthesiser = fit_synthesiser(noisy())
    again = Synthesiser.model_validate_json(synthesiser.model_dump_json())
    assert again == synthesiser
    assert again.sample(5, 100).bandwidth_bps == synthesiser.sample(5, 100).bandwidth_bps


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"states": (0,)}, "a state for each"),
        ({"stretch_s": 0.5}, "stretch_s"),
        ({"bandwidth_bps": (1.0, -1.0)}, "bandwidth_bps"),
        ({"step_s": 0.0}, "step_s"),
        ({"states": (0, -1)}, "states"),
    ],
)
def test_a_synthesiser_that_cannot_be_is_refused(change, part):
    fields = {"step_s": 1.0, "stretch_s": 2.0, "bandwidth_bps": (1.0, 2.0), "states": (0, 1)}
    with pytest.raises(ValidationError, match=part):
        Synthesiser(**(fields | change))


@pytest.mark.parametrize(
    "options",
    [
        {"states": 0},
        {"stretch_s": 0.5},
        {"stretch_s": math.nan},
        {"step_s": 0},
        {"step_s": math.nan},
    ],
)
def test_fits_that_cannot_be_are_refused(options):
    with pytest.raises(ConfigError, match="expected"):
        fit_synthesiser(noisy(), **options)


@pytest.mark.parametrize(
    ("seed", "duration_s"), [(-1, 10), (0, 0), (0, math.nan), (0, math.inf), (0, 1e9)]
)
def test_samples_that_cannot_be_are_refused(seed, duration_s):
    with pytest.raises(ConfigError, match="expected"):
        fit_synthesiser(noisy()).sample(seed, duration_s)


def test_what_follows_followed_a_moment_of_the_same_state():
    rates = np.random.default_rng(0).permutation(np.arange(1, 101)) * 1e5
    synthesiser = fit_synthesiser(even(rates), states=4, stretch_s=3.0)
    place = {rate: at for at, rate in enumerate(synthesiser.bandwidth_bps)}
    played = [place[rate] for rate in synthesiser.sample(0, 5000).bandwidth_bps]
    states = synthesiser.states
    steps = list(pairwise(played))
    assert all(states[at] == states[(then - 1) % 100] for at, then in steps)
    # The record is left every third step, now and then for where it would have gone on anyway.
    assert np.mean([then != (at + 1) % 100 for at, then in steps]) == pytest.approx(0.32, abs=0.03)
