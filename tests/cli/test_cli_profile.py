"""``hybridge profile``: what it prints and writes, and what it refuses."""

import json
from xml.etree import ElementTree

import pytest

from hybridge.cost.device import load_device
from hybridge.recipes import profile


@pytest.fixture
def quick(monkeypatch):
    """Measures few layers, and each but twice."""
    few = {("conv", 3): 6, ("linear", 0): 6, ("pool", 0): 5, ("other", 0): 6}
    monkeypatch.setattr(profile.profile_host, "__kwdefaults__", _quicker(few))


def _quicker(few):
    return {**profile.profile_host.__kwdefaults__, "rounds": 2, "drawn": few}


@pytest.mark.usefixtures("quick")
def test_profile_and_figure_are_written_and_errors_printed(call, tmp_path):
    out, figure = tmp_path / "host.json", tmp_path / "host.svg"
    called = call("profile", "--network", "tiny_cnn", "--out", out, "--figure", figure)
    assert called.status == 0
    assert "median error of whole networks" in called.out
    for part in ("conv 3", "drawn, held out", "tiny_cnn", "MAPE"):
        assert part in called.out
    assert {speed.name for speed in load_device(out).speeds} >= {"conv 3", "linear"}
    assert ElementTree.parse(figure).getroot().tag.endswith("svg")


@pytest.mark.usefixtures("quick")
def test_json_holds_what_is_printed(call):
    found = json.loads(call("profile", "--network", "tiny_cnn", "--json").out)
    (network,) = found["networks"]
    assert network["network"] == "tiny_cnn"
    assert found["median_error"] == network["error"]
    assert {each["name"] for each in network["layers"]} == {"conv 3", "linear"}
    assert {"name", "layers", "mape", "r2"} == set(found["held_out"][0])
    assert found["device"]["speeds"]


def test_bad_input_is_refused_in_one_line(call, tmp_path):
    call("profile", "--network", "tiny_cn").assert_refused("'tiny_cn'", "did you mean 'tiny_cnn'")
    call("profile", "--out", tmp_path).assert_refused("--out", "expected a file")
    call("profile", "--threads", "-1").assert_refused("--threads")
