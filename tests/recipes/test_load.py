"""Reading recipes: every fault at once, in one line, with the right key where one is misspelt."""

import contextlib
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from hybridge.errors import ConfigError
from hybridge.plan.tensors import Frozen
from hybridge.recipes.load import data_root, load_recipe, validate


class Oak(Frozen):
    kind: Literal["oak"] = "oak"
    acorns: int = Field(default=3, ge=0)


class Pine(Frozen):
    kind: Literal["pine"] = "pine"
    cones: int = 5


class Garden(Frozen):
    name: str
    tree: Annotated[Oak | Pine, Field(discriminator="kind")] = Oak()
    spare: Oak | None = None
    open_: bool = Field(default=False, alias="open")
    weights: dict[str, float] = Field(default_factory=dict)


@pytest.fixture
def recipe(tmp_path):
    def write(text):
        path = tmp_path / "garden.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def fault(path, *overrides):
    """Return the message of a recipe that is refused; always one line."""
    with pytest.raises(ConfigError) as caught:
        load_recipe(Garden, path, overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_recipe_is_read(recipe):
    path = recipe("name: kew\ntree: {kind: pine, cones: 7}\nopen: true\n")
    assert load_recipe(Garden, path) == Garden(name="kew", tree=Pine(cones=7), open=True)


def test_overrides_are_yaml_and_the_last_one_wins(recipe):
    path = recipe("name: kew\n")
    overrides = ["spare.acorns=1", "weights.a=0.5", "open=true", "spare.acorns=2", "name='7'"]
    read = load_recipe(Garden, path, overrides)
    assert read == Garden(name="7", spare=Oak(acorns=2), weights={"a": 0.5}, open=True)


def test_an_override_may_replace_a_whole_part(recipe):
    read = load_recipe(Garden, recipe("name: kew\n"), ["tree={kind: pine, cones: 1}"])
    assert read.tree == Pine(cones=1)


def test_an_override_replaces_what_is_taken_from_another_file_or_borrows_itself(recipe):
    old = recipe("name: kew\ntree: {kind: pine, cones: 1}\n")
    path = old.with_name("new.yaml")
    path.write_text("from: garden.yaml\n", encoding="utf-8")
    old.with_name("pine.yaml").write_text("kind: pine\ncones: 7\n", encoding="utf-8")
    assert load_recipe(Garden, path, ["tree={kind: oak}"]).tree == Oak()
    assert load_recipe(Garden, path, ["tree={from: pine.yaml}"]).tree == Pine(cones=7)


def test_an_override_leaves_what_an_alias_names_elsewhere(recipe):
    path = recipe("name: kew\ntree: &oak {kind: oak, acorns: 5}\nspare: *oak\n")
    read = load_recipe(Garden, path, ["tree.acorns=1"])
    assert (read.tree, read.spare) == (Oak(acorns=1), Oak(acorns=5))


def test_overrides_count_more_than_what_is_taken_from_another_file(recipe):
    old = recipe("name: kew\nspare: {acorns: 1}\nopen: true\n")
    path = old.with_name("new.yaml")
    path.write_text("from: garden.yaml\nname: wisley\n", encoding="utf-8")
    read = load_recipe(Garden, path, ["spare.acorns=2"])
    assert read == Garden(name="wisley", spare=Oak(acorns=2), open=True)


def test_a_value_may_hold_an_equals_sign(recipe):
    assert load_recipe(Garden, recipe("name: x\n"), ["name=a=b"]).name == "a=b"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("nam: kew\n", ["missing key 'name'", "unknown key 'nam'; did you mean 'name'?"]),
        ("name: kew\nspare: {acorn: 1}\n", ["'spare.acorn'", "did you mean 'acorns'?"]),
        ("name: kew\ntree: {kind: pine, cone: 1}\n", ["cone'", "did you mean 'cones'?"]),
        ("name: kew\nopn: true\n", ["did you mean 'open'?"]),
        ("name: kew\nzzzzzz: 1\n", ["unknown key 'zzzzzz'; known: name, open"]),
        ("name: kew\ntree: {kind: elm}\n", ["tree", "'oak', 'pine'"]),
        ("name: kew\nspare: {acorns: -1}\n", ["spare.acorns", "greater than or equal to 0", "-1"]),
        ("name: kew\nspare: {acorns: many}\n", ["spare.acorns", "'many'"]),
        ("{}\n", ["missing key 'name'"]),
        ("", ["expected keys and values", "NoneType"]),
        ("- a\n- b\n", ["expected keys and values", "list"]),
        ("name: [unclosed\n", ["is not YAML"]),
        ("name: kew\n\tx: 1\n", ["is not YAML"]),
    ],
)
def test_what_is_wrong_is_said(recipe, text, parts):
    message = fault(recipe(text))
    assert "garden.yaml" in message
    for part in parts:
        assert part in message


def test_every_fault_is_named_at_once(recipe):
    message = fault(recipe("spare: {acorns: -1}\nopn: true\n"))
    for part in ("'name'", "spare.acorns", "'opn'"):
        assert part in message


@pytest.mark.parametrize(
    ("override", "part"),
    [
        ("acorns", "key.path=value"),
        ("=3", "key.path=value"),
        ("spare..acorns=3", "key.path=value"),
        ("name.first=x", "'name' holds a value"),
        ("name=[", "not YAML"),
        ("spare.acorn=3", "did you mean 'acorns'?"),
    ],
)
def test_overrides_that_cannot_work(recipe, override, part):
    assert part in fault(recipe("name: kew\n"), override)


def test_files_that_cannot_be_read(tmp_path):
    assert "No such file" in fault(tmp_path / "gone.yaml")
    assert str(tmp_path) in fault(tmp_path)
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    assert "is not YAML" in fault(binary)


def test_yaml_makes_no_objects(recipe):
    path = recipe("name: !!python/object/apply:os.getcwd []\n")
    assert "is not YAML" in fault(path)


@given(
    st.dictionaries(
        st.sampled_from(["name", "nam", "tree", "spare", "open", "weights", "a.b"]),
        st.recursive(
            st.none() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=2)
                | st.dictionaries(st.sampled_from(["kind", "acorns", "x"]), inner, max_size=3)
            ),
            max_leaves=6,
        ),
    )
)
def test_whatever_is_written_is_read_or_refused(content):
    with contextlib.suppress(ConfigError):
        assert isinstance(validate(Garden, content, "here"), Garden)


def test_data_lie_where_the_variable_says(monkeypatch, tmp_path):
    monkeypatch.setenv("HYBRIDGE_DATA", str(tmp_path))
    assert data_root() == tmp_path
    monkeypatch.delenv("HYBRIDGE_DATA")
    assert data_root().parts[-2:] == ("shared", "data")
