"""A search from a recipe: supernet, pairs, hybrids and a bundle, on images of a few pixels."""

import json

import pytest
import yaml

from hybridge.plan.bundle import load_bundle
from tiny_search import SIDE, search_recipe, write_images

PAIR_KEYS = {"base", "global", "score", "macs_m", "limits", "query_rate"}


@pytest.fixture
def here(tmp_path, monkeypatch):
    write_images(tmp_path)
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(search_recipe()))
    monkeypatch.setenv("HYBRIDGE_DATA", str(tmp_path))
    return tmp_path


def test_one_recipe_leads_from_a_supernet_to_a_bundle(call, here, tmp_path):
    out, figures = tmp_path / "runs" / "pairs", tmp_path / "out.json"
    called = call("search", here / "recipe.yaml", "--out", out, "--json", figures)
    assert called.status == 0, called.err
    for text in ("tiny-pairs", "agreement oracle", "single network", "smallest + largest"):
        assert text in called.out
    found = json.loads(figures.read_text())
    assert found == json.loads((out / "summary.json").read_text())
    (pair,) = found["pairs"]
    assert set(pair) >= PAIR_KEYS
    assert pair["macs_m"] <= 2.5
    assert found["architectures_evaluated"] > 0
    assert found["pairs_scored"] > 0
    assert found["seconds"] > 0
    methods = {row["method"] for row in found["networks"]}
    assert methods == {"single", "random", "smallest + largest"}
    assert {row["method"] for row in found["hybrids"]} == methods - {"single"} | {"pair"}
    assert len(found["singles"]) == 1
    bundle = load_bundle(out / "bundle")
    assert bundle.plan.geometry.shape == (SIDE, SIDE, 1)
    assert (out / "report.html").is_file()
    assert (out.parent / "tiny-supernet" / "supernet.safetensors").is_file()


def test_a_search_is_resumed_and_comes_to_the_same(call, here, tmp_path):
    out = tmp_path / "runs" / "pairs"
    first = call("search", here / "recipe.yaml", "--out", out, "--only")
    again = call("search", here / "recipe.yaml", "--out", out, "--only")
    assert first.status == again.status == 0
    assert first.out.split("evaluations")[0] == again.out.split("evaluations")[0]
    assert not (out / "bundle").exists()


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("search.limits=[{macs_m: 0.01}]", "smallest costs"),
        ("search.limits=[]", "search.limits"),
        ("search.limits=[{gflops: 1}]", "gflops"),
        ("supernet.family=elastic_smal", "elastic_small"),
        ("hybrid.modes=[rb]", "twins"),
        ("hybrid.held_out.path=validation.npz", "share rows"),
        ("name=tiny-supernet", "two names"),
        ("search.limits=[{latency_ms: 5}]", "needs a device"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(call, here, tmp_path, override, said):
    called = call("search", here / "recipe.yaml", "--out", tmp_path / "out", "--set", override)
    called.assert_refused(said)
