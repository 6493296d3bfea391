"""What ``check``, ``train`` and ``evaluate`` share: their options, and how a recipe is opened."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from hybridge.recipes.schema import HybridRecipe

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


def open_recipe(
    path: Path,
    overrides: Sequence[str] | None,
    mode: str | None = None,
    splits: int | None = None,
    seed: int | None = None,
) -> "HybridRecipe":
    """Read a recipe with its overrides; raises `ConfigError` naming every fault."""
    from hybridge.recipes.load import load_recipe
    from hybridge.recipes.schema import HybridRecipe

    short = {"mode": mode, "evaluate.splits": splits, "seed": seed}
    given = [f"{key}={value}" for key, value in short.items() if value is not None]
    return load_recipe(HybridRecipe, path, [*(overrides or ()), *given])


def folder_of(recipe: "HybridRecipe", out: Path | None) -> Path:
    """Return where a recipe's run is kept."""
    return out or Path("runs") / recipe.name
