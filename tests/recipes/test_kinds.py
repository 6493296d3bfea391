"""Recipes are told apart by their keys, though one is misspelt."""

from pathlib import Path

import pytest

from hybridge.errors import ConfigError
from hybridge.recipes.kinds import kind_of, open_any
from hybridge.recipes.load import read_content
from hybridge.recipes.pair_schema import PairRecipe
from hybridge.recipes.schema import HybridRecipe
from hybridge.recipes.supernet_schema import SupernetRecipe
from hybridge.recipes.tree_schema import TreeRecipe


@pytest.mark.parametrize("path", sorted(Path("recipes").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_kind_is_told_without_any_one_of_its_keys(path: Path) -> None:
    content = read_content(path)
    kind = type(open_any(path))
    for missing in content:
        rest = {key: value for key, value in content.items() if key != missing}
        assert kind_of(rest | {"misspelt": 1}) is kind


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("cifar10_resnet", HybridRecipe),
        ("small_supernet", SupernetRecipe),
        ("cifar10_pairs", PairRecipe),
        ("cifar10_microcontroller", PairRecipe),
        ("vgg11_tree", TreeRecipe),
    ],
)
def test_shipped_recipes_are_opened_as_what_they_are(name: str, kind: type) -> None:
    assert type(open_any(Path(f"recipes/{name}.yaml"))) is kind


def test_a_minimal_supernet_with_a_misspelt_key_is_one(tmp_path: Path) -> None:
    source = "{format: digits}"
    path = tmp_path / "supernet.yaml"
    path.write_text(f"name: a\ndata: {{train: {source}, validation: {source}}}\nfamilly: x\n")
    with pytest.raises(ConfigError, match="'familly'; did you mean 'family'"):
        open_any(path)


def test_faults_are_those_of_the_likely_kind(tmp_path: Path) -> None:
    path = tmp_path / "pairs.yaml"
    path.write_text("name: a\nsupernet: {}\nsearhc: {}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="'searhc'; did you mean 'search'"):
        open_any(path)
