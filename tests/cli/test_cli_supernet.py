"""A supernet trained from a recipe, on images of a few pixels."""

import json

import numpy as np
import pytest
import yaml

SIDE = 28


def recipe():
    return {
        "name": "tiny-supernet",
        "data": {
            **{key: {"format": "arrays", "path": f"{key}.npz"} for key in ("train", "validation")},
            "geometry": {"height": SIDE, "width": SIDE, "channels": 1},
        },
        "family": "elastic_small",
        "mean": [0.5],
        "std": [0.3],
        "shrink": {
            "batch_size": 8,
            "augment": "none",
            "phases": [
                {"name": "full", "epochs": 1},
                {"name": "depths", "epochs": 1, "depths": [1, 2, 3], "resolutions": [24, 28]},
            ],
        },
        "subnets": {"random": 2, "statistics_images": 8, "alone": ["smallest"]},
    }


@pytest.fixture
def here(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for key in ("train", "validation"):
        pixels = rng.integers(0, 256, (16, SIDE, SIDE, 1), np.uint8)
        np.savez(tmp_path / f"{key}.npz", pixels=pixels, labels=np.arange(16) % 3)
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe()))
    monkeypatch.setenv("HYBRIDGE_DATA", str(tmp_path))
    return tmp_path


def test_a_supernet_is_trained_and_its_subnets_are_judged(call, here, tmp_path):
    out, figures = tmp_path / "run", tmp_path / "out.json"
    called = call("supernet", "train", here / "recipe.yaml", "--out", out, "--json", figures)
    assert called.status == 0
    for text in ("tiny-supernet", "smallest", "random 2", "largest", "Trained alone", "epochs"):
        assert text in called.out
    assert (out / "supernet.safetensors").is_file()
    summary = json.loads(figures.read_text())
    assert summary == json.loads((out / "summary.json").read_text())
    assert summary["epochs"] == 2
    assert [phase["name"] for phase in summary["phases"]] == ["full", "depths"]
    smallest, *_, largest = summary["rows"]
    assert (smallest["resolution"], largest["resolution"]) == (24, 28)
    assert smallest["macs_m"] < largest["macs_m"]
    assert set(smallest) == {
        *("name", "architecture", "resolution", "macs_m", "parameters_m"),
        *("accuracy", "accuracy_without_recalibration"),
    }
    (alone,) = summary["alone"]
    assert alone["architecture"] == smallest["architecture"]
    assert alone["epochs"] == 2


def test_what_is_wrong_is_said_before_anything_is_trained(call, here, tmp_path):
    out = tmp_path / "run"
    called = call("supernet", "train", here / "recipe.yaml", "--out", out, "--set", "family=small")
    called.assert_refused("family", "elastic_small")
    assert not out.exists()
