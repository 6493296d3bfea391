"""Tables of a joint search, from summaries by hand."""

from hybridge.report.pair_tables import (
    fronts_table,
    hybrids_table,
    left_out_lines,
    networks_table,
    speed_lines,
)


def network(limit, macs_m, **others):
    return {
        "limits": {"latency_ms": limit},
        "latency_ms": limit * 0.99,
        "method": "pair",
        "base": "b",
        "global": "g",
        "score": 80.0,
        "agreement_score": 80.0,
        "confidence_score": 75.0,
        "base_accuracy": 70.0,
        "query_rate": 0.2,
        "macs_m": macs_m,
        "within_limits": True,
        **others,
    }


def column(table, name):
    place = [each.name for each in table.columns].index(name)
    return [cells[place] for cells in table.cells()]


def test_networks_stand_beside_what_they_cost_of_their_limit():
    over = network(10, 2.5, latency_ms=12.3456, within_limits=False)
    summary = {"name": "n", "family": "f", "pairs": [network(20, 2.5)], "networks": [over]}
    table = networks_table(summary)
    assert column(table, "Cost") == ["latency_ms 19.8", "latency_ms 12.35"]
    assert column(table, "Within") == ["yes", "no"]


def test_hybrids_are_sorted_by_number_and_not_by_letter():
    def row(limit):
        return {
            "limits": {"macs_m": limit},
            "method": "pair",
            "mode": "r",
            "fused": False,
            "decided_by": "router",
            "coverage": 0.5,
            "macs_m": limit,
            "accuracy": 80.0,
            "accuracy_std": 0.1,
            "base_accuracy": 70.0,
            "global_accuracy": 90.0,
        }

    single = {"limits": {"macs_m": 20.0}, "macs_m": 19.0, "accuracy": 75.0, "accuracy_std": 0.2}
    singles = [single | {"trained_on": trained_on} for trained_on in (False, True)]
    table = hybrids_table({"hybrids": [row(100.0), row(20.0), row(3.0)], "singles": singles})
    limits = column(table, "Limit")
    assert limits == ["macs_m 3", "macs_m 20", "macs_m 20", "macs_m 20", "macs_m 100"]
    assert column(table, "Found by")[2:4] == ["single network", "single network, trained on"]
    assert column(table, "± over seeds")[2:4] == ["0.20 %", "0.20 %"]


def test_fronts_and_what_was_left_out_are_said():
    limits = {"macs_m": 2.5}
    point = {"base": "a", "global": "b", "score": 81.25, "cost": 2.4567}
    summary = {
        "fronts": [{"limits": limits, "points": [point]}],
        "left_out": [{"limits": limits, "method": "random", "why": "none is within"}],
    }
    assert fronts_table(summary).cells() == [["macs_m 2.5", "a", "b", "81.25 %", "macs_m 2.457"]]
    assert left_out_lines(summary) == ["Left out: macs_m 2.5, random: none is within."]


def test_what_a_search_took_is_said():
    row = {
        "limits": {"macs_m": 2.5},
        "method": "pair",
        "evaluations": 1234,
        "candidates_scored": 3000,
        "candidates_scored_per_second": 512.3,
        "seconds": 60.0,
        "times_faster_than_afresh": 2.04,
    }
    (line,) = speed_lines({"searches": [row]})
    assert "1,234 evaluations of networks, 3,000 candidates scored (512 a second), 60 s" in line
    assert "2.0 times as long" in line
