import math
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from hybridge.cost.operating import Costs, UnitCost, sweep
from hybridge.links.trace import Trace
from hybridge.report import style
from hybridge.report.charts import Axis, Line, Mark, bar_chart, line_chart
from hybridge.report.figures import (
    accuracy_over_coverage,
    accuracy_over_macs,
    bandwidth_over_time,
    curve_line,
    latency_distribution,
)
from hybridge.report.values import Spread


def curve(seed, n=200):
    rng = np.random.default_rng(seed)
    score = rng.normal(size=n)
    kept = score + rng.normal(size=n) < 1
    sent = score + rng.normal(size=n) < 2
    return sweep(score, kept, sent, Costs(macs=UnitCost(10e6, 100e6)))


def texts(svg):
    return [element.text for element in ET.fromstring(svg).iter() if element.tag.endswith("}text")]


def test_a_figure_names_its_axes_curves_and_points():
    lines = [
        curve_line("Router", [curve(0), curve(1)], "coverage", "main"),
        curve_line("Entropy", curve(2), "coverage"),
        curve_line("Label oracle", curve(3), "coverage", "bound"),
    ]
    svg = accuracy_over_coverage(lines, [Mark("Chosen", 0.7, 0.9, "main")])
    assert {"Router", "Entropy", "Label oracle", "Chosen", "Hybrid accuracy"} <= set(texts(svg))
    assert "50 %" in texts(svg) or "40 %" in texts(svg)


def test_macs_are_read_in_millions():
    svg = accuracy_over_macs([curve_line("Router", curve(0), "macs")])
    assert any(text.endswith(" M") for text in texts(svg))


def test_colours_are_left_to_the_page_and_no_stand_in_remains():
    svg = accuracy_over_macs([curve_line("Router", [curve(0), curve(1)], "macs")])
    assert "var(--series-1, #0066b0)" in svg
    assert "#0101" not in svg
    left = set(re.findall(r"[ :\"](#[0-9a-f]{6})\b", svg)) - {ink.light for ink in style.INKS}
    assert not left


def test_nothing_outside_is_referred_to():
    svg = line_chart([Line("x", np.arange(3.0), np.arange(3.0))], Axis("a"), Axis("b"))
    links = re.findall(r'(?:href|src)="([^"]*)"|url\(([^)]*)\)', svg)
    assert all((one or other).startswith("#") for one, other in links)
    assert "<style" not in svg
    assert "<metadata" not in svg


def test_two_figures_on_one_page_share_no_id():
    lines = [Line("x", np.arange(3.0), np.arange(3.0))]
    one = line_chart(lines, Axis("a"), Axis("b"))
    other = line_chart(lines, Axis("a"), Axis("another"))
    ids = [set(re.findall(r' id="([^"]*)"', svg)) for svg in (one, other)]
    assert ids[0]
    assert not ids[0] & ids[1]


def test_the_same_figure_comes_out_the_same():
    line = curve_line("Router", curve(0), "coverage")
    assert accuracy_over_coverage([line]) == accuracy_over_coverage([line])


def test_the_mean_of_several_splits_has_a_band():
    runs = [curve(seed) for seed in range(5)]
    line = curve_line("Router", runs, "coverage")
    at_all_kept = [run.accuracy[0] for run in runs]
    assert line.y[-1] == pytest.approx(np.mean(at_all_kept))
    assert line.band[-1] == pytest.approx(np.std(at_all_kept, ddof=1))
    assert (np.diff(line.x) > 0).all()
    assert curve_line("Router", runs[0], "coverage").band is None


def test_latencies_far_apart_get_a_logarithmic_axis():
    near = latency_distribution({"a": np.array([1.0, 2.0]), "b": np.array([2.0, 3.0])}, main="a")
    far = latency_distribution({"a": np.array([1.0, 2.0]), "b": np.array([2.0, 3000.0])})
    assert "100 ms" not in texts(near)
    assert "100 ms" in texts(far)
    assert "100 %" in texts(far)


def test_who_gets_no_answer_is_missing_from_the_share(monkeypatch):
    lines = {}

    def keep(drawn, *axes):
        lines.update({line.name: line for line in drawn})
        return line_chart(drawn, *axes)

    monkeypatch.setattr("hybridge.report.figures.line_chart", keep)
    never = math.inf
    latency_distribution(
        {
            "all": np.array([4.0, 2.0]),
            "half": np.array([3.0, never, 1.0, never]),
            "none": np.array([never]),
        }
    )
    assert (lines["all"].x.tolist(), lines["all"].y.tolist()) == ([2, 2, 4], [0, 0.5, 1])
    assert (lines["half"].x.tolist(), lines["half"].y[-1]) == ([1, 1, 3, 4], 0.5)
    assert (lines["none"].x[-1], lines["none"].y.tolist()) == (4, [0, 0])
    assert "none" in texts(
        latency_distribution({"none": np.array([never]), "a": np.full(2, never)})
    )


def test_a_trace_shows_its_quartiles():
    trace = Trace(range(5), [1e6, 2e6, 3e6, 4e6, 0], 5)
    assert {"bus", "Median: 2 Mbit/s", "Upper quartile: 3 Mbit/s"} <= set(
        texts(bandwidth_over_time({"bus": trace}))
    )
    both = texts(bandwidth_over_time({"bus": trace, "flat": Trace.constant(4e6)}))
    assert {"bus (quartiles 1 and 3)", "flat (quartiles 4 and 4)"} <= set(both)


def test_bars_may_have_whiskers():
    svg = bar_chart(
        ["90 %", "80 %"],
        {"Base": [0.9, 0.95], "Hybrid": [Spread(0.92, 0.01), Spread(0.94, 0.01)]},
        Axis("Accuracy", "percent", begin=0.8),
        title="Accuracy <at> two coverages",
    )
    assert {"90 %", "Base", "Hybrid", "Accuracy"} <= set(texts(svg))
    assert 'aria-label="Accuracy &lt;at&gt; two coverages"' in svg


def test_every_ink_has_a_value_for_light_and_for_dark():
    sheet = style.style_sheet()
    light, dark = sheet.split("@media (prefers-color-scheme: dark)")
    for ink in style.INKS:
        assert f"--{ink.name}:{ink.light};" in light
        assert f"--{ink.name}:{ink.dark};" in dark
