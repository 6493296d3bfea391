"""Kinds of recipes, told apart by their keys."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from hybridge.recipes.load import read_content, validate
from hybridge.recipes.pair_schema import PairRecipe
from hybridge.recipes.schema import HybridRecipe
from hybridge.recipes.supernet_schema import SupernetRecipe
from hybridge.recipes.tree_schema import TreeRecipe

AnyRecipe = HybridRecipe | SupernetRecipe | PairRecipe | TreeRecipe
COMMANDS: dict[type[BaseModel], str] = {
    HybridRecipe: "hybridge train",
    SupernetRecipe: "hybridge supernet train",
    PairRecipe: "hybridge search",
    TreeRecipe: "hybridge tree search",
}
"""Kinds, and what runs each."""


def open_any(path: Path, overrides: Sequence[str] = ()) -> AnyRecipe:
    """Read and validate a recipe of whatever kind.

    Args:
        path: The YAML file.
        overrides: ``key.path=value``; values are read as YAML.

    Raises:
        ConfigError: One line that names every fault.
    """
    content = read_content(path, overrides)
    return validate(kind_of(content), content, str(path))


def kind_of(content: dict[str, Any]) -> type[AnyRecipe]:
    """Return the kind that has most of the keys; of several, the one with the fewest faults."""
    kinds: tuple[type[AnyRecipe], ...] = get_args(AnyRecipe)
    return max(kinds, key=lambda kind: (known_keys(kind, content), -_fault_count(kind, content)))


def known_keys(kind: type[BaseModel], content: dict[str, Any]) -> int:
    """Return how many of the keys a kind has."""
    names = {info.alias or name for name, info in kind.model_fields.items()}
    return len(names & content.keys())


def _fault_count(kind: type[BaseModel], content: dict[str, Any]) -> int:
    try:
        kind.model_validate(content)
    except ValidationError as error:
        return error.error_count()
    return 0
