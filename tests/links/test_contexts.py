import math
import os
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridge.errors import ConfigError, DataError, UnknownNameError
from hybridge.links.clusters import cluster
from hybridge.links.contexts import (
    BandwidthTypes,
    clustered_types,
    quantile_types,
    quartile_types,
    stretches,
    windows,
)
from hybridge.links.scenes import Scene, scene_traces, scenes
from hybridge.links.synth import cellular
from hybridge.links.trace import Trace, joined
from trace_strategies import traces

SHARED = Path(os.environ.get("HYBRIDGE_DATA", "../shared/data")) / "traces"


def test_the_papers_two_types_are_the_quartiles():
    rates = np.random.default_rng(0).uniform(1e6, 9e6, 41)
    types = quartile_types(Trace(range(41), rates, 41))
    assert types.typical_bps == pytest.approx(np.quantile(rates, [0.25, 0.75]))


def test_types_of_equal_shares():
    rates = np.arange(1, 62) * 1e6
    assert quantile_types(Trace(range(61), rates, 61), 3).typical_bps == pytest.approx(
        (11e6, 31e6, 51e6)
    )


def test_a_bandwidth_is_of_the_type_that_is_nearest_by_ratio():
    types = BandwidthTypes((1e6, 50e6))
    assert types.borders_bps == pytest.approx((math.sqrt(50) * 1e6,))
    assert [types.type_of(mbps * 1e6) for mbps in (0, 0.1, 7, 7.2, 15, 900)] == [0, 0, 0, 1, 1, 1]


@given(st.lists(st.floats(1e3, 1e9), min_size=1, max_size=6), st.floats(1e3, 1e9))
def test_no_type_is_nearer_than_the_one_that_is_told(typical_bps, bandwidth_bps):
    types = BandwidthTypes(tuple(sorted(typical_bps)))
    told = types.typical_bps[types.type_of(bandwidth_bps)]
    distances = [abs(math.log(bandwidth_bps / typical)) for typical in types.typical_bps]
    assert abs(math.log(bandwidth_bps / told)) == pytest.approx(min(distances), abs=1e-9)


def test_an_outage_is_the_poorest_type_and_has_a_price():
    types = quartile_types(Trace(range(10), [0] * 6 + [8e6] * 4, 10))
    assert types.typical_bps == (12_000, 8e6)
    assert types.type_of(0) == 0


def test_a_link_that_never_changes_has_equal_types():
    types = quartile_types(Trace.constant(5e6))
    assert types.typical_bps == (5e6, 5e6)
    assert types.type_of(5e6) == 1
    assert types.type_of(4.9e6) == 0


@pytest.mark.parametrize("typical_bps", [(), (0.0,), (2.0, 1.0), (math.nan,), (1.0, math.inf)])
def test_types_that_cannot_be_are_refused(typical_bps):
    with pytest.raises(ConfigError, match="rise"):
        BandwidthTypes(typical_bps)


@pytest.mark.parametrize("make", [quantile_types, clustered_types])
def test_there_is_a_type_at_least(make):
    with pytest.raises(ConfigError, match="1 type"):
        make(Trace.constant(1e6), 0)


def test_clusters_find_what_lies_together():
    rates = [1e6, 1.1e6, 0.9e6] * 20 + [10e6, 11e6] * 3 + [80e6]
    types = clustered_types(Trace(range(len(rates)), rates, len(rates)), 3)
    assert types.typical_bps == pytest.approx((1e6, 10.5e6, 80e6), rel=0.02)


def test_no_more_clusters_than_bandwidths():
    with pytest.raises(ConfigError, match="at most 2"):
        clustered_types(Trace([0, 1], [1e6, 2e6], 2), 3)


