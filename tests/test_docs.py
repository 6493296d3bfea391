"""The documentation does what it says: blocks run, commands parse, tables and links are right."""

import importlib.util
import re
import shlex
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.main import get_command

from hybridge.cli.main import app
from hybridge.codecs.codec import codecs
from hybridge.cost.device import devices
from hybridge.data.dataset import ArrayDataset
from hybridge.links.link import links
from hybridge.plan.bundle import save_bundle
from hybridge.recipes.borrow import with_borrowed
from hybridge.recipes.kinds import kind_of
from hybridge.runtime.rehearse import rehearse
from tiny_plans import images, pair_plan

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMANDS = get_command(app).commands
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def blocks(page: Path, language: str) -> list[tuple[int, str]]:
    """Return the blocks of a language, each with the line it begins on."""
    text = page.read_text(encoding="utf-8")
    found = re.finditer(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [(text.count("\n", 0, match.start(1)), match[1]) for match in found]


def pages_with(language: str) -> list[Path]:
    return [page for page in PAGES if blocks(page, language)]


def by_name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.fixture
def work_folder(tmp_path, monkeypatch):
    """A folder with the bundle and the image that the pages speak of; the working directory."""
    plan = pair_plan(tmp_path, codec="webp", fused=True)
    data = ArrayDataset(images(12), np.arange(12) % 3, list(plan.class_names))
    save_bundle(plan, tmp_path / "runs/demo/bundle", rehearse(plan, data))
    Image.fromarray(images(1)[0]).save(tmp_path / "seven.png")
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("work_folder")
@pytest.mark.parametrize("page", pages_with("python"), ids=by_name)
def test_python_blocks_run(page):
    namespace = {"__name__": "page"}
    for line, block in blocks(page, "python"):
        # Empty lines above make an error show the line of the page.
        exec(compile("\n" * line + block, str(page), "exec"), namespace)


@pytest.mark.parametrize("page", pages_with("bash"), ids=by_name)
def test_bash_blocks_name_what_there_is(page):
    for _, block in blocks(page, "bash"):
        for line in block.splitlines():
            if words := shlex.split(line, comments=True):
                check_command(words)


def check_command(words):
    match words:
        case ["make", target]:
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        case ["pip", "install", what]:
            extras = PYPROJECT["project"]["optional-dependencies"]
            name, _, extra = what.rstrip("]").partition("[")
            assert name == "hybridge"
            assert not extra or extra in extras
        case ["accelerate", "launch", "--multi_gpu", "-m", "hybridge", command, *arguments]:
            parse(command, arguments)
        case ["hybridge", command, *arguments]:
            parse(command, arguments)
        case _:
            pytest.fail(f"an unknown command: {shlex.join(words)}")


def parse(command, arguments):
    """Parse as the command line would, running nothing."""
    found, words = COMMANDS[command], list(arguments)
    if hasattr(found, "commands"):  # a group, such as `traces`
        found = found.commands[words.pop(0)]
    with found.make_context(command, words):
        pass
    for recipe in (word for word in arguments if word.startswith("recipes/")):
        assert (ROOT / recipe).is_file()


@pytest.mark.parametrize("page", pages_with("yaml"), ids=by_name)
def test_yaml_blocks_are_recipes(page):
    for _, block in blocks(page, "yaml"):
        content = yaml.safe_load(block)
        content = with_borrowed(content, ROOT / "recipes" / "block.yaml")
        kind_of(content).model_validate(content)


def test_every_command_is_listed():
    page = (ROOT / "docs/command-line.md").read_text()
    assert sorted(re.findall(r"^\| `hybridge (\w+)`", page, re.MULTILINE)) == sorted(COMMANDS)


def test_tables_of_recipe_keys_are_the_schemas():
    spec = importlib.util.spec_from_file_location("keys", ROOT / "scripts/recipe_keys.py")
    keys = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(keys)
    page = keys.PAGE.read_text(encoding="utf-8")
    assert page == keys.with_tables(page), "docs/recipes.md is stale; run: make docs"


@pytest.mark.parametrize(
    ("page", "registry"),
    [("recipes.md", devices), ("recipes.md", links), ("runtime.md", codecs)],
    ids=["devices", "links", "codecs"],
)
def test_registered_names_are_listed(page, registry):
    text = (ROOT / "docs" / page).read_text()
    assert [name for name in registry if f"`{name}`" not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if "://" in path:
            continue
        aim = page.parent / path if path else page
        assert aim.exists(), target
        if anchor:
            assert anchor in anchors(aim), target


def anchors(page):
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [
        re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings
    ]


def test_the_picture_is_an_image_by_itself():
    picture = ElementTree.parse(ROOT / "docs/hybrid.svg").getroot()
    assert picture.tag.endswith("svg")
    assert picture.get("aria-label")
    assert "prefers-color-scheme: dark" in (ROOT / "docs/hybrid.svg").read_text()


def test_the_changelog_knows_the_version():
    text = (ROOT / "CHANGELOG.md").read_text()
    assert "## [Unreleased]" in text or f"## [{PYPROJECT['project']['version']}]" in text
