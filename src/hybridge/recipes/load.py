"""Reading a recipe: YAML, overrides, and every error at once, before anything runs."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from hybridge.errors import ConfigError, did_you_mean
from hybridge.recipes.borrow import read_recipe, with_borrowed

Recipe = TypeVar("Recipe", bound=BaseModel)
DATA_VARIABLE = "HYBRIDGE_DATA"


def data_root() -> Path:
    """Return the folder that data paths start from: ``HYBRIDGE_DATA``, or ``../shared/data``."""
    return Path(os.environ.get(DATA_VARIABLE, "../shared/data"))


def load_recipe(kind: type[Recipe], path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read and validate a recipe.

    Args:
        kind: What the recipe should be.
        path: The YAML file.
        overrides: ``key.path=value``; values are read as YAML.

    Raises:
        ConfigError: One line that names every fault, with the nearest known key where one is
            misspelt.
    """
    return validate(kind, read_content(path, overrides), str(path))


def read_content(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Return what a recipe says, overridden and with what it takes from other files.

    Raises:
        ConfigError: A file cannot be read, or an override cannot be made.
    """
    content = with_borrowed(read_recipe(path), path)
    for override in overrides:
        _override(content, override)
    return with_borrowed(content, path)  # an override may borrow


def validate(kind: type[Recipe], content: dict[str, Any], where: str) -> Recipe:
    """Return ``content`` as a recipe; raises `ConfigError` naming every fault."""
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        faults = "; ".join(_describe(kind, fault) for fault in error.errors(include_url=False))
        raise ConfigError(f"{where}: {faults}") from error


def _override(content: dict[str, Any], override: str) -> None:
    keys, equals, value = override.partition("=")
    if not equals or not all(keys.split(".")):
        raise ConfigError(f"expected --set key.path=value, got {override!r}")
    *parents, last = keys.split(".")
    here = content
    for key in parents:
        inside = here.get(key, {})
        if not isinstance(inside, dict):
            raise ConfigError(f"--set {override}: {key!r} holds a value, not keys")
        # An alias may name the same keys elsewhere, where they stay.
        here[key] = dict(inside)
        here = here[key]
    try:
        here[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override}: the value is not YAML") from error


def _describe(kind: type[BaseModel], fault: Any) -> str:
    location = [str(part) for part in fault["loc"]]
    where = ".".join(location) or "the recipe"
    if fault["type"] == "extra_forbidden":
        known = sorted(_keys_at(kind, location[:-1]))
        hint = did_you_mean(location[-1], known) or f"; known: {', '.join(known)}"
        return f"unknown key {where!r}{hint}"
    if fault["type"] == "missing":
        return f"missing key {where!r}"
    message = str(fault["msg"]).removeprefix("Value error, ")
    return f"{where}: {message[0].lower() + message[1:]}, got {fault['input']!r}"


def _keys_at(kind: type[BaseModel], location: Sequence[str]) -> set[str]:
    """Return the keys that may stand at a location, whichever union member is meant."""
    models = {kind}
    for part in location:
        inside: set[type[BaseModel]] = set()
        for model in models:
            for name, info in model.model_fields.items():
                if part in (name, info.alias):
                    inside |= set(_models_in(info.annotation))
        models = inside or models  # a union's tag stands in the location, but is no key
    return {info.alias or name for model in models for name, info in model.model_fields.items()}


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (Annotated, Union, UnionType):
        for argument in get_args(annotation):
            yield from _models_in(argument)