@given(
    st.lists(st.integers(-50, 50), min_size=1, max_size=9, unique=True),
    st.integers(1, 5),
    st.randoms(use_true_random=False),
)
def test_clusters_are_the_best_of_all(values, count, random):
    values = np.sort(np.asarray(values, np.float64))
    weights = np.asarray([random.choice([0.1, 1.0, 7.0]) for _ in values])
    count = min(count, len(values))

    def cost(parts):
        means = [np.average(values[part], weights=weights[part]) for part in parts]
        return sum(
            weights[part] @ (values[part] - mean) ** 2
            for part, mean in zip(parts, means, strict=True)
        )

    every = (
        [np.arange(a, b) for a, b in zip((0, *cuts), (*cuts, len(values)), strict=True)]
        for cuts in combinations(range(1, len(values)), count - 1)
    )
    found = cluster(values, weights, count)
    nearest = np.abs(values[:, None] - found).argmin(axis=1)
    own = [np.flatnonzero(nearest == each) for each in range(count)]
    assert (np.diff(found) > 0).all()
    # By the nearest mean: never more than by the runs that the means were taken of.
    assert weights @ (values - found[nearest]) ** 2 == pytest.approx(
        min(map(cost, every)), abs=1e-6
    )
    assert sum(map(len, own)) == len(values)


def test_clustering_a_long_trace_is_quick():
    trace = cellular(0, duration_s=20_000)
    types = clustered_types(trace, 5)
    assert len(set(types.typical_bps)) == 5


@given(traces(), st.floats(1e3, 1e8))
def test_stretches_make_up_the_trace(trace, border_bps):
    types = BandwidthTypes((border_bps, border_bps))
    found = stretches(trace, types)
    assert (found[0].begin_s, found[-1].end_s) == (0, trace.duration_s)
    for before, after in pairwise(found):
        assert before.end_s == after.begin_s
        assert before.type != after.type
    for stretch in found:
        middle_s = (stretch.begin_s + stretch.end_s) / 2
        assert types.type_of(trace.at(middle_s)) == stretch.type


def test_a_stretch_can_be_cut_out():
    trace = Trace([0, 2, 5], [1e6, 1.2e6, 9e6], 10)
    poor, good = stretches(trace, BandwidthTypes((1e6, 8e6)))
    assert (poor.begin_s, poor.end_s, good.end_s) == (0, 5, 10)
    assert trace.between(good.begin_s, good.end_s).bandwidth_bps == (9e6,)


@given(traces(), st.floats(0.05, 1))
def test_windows_have_one_length_and_lose_nothing_but_the_rest(trace, share):
    length_s = share * trace.duration_s
    found = windows(trace, length_s)
    assert len(found) in (math.floor(1 / share), math.floor(1 / share + 1e-9))
    assert [window.duration_s for window in found] == pytest.approx([length_s] * len(found))
    bits = sum(window.mean_bps * window.duration_s for window in found)
    assert bits == pytest.approx(
        trace.bits_by(length_s * len(found) * (1 - 1e-15)), rel=1e-6, abs=1e3
    )


@pytest.mark.parametrize("length_s", [0, -1, math.nan, 4.5])
def test_windows_that_cannot_be_are_refused(length_s):
    with pytest.raises(ConfigError, match="windows"):
        windows(Trace([0], [1], 4), length_s)


def test_a_scene_is_known_by_its_name():
    scene = scenes.get("4g-outdoor-quick")
    assert scene.name == "4G outdoor quick"
    assert (scene.kind, scene.place, scene.mobility, scene.weak) == (
        "4g",
        "outdoor",
        "quick",
        False,
    )
    with pytest.raises(UnknownNameError, match="'wifi-weak-indoor'"):
        scenes.get("wifi-weak-indor")


def test_traces_of_a_scene_of_ones_own(tmp_path):
    for name, mbps in (("a/one.log", 1), ("b/two.txt", 2), ("a/other.csv", 3)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"0 {mbps}\n1 {mbps}\n")
    scene = Scene("Mine", "4g", "indoor", "slow", False, ("b/*.txt", "a/*.log"))
    found = scene_traces(scene, tmp_path)
    assert {name: trace.mean_bps for name, trace in found.items()} == {
        "a/one.log": 1e6,
        "b/two.txt": 2e6,
    }


def test_a_scene_without_traces_says_what_it_looked_for(tmp_path):
    with pytest.raises(DataError, match=r"spark/PiTree/lab/\*\.log"):
        scene_traces(scenes.get("4g-indoor-static"), tmp_path)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the recorded traces are not here")
@pytest.mark.parametrize("name", scenes.names())
def test_every_scene_has_traces_and_two_types(name):
    found = scene_traces(scenes.get(name), SHARED)
    poor, good = quartile_types(joined(list(found.values()))).typical_bps
    assert len(found) >= 3
    assert 12_000 <= poor < good < 200e6
