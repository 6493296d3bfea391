import base64
import io
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from hybridge.plan.answers import Fused, Newest
from hybridge.plan.choosers import ScoreThreshold
from hybridge.plan.layers import Layer
from hybridge.plan.plan import Fork, Leaf, Plan, Step
from hybridge.plan.program import Program
from hybridge.plan.tensors import TensorSpec
from hybridge.report.drawing import plan_svg, tree
from hybridge.report.gallery import Gallery, Picture, png_uri
from hybridge.report.page import Figure, Highlight, Paragraph, Report, Section, SideBySide
from hybridge.report.tables import Column, Table
from tiny_trees import tree_plan

PIXELS = TensorSpec(name="pixels", dtype="uint8", shape=(8, 8, 3))
LOGITS = TensorSpec(name="logits", dtype="float32", shape=(10,))
SCORE = TensorSpec(name="score", dtype="float32", shape=())


def program(name, macs, outputs):
    layer = Layer(name="a", kind="conv", kernel=3, macs=macs, parameters=270_000, output_bytes=1)
    return Program(
        name=name,
        sha256="0" * 64,
        size_bytes=1_120_000,
        inputs=(PIXELS,),
        outputs=outputs,
        layers=(layer,),
    )


@pytest.fixture
def plan():
    kept = Leaf(combine=Newest(logits="base.logits"))
    fused = Leaf(combine=Fused(base="base.logits", global_="global.logits", base_weight=0.35))
    sent = Step(
        program="global", place="cloud", feeds={"pixels": "pixels"}, codec="jpeg", then=fused
    )
    fork = Fork(chooser=ScoreThreshold(threshold=0.52), children=(kept, sent), home=0)
    return Plan(
        input=PIXELS,
        programs={
            "base": program("base", 41_000_000, (LOGITS, SCORE)),
            "global": program("global", 126_000_000, (LOGITS,)),
        },
        root=Step(program="base", place="edge", feeds={"pixels": "pixels"}, then=fork),
    )


def image(seed=0, shape=(8, 8, 3)):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def report(plan):
    table = Table([Column("Method"), Column("Accuracy", "percent")], [("Hybrid", 0.9392)])
    gallery = Gallery([Picture(image(), "cat", "dog", "cat", 1.25)], "Sent to the cloud")
    return Report(
        title="Hybrid <of> two",
        summary="It works.",
        facts={"Seed": "0", "Split fingerprint": "ab" * 32},
        highlights=[Highlight("Accuracy", "93.92 %", "cloud alone 93.39 %")],
        sections=[
            Section("Points", [table, Paragraph("5 < 6 & so on")]),
            Section("Plan", [SideBySide([Figure(plan_svg(plan), "Two places"), gallery])]),
        ],
    )


class Balance(HTMLParser):
    """Checks that every element that is opened is closed, and keeps what elements refer to."""

    void = frozenset({"meta", "img", "path", "rect", "br", "link"})

    def __init__(self):
        super().__init__()
        self.open, self.refers = [], []

    def handle_starttag(self, tag, attrs):
        self.refers += [value for name, value in attrs if name in ("src", "href", "data")]
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.void:
            assert self.open.pop() == tag


def test_a_report_is_one_sound_page_that_needs_nothing_else(report, tmp_path):
    html = report.write(tmp_path / "deep" / "report.html").read_text(encoding="utf-8")
    page = Balance()
    page.feed(html)
    assert not page.open
    assert all(value.startswith(("data:", "#")) for value in page.refers)
    assert "<script" not in html
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)
    assert set(re.findall(r"https?://[^\"' ]*", html)) == {"http://www.w3.org/2000/svg"}


def test_a_report_says_what_was_run(report):
    html = report.html()
    for text in ("It works.", "Split fingerprint", "ab" * 32, "93.92 %", "cloud alone 93.39 %"):
        assert text in html
    assert "Hybrid &lt;of&gt; two" in html
    assert "5 &lt; 6 &amp; so on" in html
    assert "prefers-color-scheme: dark" in html
    assert 'name="viewport"' in html


