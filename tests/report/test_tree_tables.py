"""Tables and sentences of a model-tree run."""

import pytest

from hybridge.report.tree_tables import (
    all_means,
    changed,
    device_tables,
    distilled_table,
    findings,
    library_line,
    methods_table,
)
from hybridge.report.values import MISSING
from tree_summaries import PHONE, SLOW, summary


def test_every_device_has_a_table_of_scenes_and_methods_by_kind():
    phone, slow = device_tables(summary()["rows"])
    assert (phone.caption, slow.caption) == (PHONE, SLOW)
    names = [column.name for column in phone.columns]
    assert names[:5] == ["Scene", "Method", "Offline reward", "Offline latency", "Offline accuracy"]
    assert {"Emulated latency", "Measured accuracy"} <= set(names)
    rows = {row[1]: row for row in phone.cells()}
    assert [row[0] for row in phone.cells()] == ["4G weak", "", ""]
    assert rows["tree"][2:5] == ["364.0", "30 ms", "91.00 %"]
    assert rows["foresight"][2:5] == [MISSING] * 3
    assert phone.strong == {1}


def test_means_of_slowed_devices_stand_apart():
    usual, slowed = all_means(summary())
    assert [row[0] for row in usual.cells()] == ["surgery", "tree"]
    assert "slowed" not in usual.caption
    assert "slowed" in slowed.caption
    assert slowed.cells()[0][2] == "400 ms"
    assert all_means(summary() | {"means": [], "slowed": {"means": []}}) == []


@pytest.mark.parametrize(
    ("quantity", "cells"),
    [("reward", "364.0"), ("latency_ms", "30 ms"), ("accuracy", "91.00 %")],
)
def test_methods_stand_beside_one_another(quantity, cells):
    table = methods_table(summary()["rows"], "offline", quantity, "")
    assert [column.name for column in table.columns] == ["Device", "Scene", "surgery", "tree"]
    assert table.cells()[0][:2] == [PHONE, "4G weak"]
    assert table.cells()[0][3] == cells


def test_sentences_say_which_way_it_goes():
    usual, slowed, cloud = findings(summary())
    assert "25.0 % less latency than 'surgery'" in usual
    assert "0.50 points less accuracy; its reward is +8.2" in usual
    assert "on slowed devices, the tree has 2.0 % more latency" in slowed
    assert "0.25 points more accuracy" in slowed
    assert f"{SLOW} in WiFi" in cloud


def test_the_library_is_compared_with_training():
    assert "+0.50 points" in library_line(summary())
    assert distilled_table(summary()).cells() == [["1: C1-2", "90.00 %", "89.50 %", "+0.50"]]
    none = {"compositions": [], "mean_error": None, "mean_absolute_error": None}
    assert "not compared" in library_line({"library_against_distill": none})
    assert changed(["keep", "keep"]) == "all kept"


def test_tables_are_markdown_too():
    lines = device_tables(summary()["rows"])[1].markdown().splitlines()
    assert lines[0].startswith("| Scene | Method | Emulated reward |")
    assert lines[1].startswith("| --- | --- | --: |")
    assert lines[2] == "| **WiFi** | **tree** | **142.0** | **400 ms** | **91.00 %** |"
