"""Writes the tables of ``docs/recipes.md`` from the schema, so that they cannot go stale.

A table stands between ``<!-- keys: NAME -->`` and ``<!-- end -->``; its meanings are those of the
model's docstring. Run by ``make docs``.
"""

import inspect
import re
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from hybridge.cost.reward import Reward
from hybridge.cost.surroundings import Surroundings
from hybridge.cost.target import Target
from hybridge.data.source import (
    ArraysSource,
    DigitsSource,
    FolderSource,
    HubSource,
    ParquetSource,
)
from hybridge.design.modeltree.evaluators import DistillSettings
from hybridge.design.modeltree.variants import VariantSettings
from hybridge.design.query.alternation import AlternateSettings
from hybridge.design.query.evaluate import EvaluateSettings
from hybridge.design.query.router import RouterSettings
from hybridge.design.search.evolve import EvolutionSettings
from hybridge.design.search.front import FrontSettings
from hybridge.design.supernet.evaluate import Rung
from hybridge.design.supernet.limits import Limits
from hybridge.design.supernet.phases import Phase, ShrinkSettings
from hybridge.design.train.settings import TrainSettings
from hybridge.plan.tensors import Geometry
from hybridge.recipes.pair_schema import HybridConfig, PairRecipe
from hybridge.recipes.pair_schema import SearchConfig as PairSearch
from hybridge.recipes.schema import DataConfig, DeployConfig, HybridRecipe, NetworkConfig
from hybridge.recipes.supernet_schema import SubnetsConfig, SupernetData, SupernetRecipe
from hybridge.recipes.tree_schema import (
    ContextConfig,
    LibraryConfig,
    SearchConfig,
    SliceConfig,
    TreeData,
    TreeRecipe,
)

PAGE = Path(__file__).parents[1] / "docs" / "recipes.md"
#: Every model of a recipe, under the name of its table and heading.
MODELS: dict[str, type[BaseModel]] = {
    "recipe": HybridRecipe,
    "data": DataConfig,
    "parquet": ParquetSource,
    "folder": FolderSource,
    "arrays": ArraysSource,
    "hub": HubSource,
    "digits": DigitsSource,
    "geometry": Geometry,
    "network": NetworkConfig,
    "train": TrainSettings,
    "router": RouterSettings,
    "alternate": AlternateSettings,
    "evaluate": EvaluateSettings,
    "deploy": DeployConfig,
    "target": Target,
    "surroundings": Surroundings,
    "tree_recipe": TreeRecipe,
    "tree_data": TreeData,
    "slices": SliceConfig,
    "library": LibraryConfig,
    "variants": VariantSettings,
    "search": SearchConfig,
    "distill": DistillSettings,
    "context": ContextConfig,
    "reward": Reward,
    "supernet_recipe": SupernetRecipe,
    "supernet_data": SupernetData,
    "shrink": ShrinkSettings,
    "phase": Phase,
    "subnets": SubnetsConfig,
    "pair_recipe": PairRecipe,
    "pair_search": PairSearch,
    "limits": Limits,
    "evolution": EvolutionSettings,
    "rung": Rung,
    "front": FrontSettings,
    "hybrid": HybridConfig,
}
_TABLE = re.compile(r"(<!-- keys: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_DOCUMENT_END = "...\n"
_WORDS = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Path: "path",
    Any: "any value",
}
_BOUNDS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}


def main() -> None:
    """Rewrite the tables of the page."""
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def with_tables(page: str) -> str:
    """Return the page with every table as the schema has it now.

    Raises `ValueError` where a model of the schema has no table, or a table no model.
    """
    found = [match[2] for match in _TABLE.finditer(page)]
    if sorted(found) != sorted(MODELS):
        raise ValueError(f"expected one table each of {sorted(MODELS)}, got {sorted(found)}")
    return _TABLE.sub(lambda match: f"{match[1]}{table(MODELS[match[2]])}\n{match[3]}", page)


def table(model: type[BaseModel]) -> str:
    """Return the keys of a model as a table in Markdown."""
    meanings = _meanings(model)
    lines = ["| Key | Value | Default | Meaning |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        if get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1:
            continue  # `format`, which tells sources apart, heads their sections
        cells = f"`{field.alias or name}`", _value(field), _default(field), meanings[name]
        lines.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
    return "\n".join(lines)


def _meanings(model: type[BaseModel]) -> dict[str, str]:
    """Return what the docstrings of a model and its bases say of each attribute."""
    meanings: dict[str, str] = {}
    for kind in reversed(model.__mro__):
        docstring = inspect.cleandoc(kind.__dict__.get("__doc__") or "")
        for entry in re.split(r"\n(?=    \w)", docstring.partition("Attributes:\n")[2]):
            name, _, meaning = entry.partition(":")
            text = " ".join(meaning.split()).replace("``", "`")
            meanings[name.strip()] = re.sub(r"\bNone\b", "none", text)
    return meanings


def _value(field: FieldInfo) -> str:
    bounds = [
        f"{words} {getattr(limit, name):g}"
        for limit in field.metadata
        for name, words in _BOUNDS.items()
        if hasattr(limit, name)
    ]
    return ", ".join([_type(field.annotation), *bounds])


def _type(annotation: Any) -> str:
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(inside[0])
    if origin is Literal:
        return ", ".join(f"`{choice}`" for choice in inside)
    if origin in (Union, UnionType):
        kinds = [kind for kind in inside if kind is not NoneType]
        # Several models under one key are told apart by their `format`.
        return _type(kinds[0]) if len(kinds) == 1 else "[source](#sources)"
    if origin is tuple:
        return f"list of {len(inside)}" if inside[-1] is not Ellipsis else "list"
    if origin is dict:
        return "mapping"
    for name, model in MODELS.items():
        if annotation is model:
            return f"[{name}](#{name})"
    return _WORDS[annotation]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        value = _plain(value)
        if not value:
            return "its own"
    if value is None or value == {}:
        return "none"
    if isinstance(value, tuple):
        value = [_plain(each) if isinstance(each, BaseModel) else each for each in value]
    value = value.as_posix() if isinstance(value, Path) else value
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=200)
    return f"`{text.removesuffix(_DOCUMENT_END).strip()}`"


def _plain(value: BaseModel) -> Any:
    return value.model_dump(mode="json", exclude_unset=True, by_alias=True)


if __name__ == "__main__":
    main()