def test_a_bare_report_is_a_page_too():
    page = Balance()
    page.feed(Report(title="Nothing yet").html())
    assert not page.open


def test_pictures_travel_unchanged_but_enlarged():
    pixels = image(3)
    data = base64.b64decode(png_uri(pixels).removeprefix("data:image/png;base64,"))
    shown = np.asarray(Image.open(io.BytesIO(data)))
    assert shown.shape == (128, 128, 3)
    np.testing.assert_array_equal(shown[::16, ::16], pixels)


@pytest.mark.parametrize("shape", [(8, 8, 1), (300, 200, 3)])
def test_grey_and_large_pictures_are_shown(shape):
    assert png_uri(image(shape=shape)).startswith("data:image/png;base64,")


def test_a_gallery_tells_right_from_wrong():
    html = Gallery([Picture(image(), "<cat>", "dog", "<cat>", -0.5)]).html()
    assert '<dd class="wrong">dog' in html
    assert '<dd class="right">&lt;cat&gt;' in html
    assert "-0.50" in html


def shown(plan):
    target = io.StringIO()
    Console(file=target, width=120).print(tree(plan))
    return target.getvalue()


@pytest.mark.parametrize("draw", [plan_svg, shown])
def test_a_drawing_shows_places_costs_thresholds_and_answers(plan, draw):
    text = draw(plan).replace("&gt;", ">")
    for part in ("edge", "cloud", "41 M MACs", "270 k parameters", "1.12 MB", "jpeg"):
        assert part in text
    for part in ("kept: score ≤ 0.52 (home)", "sent: score > 0.52", "base.logits", "0.35"):
        assert part in text


def test_a_drawing_of_a_tree_says_what_each_bandwidth_leads_to(tmp_path):
    plan = tree_plan(tmp_path, 3.2e6)
    for text in (plan_svg(plan).replace("&lt;", "<"), shown(plan)):
        assert text.count("fork by bandwidth") == 3
        assert text.count("bandwidth < 3.2 Mbit/s") == text.count("bandwidth ≥ 3.2 Mbit/s") == 3
        assert text.count("(home)") == 3
        for part in ("slim1", "front2", "whole", "webp", "int8-zstd", "90 M MACs", "rest2.logits"):
            assert part in text


def test_a_long_name_is_cut_where_boxes_are_narrow_and_kept_for_whoever_points_at_it(tmp_path):
    plan = tree_plan(tmp_path)
    name = "a-front-with-quite-a-long-name"
    text = plan.model_dump_json().replace('"slim1', f'"{name}')
    svg = plan_svg(Plan.model_validate_json(text))
    assert f"<title>{name}</title>" in svg
    assert f">{name}</text>" not in svg
    assert ">a-front-with-quite-a…<" in svg


@pytest.fixture(params=["pair", "tree"])
def drawn(request, plan, tmp_path):
    """A drawing, and how many boxes it has."""
    return (plan_svg(plan), 6) if request.param == "pair" else (plan_svg(tree_plan(tmp_path)), 24)


def test_boxes_of_a_drawing_do_not_overlap(drawn):
    svg, count = drawn
    number = r'="([\d.]+)"'
    boxes = [
        tuple(map(float, found))
        for found in re.findall(rf"<rect x{number} y{number} width{number} height{number}", svg)
    ]
    assert len(boxes) == count
    width, height = map(float, re.search(r'viewBox="0 0 (\S+) (\S+)"', svg).groups())
    for x, y, box_width, box_height in boxes:
        assert 0 <= x <= x + box_width <= width
        assert 0 <= y <= y + box_height <= height
    for index, (x, y, width, height) in enumerate(boxes):
        for other_x, other_y, other_width, other_height in boxes[:index]:
            apart = x >= other_x + other_width or other_x >= x + width
            assert apart or y >= other_y + other_height or other_y >= y + height


def test_reports_need_no_torch_and_load_matplotlib_late():
    modules = "charts, drawing, figures, gallery, page, tables"
    code = (
        f"from hybridge.report import {modules}; import sys; "
        "sys.exit('torch' in sys.modules or 'matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
