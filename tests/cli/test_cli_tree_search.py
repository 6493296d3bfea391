"""A model tree searched and shown, from a recipe to a report, on images of a few pixels."""

import json

import numpy as np
import pytest
import yaml

SIDE = 12


def write_images(path, count, seed):
    """Images whose class is where they are bright."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    pixels = rng.integers(0, 60, (count, SIDE, SIDE, 1))
    for index, label in enumerate(labels):
        pixels[index, 4 * label : 4 * label + 4] += 150
    np.savez(path, pixels=pixels.astype(np.uint8), labels=labels)


def recipe():
    train = {"epochs": 1, "batch_size": 30, "learning_rate": 0.05, "augment": "none"}
    return {
        "name": "tiny-tree",
        "data": {
            **{
                name: {"format": "arrays", "path": f"{name}.npz"}
                for name in ("train", "calibration", "reporting")
            },
            "geometry": {"height": SIDE, "width": SIDE, "channels": 1},
        },
        "network": {"network": "tiny_cnn", "train": train},
        "slices": {"blocks": 1},
        "library": {
            "options": ["C1-2", "F1-0.5"],
            "variants": {"images": 60, "epochs": 1},
            "together": train,
            "statistics_images": 60,
            "size_images": 10,
        },
        "search": {
            "searcher": "epsilon-greedy",
            "settings": {"episodes": 10},
            "compare": ["random", "surgery", "exact"],
            "seeds": 1,
            "distilled": 1,
            "distill": {"images": 60, "train": train},
        },
        "contexts": [{"scenes": ["links/lab-4g.log"], "slower": 2000, "rate_per_s": 1}],
        "emulate_s": 10,
    }


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tree-search")
    for seed, (name, count) in enumerate((("train", 120), ("calibration", 30), ("reporting", 31))):
        write_images(folder / f"{name}.npz", count, seed)
    rates = [0.02, 0.03, 0.5, 4, 5] * 8
    (folder / "links").mkdir()
    lines = "".join(f"{second} {mbps}\n" for second, mbps in enumerate(rates))
    (folder / "links/lab-4g.log").write_text(lines)
    (folder / "traces").mkdir()
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe()))
    return folder


@pytest.fixture
def here(root, tmp_path, monkeypatch):
    monkeypatch.setenv("HYBRIDGE_DATA", str(root))
    monkeypatch.setenv("HYBRIDGE_CACHE", str(root / "cache"))
    return root


def test_a_tree_is_searched_reported_and_shown(call, here, tmp_path):
    out = tmp_path / "run"
    called = call("tree", "search", here / "recipe.yaml", "--out", out)
    assert called.status == 0
    for text in ("tiny-tree: tiny_cnn", "surgery once", "foresight", "Gap closed", "the tree has"):
        assert text in called.out
    summary = json.loads((out / "summary.json").read_text())
    assert {row["kind"] for row in summary["rows"]} == {"offline", "emulated"}
    sent = {
        row["method"]: row["latency_ms"]
        for row in summary["rows"]
        if row["kind"] == "offline" and row["method"].startswith("cloud only")
    }
    assert len(set(sent.values())) == 2  # each codec gives images a size of their own
    report = (out / "report.html").read_text()
    for text in ("table III", "table IV", "Searchers", "The tree", "The library", "% right"):
        assert text in report
    shown = call("tree", "show", out / "bundle")
    assert shown.status == 0
    for text in ("reward", "% right", "Compressed", "lab-4g.log"):
        assert text in shown.out


def test_what_is_no_model_tree_is_not_shown_as_one(call, shared_bundle):
    call("tree", "show", shared_bundle.path).assert_refused("holds no model tree", "hybridge show")


def test_an_unknown_scene_is_refused_before_anything_runs(call, here, tmp_path):
    called = call("tree", "search", here / "recipe.yaml", "--out", tmp_path, "--bundle", "moon")
    called.assert_refused("links/lab-4g.log", "'moon'")
    assert list(tmp_path.iterdir()) == []
