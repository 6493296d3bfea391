"""Curves of searchers, and how near each comes to the best tree."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from hybridge.report.tree_figures import (
    accuracy_over_macs,
    latency_and_accuracy,
    library_over_distilled,
)
from hybridge.report.tree_search import closeness, closeness_table, search_chart
from hybridge.report.values import MISSING
from tree_summaries import summary


def texts(svg):
    return [element.text for element in ET.fromstring(svg).iter() if element.tag.endswith("}text")]


def test_a_gap_is_closed_from_surgery_to_exact():
    found = {each.searcher: each for each in closeness(summary()["search"])}
    np.testing.assert_allclose(found["reinforce"].closed, [1.0, 0.8])
    assert (found["reinforce"].near, found["reinforce"].evaluations) == (1, 40)
    assert found["reinforce"].seconds == 8.0
    np.testing.assert_allclose(found["surgery"].closed, [0.0])
    assert found["surgery"].evaluations is None
    assert (found["exact"].near, found["exact"].evaluations) == (1, 120)


def test_nothing_is_said_of_a_gap_that_is_not_there():
    rows = summary()["search"]
    assert closeness_table([row for row in rows if row["searcher"] != "exact"]) is None
    flat = [row | {"reward": 300.0} for row in rows]
    assert {each.closed for each in closeness(flat)} == {None}
    assert closeness_table(flat).cells()[0][2] == MISSING


def test_the_table_says_how_many_runs_came_near():
    cells = closeness_table(summary()["search"]).cells()
    assert cells[0] == ["reinforce", "390 ± 14.1", "90.00 ± 14.14 %", "1 of 2", "40", "8 s"]


@pytest.mark.parametrize("over", ["evaluations", "seconds"])
def test_curves_name_their_searchers(over):
    assert {"reinforce", "surgery", "exact"} <= set(texts(search_chart(summary()["search"], over)))


def test_searchers_of_one_point_are_drawn():
    rows = [row for row in summary()["search"] if row["searcher"] == "surgery"]
    assert "Best expected reward" in texts(search_chart(rows, "evaluations"))


def test_methods_are_dots_by_latency_and_accuracy():
    assert {"tree", "surgery", "foresight", "Mean latency"} <= set(
        texts(latency_and_accuracy(summary()["rows"], "emulated"))
    )


def test_the_library_is_drawn_against_training_and_macs():
    drawn = library_over_distilled(summary()["library_against_distill"]["compositions"])
    assert "Accuracy by the library" in texts(drawn)
    drawn = accuracy_over_macs([("C1", 1e6, 0.9), ("C3", 2e6, 0.8), ("C1", 3e6, 0.91)])
    assert {"C1", "C3"} <= set(texts(drawn))
