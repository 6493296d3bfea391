"""The results page of model trees, written from summaries."""

import importlib.util
from pathlib import Path

import pytest

from tree_summaries import summary

SCRIPT = Path(__file__).parents[1] / "scripts/tree_page.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("tree_page", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_page_has_tables_findings_and_charts(script):
    page = script.with_parts(script.HEAD, [summary()])
    assert "| vgg11-tree | as they are | emulated | surgery | 25.0 % | 0.50 | +8.2 |" in page
    for title in ("## vgg11-tree", "(table III)", "(table IV)", "(table V)", "### Searchers"):
        assert title in page
    assert [name for name, _ in script.charts(summary()) if f"({name})" not in page] == []


def test_prose_is_kept_and_parts_are_written_anew(script):
    page = script.with_parts(script.HEAD, [summary()])
    assert script.with_parts(page, [summary()]) == page
    prose = page.replace("<!-- tree: vgg11-tree -->", "What it means.\n\n<!-- tree: vgg11-tree -->")
    changed = summary() | {"search": []}
    again = script.with_parts(prose, [changed, summary() | {"name": "alexnet-tree"}])
    assert "What it means." in again
    assert "![Best reward so far of each searcher](vgg11-tree" not in again
    assert again.index("## vgg11-tree") < again.index("## alexnet-tree")
    assert again.count("<!-- tree: vgg11-tree -->") == 1
