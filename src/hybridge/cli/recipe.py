"""What commands that take a recipe share: their options, and how it is opened."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from hybridge.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from hybridge.recipes.schema import HybridRecipe

Recipe = TypeVar("Recipe", bound="BaseModel")

RecipeArgument = Annotated[Path, typer.Argument(metavar="RECIPE", help="The recipe, a YAML file.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY.PATH=VALUE", help="Override a key of the recipe; may be repeated."
    ),
]
ModeOption = Annotated[
    str | None,
    typer.Option(
        metavar="r|rb|rbg", help="Train the router alone, with the base, or with base and global."
    ),
]
SplitsOption = Annotated[
    int | None, typer.Option(metavar="N", help="Number of random halves to report on.")
]
SeedOption = Annotated[int | None, typer.Option(metavar="S", help="Seed of everything.")]
OutOption = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Folder of the run.", show_default="runs/ and the name"),
]
JsonFileOption = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write the figures to this file.")
]


def open_as(kind: type[Recipe], path: Path, overrides: Sequence[str] | None) -> Recipe:
    """Read a recipe with its overrides.

    Raises:
        ConfigError: Names every fault; or the command to run, where that is another.
    """
    from hybridge.recipes.kinds import COMMANDS, kind_of, known_keys
    from hybridge.recipes.load import read_content, validate

    content = read_content(path, overrides or ())
    try:
        return validate(kind, content, str(path))
    except ConfigError as error:
        likely = kind_of(content)
        if known_keys(likely, content) == known_keys(kind, content):
            raise
        raise ConfigError(
            f"{path} has the keys of a recipe of '{COMMANDS[likely]}'; expected one of "
            f"'{COMMANDS[kind]}'"
        ) from error


def open_recipe(
    path: Path,
    overrides: Sequence[str] | None,
    mode: str | None = None,
    splits: int | None = None,
    seed: int | None = None,
) -> "HybridRecipe":
    """Read the recipe of a hybrid with its overrides, as `open_as` does."""
    from hybridge.recipes.schema import HybridRecipe

    short = {"mode": mode, "evaluate.splits": splits, "seed": seed}
    given = [f"{key}={value}" for key, value in short.items() if value is not None]
    return open_as(HybridRecipe, path, [*(overrides or ()), *given])


def folder_of(recipe: "HybridRecipe", out: Path | None) -> Path:
    """Return where a recipe's run is kept."""
    return out or Path("runs") / recipe.name
