"""Methods of a model tree between two processes, on a tiny network."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from pydantic import ValidationError

from hybridge.errors import TransportError
from hybridge.recipes import tree_methods
from hybridge.recipes.load import validate
from hybridge.recipes.model_tree import run
from hybridge.recipes.serving import cloud_process
from hybridge.recipes.tree_link import LinkSettings, measure
from hybridge.recipes.tree_measured import TOLERANCE, link_rows, measured_summary, merged
from hybridge.recipes.tree_places import narrowed
from hybridge.recipes.tree_schema import TreeRecipe
from hybridge.runtime.clock import ManualClock

#: Slow enough that a phone is faster alone, and fast enough that it is not.
SLOW_MBPS, FAST_MBPS = 0.05, 40
METHODS = ("edge only", "cloud only webp", "surgery", "tree")
REQUESTS = 6


def content(scenes):
    return {
        "name": "tiny",
        "data": {
            "train": {"format": "arrays", "path": "images.npz", "rows": "0:300"},
            "calibration": {"format": "arrays", "path": "images.npz", "rows": "300:400"},
            "reporting": {"format": "arrays", "path": "images.npz", "rows": "400:450"},
        },
        "network": {
            "network": "tiny_cnn",
            "train": {"epochs": 2, "batch_size": 50, "learning_rate": 0.1, "augment": "none"},
        },
        "slices": {"blocks": 2},
        "library": {
            "options": ["C1-*"],
            "variants": {"images": 50, "epochs": 1},
            "variants_of_block": 2,
            "statistics_images": 50,
            "size_images": 20,
        },
        "search": {"searcher": "random", "settings": {"episodes": 10}, "distilled": 3},
        "contexts": [{"device": "xiaomi-mi6x", "slower": 50, "scenes": scenes}],
        "links": {"4g": "lte-near", "wifi": "wifi-near"},
        "emulate_s": 5,
    }


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A data folder: images, and two traces that change every second between slow and fast."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 450)
    pixels = rng.integers(0, 100, (450, 28, 28, 1), np.uint8)
    pixels[np.arange(450), 4 + 8 * labels] = 255  # a bright row says the class
    np.savez(folder / "images.npz", pixels=pixels, labels=labels)
    (folder / "traces").mkdir()
    for name in ("wifi-a", "wifi-b"):
        rates = [SLOW_MBPS, FAST_MBPS] * 6
        lines = (f"{second} {mbps}\n" for second, mbps in enumerate(rates))
        (folder / f"traces/{name}.txt").write_text("".join(lines))
    return folder


@pytest.fixture(scope="module")
def found(root, tmp_path_factory):
    recipe = validate(TreeRecipe, content(["traces/wifi-a.txt", "traces/wifi-b.txt"]), "test")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HYBRIDGE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield run(narrowed(recipe, 1), root, tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def settings():
    return LinkSettings(traces=1, requests=REQUESTS, rate_per_s=2, methods=METHODS)


@pytest.fixture(scope="module")
def crossings(found, settings):
    return measure(found, settings, ManualClock())


@pytest.fixture(scope="module")
def summary(found, crossings, settings):
    return measured_summary(found, crossings, settings)


def test_every_method_answers_every_request(crossings):
    assert [each.method for each in crossings] == list(METHODS)
    for each in crossings:
        assert len(each.answers) == len(each.estimate) == REQUESTS
        assert all(answer.failure is None for answer in each.answers)


def test_cloud_only_asks_each_time_and_edge_only_never(crossings):
    asked = {each.method: [answer.asked for answer in each.answers] for each in crossings}
    assert not any(asked["edge only"])
    assert all(asked["cloud only webp"])


def test_answers_are_those_of_the_composed_torch_network(crossings, summary):
    for each in crossings:
        assert each.differences.max() <= TOLERANCE
    assert summary["largest_difference"] <= TOLERANCE
    assert summary["answers_beyond_tolerance"] == 0


def test_the_emulator_takes_the_same_course(crossings):
    for each in crossings:
        assert each.estimate.asked.tolist() == [answer.asked for answer in each.answers]
        sent = [answer.bytes_sent for answer in each.answers]
        assert each.estimate.payload_bytes.tolist() == sent
        assert each.estimate.right.tolist() == each.right.tolist()


def test_the_edge_alone_takes_what_the_device_would(crossings):
    alone = crossings[0]
    np.testing.assert_allclose(alone.latency_ms, alone.estimate.latency_ms)


def test_latencies_are_near_the_estimate(crossings):
    # By a clock that is moved by hand the cloud takes no time: it is all that is missing.
    for each in crossings:
        beyond_ms = max(each.toll.cloud_ms.values(), default=0) + each.toll.message_ms
        late_ms = each.estimate.latency_ms - each.latency_ms
        assert (late_ms >= -1e-6).all()
        assert (late_ms <= beyond_ms + 1e-6).all()


def test_rows_are_measured_and_estimated(found, crossings, summary):
    rows = link_rows(found, crossings)
    assert [row.kind for row in rows] == ["measured"] * 4 + ["estimated"] * 4
    assert summary["rows"] == [asdict(row) for row in rows]
    assert {row["method"] for row in summary["slowed"]["means"]} == set(METHODS)
    for row in summary["traces"]:
        assert row["requests"] == REQUESTS
        assert 0 < row["measured_over_estimated"] < 2
    json.dumps(summary, allow_nan=False)


def test_measured_rows_take_the_place_of_older_ones(summary):
    offline = {**summary["rows"][0], "kind": "offline"}
    once = merged({"name": "tiny", "rows": [offline]}, summary, frozenset())
    assert [row["kind"] for row in once["rows"]] == ["offline"] + ["measured"] * 4
    assert merged(once, summary, frozenset()) == once
    assert once["name"] == "tiny"


def test_merged_means_leave_slowed_devices_apart(summary):
    slow = {**summary["rows"][0], "kind": "offline", "device": "phone / 20", "latency_ms": 1e6}
    usual = {**slow, "device": "phone", "latency_ms": 10.0}
    both = merged({"rows": [slow, usual]}, summary, frozenset({"phone / 20"}))
    assert [row["latency_ms"] for row in both["means"] if row["kind"] == "offline"] == [10.0]
    assert [row["latency_ms"] for row in both["slowed"]["means"]] == [1e6]


def test_no_more_scenes_are_searched_than_are_measured():
    recipe = validate(TreeRecipe, content([f"traces/{name}" for name in "abcde"]), "test")
    scenes = {count: narrowed(recipe, count).contexts[0].scenes for count in (1, 3, 9)}
    assert scenes[1] == ("traces/a",)
    assert scenes[3] == ("traces/a", "traces/c", "traces/e")
    assert scenes[9] == recipe.contexts[0].scenes
    assert narrowed(recipe, 1).search.distilled == 0


def test_an_unknown_method_is_refused(found):
    assert set(found.scenes[0].methods) == set(tree_methods.METHODS)
    with pytest.raises(ValidationError, match=r"expected methods among .*got \['trees'\]"):
        LinkSettings(methods=("trees",))


def test_a_cloud_that_does_not_start_is_an_error(tmp_path):
    with pytest.raises(TransportError, match="ended before"), cloud_process([tmp_path]):
        pass
