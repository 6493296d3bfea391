"""`hybridge tree measure`, as far as it needs no network."""

import json

import pytest

RECIPE = {
    "name": "tiny",
    "data": {
        "train": {"format": "digits", "rows": "0:300"},
        "calibration": {"format": "digits", "rows": "300:400"},
        "reporting": {"format": "digits", "rows": "400:450"},
    },
    "network": {"network": "tiny_cnn", "train": {"epochs": 1}},
    "contexts": [{"scenes": ["wifi-weak-indoor"]}],
}


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(json.dumps(RECIPE))  # JSON is YAML
    return path


@pytest.mark.parametrize("content", [None, "{", "[]", "{}"])
def test_only_a_summary_is_merged_into(call, recipe, tmp_path, content):
    out = tmp_path / "run"
    if content is not None:
        out.mkdir()
        (out / "summary.json").write_text(content)
    called = call("tree", "measure", recipe, "--out", out, "--merge")
    called.assert_refused("--merge", "summary.json", "hybridge tree search")


def test_what_stops_a_recipe_is_said_first(call, recipe, tmp_path, monkeypatch):
    monkeypatch.setenv("HYBRIDGE_DATA", str(tmp_path / "nowhere"))
    called = call("tree", "measure", recipe, "--out", tmp_path / "run")
    called.assert_refused("traces", "HYBRIDGE_DATA")
