"""What a joint search came to, as plain data, of pairs that nothing had to be searched for."""

import json
from types import SimpleNamespace

import pytest

from hybridge.cost.operating import OperatingPoint
from hybridge.recipes.pair_summary import correlation, hybrids_summary
from hybridge.report.pair_tables import correlation_line


def row(score, accuracy, base="a", at_oracle=50.0, by_confidence=60.0, **others):
    return {
        "limits": {"macs_m": 2.0},
        "mode": "r",
        "decided_by": "router",
        "fused": False,
        "base": base,
        "global": "g",
        "oracle_score": score,
        "accuracy": accuracy,
        "accuracy_at_oracle_rate": at_oracle,
        "confidence_score": by_confidence,
        **others,
    }


def test_a_correlation_is_of_distinct_pairs():
    rows = [
        row(80, 70, "a", 60, 71),
        row(80, 74, "a", 60, 75),  # the same pair under another limit
        row(81, 71, "b", 65, 72),
        row(82, 75, "c", 64, 76),
        row(99, 1, "d", mode="rb"),
        row(99, 1, "e", fused=True),
    ]
    found = correlation(rows)
    assert found["pairs"] == 3
    assert found["spearman"] == pytest.approx(0.5)  # 72, 71, 75
    assert found["at_oracle_rate"]["spearman"] == pytest.approx(0.5)  # 60, 65, 64
    assert found["by_confidence"]["spearman"] == pytest.approx(1.0)  # 73, 72, 76
    line, within = correlation_line({"oracle_against_hybrid": found})
    assert "3 pairs" in line
    assert "macs_m 2 " in within
    assert line.count("0.50") == 2
    assert line.count("1.00") == 1


def test_pairs_are_also_ranked_within_their_limit():
    """So that a score is not credited with knowing that more may be spent."""
    rows = [
        row(score, accuracy, str(n), by_confidence=confident, limits={"macs_m": limit})
        for n, (limit, score, accuracy, confident) in enumerate(
            [(1, 80, 72, 70), (1, 81, 71, 71), (1, 82, 70, 69), (2, 83, 90, 91), (2, 84, 91, 92)]
        )
    ]
    found = correlation(rows)
    assert found["spearman"] == pytest.approx(0.6)
    first, second = found["within"]
    assert (first["pairs"], second["pairs"]) == (3, 2)
    assert first["by_agreement"]["spearman"] == pytest.approx(-1)
    assert first["by_confidence"]["spearman"] == pytest.approx(0.5)
    assert second["by_agreement"] is None


def test_numbers_that_are_all_the_same_have_no_correlation():
    """Neither NaN, which no JSON holds."""
    assert correlation([row(80, 70 + n, str(n)) for n in range(4)]) is None
    assert correlation([row(80 + n, 70, str(n)) for n in range(4)]) is None
    found = correlation([row(80 + n, 70 + n, str(n)) for n in range(4)])
    assert found["spearman"] == pytest.approx(1)
    assert found["at_oracle_rate"] is None
    assert found["by_confidence"] is None
    assert correlation_line({"oracle_against_hybrid": found})
    assert correlation_line({"oracle_against_hybrid": None}) == []


def test_a_threshold_that_is_infinite_is_written_as_json():
    point = OperatingPoint(
        threshold=float("inf"), coverage=1, accuracy=0.5, accuracy_kept=0.5, macs=1
    )
    made = SimpleNamespace(hybrids=[], singles=[], point=point)
    text = json.dumps(hybrids_summary(made), allow_nan=False)
    assert json.loads(text)["operating_point"]["threshold"] == "Infinity"
