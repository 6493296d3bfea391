"""How a hybrid did, kept and read again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridge.cost.operating import OperatingPoint
from hybridge.recipes.pair_judged import FILE, Judged, read_judged, write_judged

SHARES = st.floats(0, 1)


def judged(coverage=0.7, threshold=float("inf")):
    point = OperatingPoint(
        threshold=threshold, coverage=coverage, accuracy=0.5, accuracy_kept=None, macs=1e6
    )
    points = {"router": {coverage: [point]}, "router, fused": {coverage: []}}
    return Judged(base_accuracy=0.6, global_accuracy=0.8, points=points)


@given(SHARES, st.floats(allow_nan=False))
def test_what_is_kept_is_read_again(tmp_path_factory, coverage, threshold):
    folder = tmp_path_factory.mktemp("hybrid")
    kept = judged(coverage, threshold)
    write_judged(folder, "run", kept)
    assert read_judged(folder, "run") == kept
    assert kept.at("router", False, coverage)[0].threshold == threshold
    assert kept.at("router", True, coverage) == []


@pytest.mark.parametrize("damage", [b"", b"{}", b"\xff\xfe", b'{"run": "run", "judged": {}}'])
def test_what_is_damaged_is_judged_anew(tmp_path, damage):
    (tmp_path / FILE).write_bytes(damage)
    assert read_judged(tmp_path, "run") is None


def test_what_is_of_another_run_is_judged_anew(tmp_path):
    assert read_judged(tmp_path, "run") is None
    write_judged(tmp_path, "run", judged())
    assert read_judged(tmp_path, "another") is None
