"""The commands on a bundle whose plan is a tree that forks by bandwidth."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from tiny_bundle import COUNT

from hybridge.cost.device import devices
from hybridge.cost.price import compute_ms
from hybridge.data.dataset import ArrayDataset
from hybridge.emulate.baselines import codecs_of
from hybridge.links.link import Link
from hybridge.plan.bundle import save_bundle
from hybridge.runtime.rehearse import rehearse
from tiny_plans import NAMES, images
from tiny_trees import BORDER_BPS, tree_plan

KBIT_POOR, KBIT_GOOD = BORDER_BPS / 2e3, BORDER_BPS * 2e-3


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tree")
    plan = tree_plan(folder)
    data = ArrayDataset(images(COUNT), np.arange(COUNT) % 3, NAMES)
    rehearsal = rehearse(plan, data, codecs_of(plan))
    return save_bundle(plan, folder / "bundle", rehearsal, {"name": "tree"})


def parsed(called):
    assert (called.status, called.err) == (0, "")
    return json.loads(called.out)


@pytest.fixture
def link(tmp_path):
    def link(bandwidth_bps):
        path = tmp_path / f"{bandwidth_bps:g}.json"
        path.write_text(json.dumps(asdict(Link(bandwidth_bps, rtt_ms=20))))
        return path

    return link


def test_every_method_of_a_tree_is_emulated(call, tree, tmp_path):
    trace = tmp_path / "trace.txt"
    rates = [KBIT_POOR / 1e3] * 5 + [KBIT_GOOD / 1e3] * 5
    trace.write_text("".join(f"{second} {mbps}\n" for second, mbps in enumerate(rates)))
    found = parsed(call("emulate", tree.path, "--trace", trace, "--rate", 2, "--json"))
    rows = {row["method"]: row for row in found["rows"]}
    assert list(rows)[:2] == ["plan", "edge only"]
    assert list(rows)[-2:] == ["fixed plan", "foresight"]
    assert found["left_out"] == {}
    assert 0.3 < rows["plan"]["query_rate"] < 0.7


@pytest.mark.parametrize(
    ("bandwidth_bps", "coverage", "macs_m"), [(BORDER_BPS / 2, 1, 24), (BORDER_BPS * 2, 0, 90)]
)
def test_a_tree_is_estimated_at_the_link_s_bandwidth(
    call, tree, link, bandwidth_bps, coverage, macs_m
):
    found = parsed(call("estimate", tree.path, "--link", link(bandwidth_bps), "--json"))
    assert (found["coverage"], found["macs_m"]) == (coverage, macs_m)


def test_a_tree_is_shown(call, tree):
    called = call("show", tree.path)
    assert called.status == 0
    for part in ("fork by bandwidth", "bandwidth ≥ 0.006 Mbit/s", "(home)", "int8-zstd", "rest3"):
        assert part in called.out


def test_without_a_cloud_a_tree_is_taken_where_the_link_is_poorest(call, tree, pictures):
    called = call("run", tree.path, pictures[0], "--json")
    answer = parsed(called)
    assert (answer["source"], answer["wanted"]) == ("edge", False)
    assert answer["label"] == tree.rehearsal.answers((0, 0, 0))[0]
    assert "bandwidth unknown" in answer["reason"]


def test_a_device_is_stood_in_for(call, tree, pictures):
    device = devices.get("xiaomi-mi6x")
    programs = tree.plan.programs
    expected_ms = sum(
        compute_ms(programs[name].layers, device) for name in ("slim1", "slim2", "slim3")
    )
    answer = parsed(call("run", tree.path, pictures[0], "--as-device", "xiaomi-mi6x", "--json"))
    assert answer["edge_ms"] >= expected_ms


def test_an_unknown_device_is_corrected(call, tree, pictures):
    called = call("run", tree.path, pictures[0], "--as-device", "xiaomi-mi6")
    called.assert_refused("device", "xiaomi-mi6x")
