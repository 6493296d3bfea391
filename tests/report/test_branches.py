"""Branches of a model tree's bundle, priced and drawn."""

import io
from dataclasses import asdict, replace

import numpy as np
import pytest
from rich.console import Console

from hybridge.cost.device import device_named
from hybridge.cost.price import compute_ms
from hybridge.cost.reward import Reward
from hybridge.links.link import Link
from hybridge.plan.bundle import Bundle
from hybridge.plan.rehearsal import Rehearsal
from hybridge.report.branches import branch_notes, branch_table, branches
from hybridge.report.drawing import plan_svg, tree
from hybridge.report.values import MISSING
from tiny_trees import BORDER_BPS, HOME_PATHS, tree_plan

LINK = Link(BORDER_BPS, rtt_ms=20)
POOR_MBPS, GOOD_MBPS = 0.003, 0.012
TRUTH = np.array([0, 1, 2, 0])


def rehearsed(plan):
    """Every leaf is right on three of four images; 50 bytes are sent on average."""
    said = np.eye(3, dtype=np.float32)[[0, 1, 2, 1]]
    sent = {(path, step.codec) for path, step in plan.steps("cloud")}
    codecs = dict(sent)
    return Rehearsal(
        fingerprint="",
        programs={},
        truth=TRUTH,
        score={},
        probabilities={(path, codecs.get(path)): said for path, _ in plan.leaves()},
        payload_bytes={branch: np.array([40, 40, 60, 60]) for branch in sent},
    )


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    plan = tree_plan(tmp_path_factory.mktemp("branches"))
    contexts = [{"device": "xiaomi-mi6x", "slower": 2.0, "scenes": ["4g-weak-indoor"]}]
    recipe = {"cloud": "gtx1080ti", "contexts": contexts, "reward": Reward().model_dump()}
    metadata = {
        "name": "tree",
        "device": "xiaomi-mi6x / 2",
        "scene": "4G weak indoor",
        "recipe": recipe,
        "link": asdict(LINK),
        "types_mbps": [POOR_MBPS, GOOD_MBPS],
        "branches": [{"path": [0, 1], "compressed": {"conv1": "C1-2"}, "cut": "conv4"}],
    }
    return Bundle(plan, rehearsed(plan), metadata)


def row_at(bundle, path):
    return next(row for row in branches(bundle) if row.path == path)


def test_every_leaf_has_a_row_that_says_what_leads_there(bundle):
    rows = {row.path: row for row in branches(bundle)}
    assert set(rows) == {path for path, _ in bundle.plan.leaves()}
    assert rows[1,].leads == "bandwidth ≥ 0.006 Mbit/s"
    assert rows[0, 1].leads == "bandwidth < 0.006 Mbit/s, then ≥ 0.006 Mbit/s"
    assert {rows[path].leads.rpartition(" ")[2] for path in HOME_PATHS} == {"home"}


def test_a_branch_is_priced_at_the_type_it_was_reached_under(bundle):
    row = row_at(bundle, (0, 1))
    device = device_named("xiaomi-mi6x").slowed(2)
    programs = bundle.plan.programs
    assert (row.programs, row.cloud, row.codec) == (("slim1", "front2"), "rest2", "int8-zstd")
    edge_ms = sum(compute_ms(programs[name].layers, device) for name in row.programs)
    assert row.edge_ms == pytest.approx(edge_ms)
    good = replace(LINK, bandwidth_bps=1e6 * GOOD_MBPS)
    assert row.payload_bytes == 50
    assert row.link_ms == pytest.approx(good.transfer_ms(50))
    cloud_ms = compute_ms(programs["rest2"].layers, device_named("gtx1080ti"))
    assert row.cloud_ms == pytest.approx(cloud_ms)
    assert row.reward == pytest.approx(Reward().of(edge_ms + row.link_ms + cloud_ms, 0.75))


def test_a_branch_that_stays_on_the_edge_sends_nothing(bundle):
    row = row_at(bundle, (0, 0, 0))
    assert (row.cloud, row.codec, row.payload_bytes) == (None, None, None)
    assert (row.link_ms, row.cloud_ms, row.accuracy) == (0, 0, 0.75)


def test_what_is_compressed_comes_from_the_bundle(bundle):
    cells = {row[0]: row for row in branch_table(bundle).cells()}
    assert cells["bandwidth < 0.006 Mbit/s, then ≥ 0.006 Mbit/s"][2:6] == [
        *("conv1 C1-2", "conv4", "int8-zstd", "50 B"),
    ]
    assert cells["bandwidth ≥ 0.006 Mbit/s"][1:4] == [MISSING] * 3


@pytest.mark.parametrize(
    "change", [{"device": "another"}, {"recipe": {}}, {"link": {"rtt_ms": 1}}, {"types_mbps": None}]
)
def test_times_are_left_out_where_surroundings_are_not_known(bundle, change):
    row = row_at(replace(bundle, metadata=bundle.metadata | change), (0, 1))
    assert (row.edge_ms, row.latency_ms, row.reward) == (None, None, None)
    assert (row.payload_bytes, row.accuracy) == (50, 0.75)


def test_types_that_are_not_the_forks_own_are_bounded_by_its_borders(bundle):
    other = replace(bundle, metadata=bundle.metadata | {"types_mbps": [1.0]})
    assert row_at(other, (0, 1)).link_ms == pytest.approx(LINK.transfer_ms(50))
    assert row_at(other, (1,)).link_ms == pytest.approx(LINK.transfer_ms(50))


def test_a_bundle_without_rehearsal_still_has_its_branches(bundle):
    row = row_at(replace(bundle, rehearsal=None), (1,))
    assert (row.cloud, row.payload_bytes, row.accuracy, row.edge_ms) == ("whole", None, None, None)


def test_drawings_say_rewards_bytes_and_times(bundle):
    notes = branch_notes(bundle)
    rewards = {row.path: row.reward for row in branches(bundle)}
    third = (rewards[0, 0, 0] + rewards[0, 0, 1]) / 2
    second = (third + rewards[0, 1]) / 2
    assert notes[()] == [f"expected reward {(second + rewards[1,]) / 2:.1f}"]
    assert notes[0, 1][:2] == [f"reward {rewards[0, 1]:.1f}", "50 B sent"]
    assert notes[0, 1][-1] == "75.0 % right"
    out = io.StringIO()
    Console(file=out, width=200).print(tree(bundle.plan, notes))
    for text in (out.getvalue(), plan_svg(bundle.plan, notes)):
        for line in (*notes[()], *notes[0, 1], *notes[0, 0, 2]):
            assert line in text
