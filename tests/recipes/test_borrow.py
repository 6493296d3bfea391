"""Recipes that take parts from other files: changed key by key, never in circles."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hybridge.errors import ConfigError
from hybridge.recipes.borrow import read_recipe, with_borrowed

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def _write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return _write


def completed(path: Path) -> object:
    return with_borrowed(read_recipe(path), path)


def refused(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        completed(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_part_is_that_of_the_file_but_for_what_it_says_itself(write: Write) -> None:
    write("tree.yaml", "name: oak\ndata: {rows: '0:9', path: a}\nphases: [1, 2, 3]\n")
    path = write(
        "garden.yaml",
        "name: kew\ntree: {from: tree.yaml, data: {rows: '0:5'}, phases: [7], height: 3}\n",
    )
    assert completed(path) == {
        "name": "kew",
        "tree": {"name": "oak", "data": {"rows": "0:5", "path": "a"}, "phases": [7], "height": 3},
    }


def test_a_whole_recipe_may_be_anothers_and_parts_of_lists_too(write: Write) -> None:
    write("oak.yaml", "kind: oak\nacorns: 3\n")
    write("old.yaml", "name: kew\ntrees: [{from: oak.yaml}, {from: oak.yaml, acorns: 5}]\n")
    assert completed(write("new.yaml", "from: old.yaml\nname: wisley\n")) == {
        "name": "wisley",
        "trees": [{"kind": "oak", "acorns": 3}, {"kind": "oak", "acorns": 5}],
    }


def test_files_are_looked_for_beside_the_one_that_names_them(write: Write) -> None:
    write("deep/leaf.yaml", "colour: green\n")
    write("deep/tree.yaml", "leaf: {from: leaf.yaml}\n")
    path = write("garden.yaml", "tree: {from: deep/tree.yaml}\n")
    assert completed(path) == {"tree": {"leaf": {"colour": "green"}}}


def test_null_takes_a_key_of_the_file_away(write: Write) -> None:
    write("tree.yaml", "leaf: {colour: green, size: 3}\nbark: rough\n")
    path = write("bare.yaml", "from: tree.yaml\nbark: null\nroot: null\nleaf: {size: null}\n")
    assert completed(path) == {"leaf": {"colour": "green"}, "root": None}


def test_aliases_of_aliases_take_no_time(write: Write) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    made = completed(write("many.yaml", "\n".join(lines)))
    assert isinstance(made, dict)
    assert len(made["a11"]) == 9


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("tree: {from: gone.yaml}\n", ["gone.yaml", "No such file"]),
        ("tree: {from: [a]}\n", ["expected the name of a file at 'from'", "['a']"]),
        ("tree: {from: list.yaml}\n", ["list.yaml", "expected keys and values", "list"]),
        ("tree: {from: round.yaml}\n", ["from itself: garden.yaml -> round.yaml -> garden.yaml"]),
        ("tree: &tree {leaf: *tree}\n", ["garden.yaml", "holds itself"]),
        ("tree: &tree [*tree]\n", ["garden.yaml", "holds itself"]),
        ("tree: {from: self.yaml}\n", ["self.yaml", "holds itself"]),
        ('tree: {from: "a\\0b"}\n', ["garden.yaml", "no file can be named"]),
        ("tree: {from: loop.yaml}\n", ["garden.yaml", "loop.yaml"]),
        ("tree: " + "{a: " * 5000 + "1" + "}" * 5000, ["garden.yaml", "nested too deeply"]),
    ],
)
def test_what_cannot_be_taken_is_said(
    write: Write, tmp_path: Path, text: str, parts: list[str]
) -> None:
    (tmp_path / "loop.yaml").symlink_to(tmp_path / "loop.yaml")
    write("self.yaml", "leaf: &leaf {leaf: *leaf}\n")
    write("list.yaml", "- a\n")
    write("round.yaml", "garden: {from: garden.yaml}\n")
    message = refused(write("garden.yaml", text))
    for part in parts:
        assert part in message


CONTENT = st.dictionaries(
    st.sampled_from("abc"),
    st.recursive(
        st.integers() | st.none(),
        lambda inner: (
            st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=2)
        ),
        max_leaves=8,
    ),
)


@given(CONTENT, CONTENT)
def test_what_is_said_itself_counts_and_all_else_is_the_files(
    tmp_path_factory: pytest.TempPathFactory, below: dict[str, object], own: dict[str, object]
) -> None:
    folder = tmp_path_factory.mktemp("recipes")
    (folder / "below.yaml").write_text(yaml.safe_dump(below))
    made = with_borrowed({"from": "below.yaml", **own}, folder / "own.yaml")
    assert with_borrowed(own, folder / "own.yaml") == own
    gone = {key for key in below if key in own and own[key] is None}
    assert made.keys() == (below.keys() | own.keys()) - gone
    for key, value in made.items():
        if key not in own:
            assert value == below[key]
        elif not isinstance(value, dict):
            assert value == own[key]
