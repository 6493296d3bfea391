"""What is wrong with a search for a model tree is said in one line, and nothing is begun."""

import numpy as np
import pytest
import yaml

CONTENT = {
    "name": "tree",
    "data": {
        key: {"format": "digits", "rows": rows}
        for key, rows in (
            ("train", "0:60"),
            ("calibration", "3000:3020"),
            ("reporting", "4000:4020"),
        )
    },
    "network": {
        "network": "tiny_cnn",
        "train": {"epochs": 1, "augment": "none", "learning_rate": 0.01},
    },
    "contexts": [{"scenes": ["4g-indoor-slow"]}],
}


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.setenv("HYBRIDGE_DATA", str(tmp_path))
    monkeypatch.setenv("HYBRIDGE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "traces").mkdir()
    path = tmp_path / "tree.yaml"
    path.write_text(yaml.safe_dump(CONTENT))
    return path


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("library.options=[C9-1]", ("library.options", "'C9-1'")),
        ("search.searcher=exct", ("search.searcher", "exact")),
        ("search.settings={no: 1}", ("search.settings",)),
        ("contexts=[{scenes: [4g-indor-slow]}]", ("contexts.scenes", "4g-indoor-slow")),
        ("contexts=[{device: phone, scenes: [4g-indoor-slow]}]", ("contexts.device", "'phone'")),
        ("contexts=[{scenes: [traces/no.txt]}]", ("contexts.scenes", "there is no")),
        ("data.reporting.rows=0:100", ("data.train and data.reporting share rows",)),
        ("network.weights=no.safetensors", ("network.weights", "there is no")),
        ("slices.blokcs=2", ("blokcs", "blocks")),
    ],
)
def test_a_fault_is_one_line(call, recipe, tmp_path, override, named):
    out = tmp_path / "run"
    called = call("tree", "search", recipe, "--out", out, "--set", override)
    called.assert_refused(*named)
    assert not out.exists()


def test_more_blocks_than_units_are_one_line(call, recipe, tmp_path):
    trace = tmp_path / "traces/spark/Zhuge/4g/link.log"
    trace.parent.mkdir(parents=True)
    trace.write_text("0 1\n1 2\n2 1\n")
    arguments = ["--out", tmp_path / "run", "--set", "slices.blocks=9"]
    geometry = "data.geometry={height: 12, width: 12, channels: 1}"
    arguments += ["--set", geometry]
    for seed, name in enumerate(CONTENT["data"]):
        pixels = np.random.default_rng(seed).integers(0, 256, (12, 12, 12, 1), np.uint8)
        np.savez(tmp_path / f"{name}.npz", pixels=pixels, labels=np.arange(12) % 3)
        arguments += ["--set", f"data.{name}={{format: arrays, path: {name}.npz}}"]
    called = call("tree", "search", recipe, *arguments)
    assert (called.status, called.out) == (2, "")
    assert "error: expected from 1 to 4 blocks" in called.err


def test_a_bundle_that_is_not_there_is_one_line(call, tmp_path):
    call("tree", "show", tmp_path / "none").assert_refused("none")
