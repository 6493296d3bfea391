"""``hybridge check``."""

from pathlib import Path
from typing import Annotated

import typer

from hybridge.cli.output import show_json
from hybridge.cli.recipe import RecipeArgument, SetOption
from hybridge.errors import ConfigError


def check(
    recipe: RecipeArgument,
    set_: SetOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print {ok, faults} as JSON.")] = False,
) -> None:
    """Check a recipe, of whatever kind, without running it.

    Every fault is named at once; the exit code is 2 where there is one.

    \b
    Examples:
      hybridge check recipes/cifar10_resnet.yaml
      hybridge check recipes/cifar10_resnet.yaml --set deploy.codec=jpeg-90 --json
      hybridge check recipes/cifar10_pairs.yaml
    """
    faults = _faults(recipe, set_)
    if json:
        show_json({"ok": not faults, "faults": faults})
    if faults:
        raise ConfigError("; ".join(faults))
    if not json:
        print(f"{recipe}: ok")


def _faults(path: Path, overrides: list[str] | None) -> list[str]:
    from hybridge.recipes.kinds import open_any
    from hybridge.recipes.load import data_root

    try:
        return open_any(path, overrides or ()).faults(data_root())
    except ConfigError as error:
        return [str(error)]
