"""``hybridge supernet``: all networks of a family, trained in one set of weights."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from hybridge.cli.output import check_file, check_folder, show, show_facts
from hybridge.cli.recipe import JsonFileOption, OutOption, RecipeArgument, SetOption, open_as

if TYPE_CHECKING:
    from hybridge.report.tables import Table

supernet = typer.Typer(rich_markup_mode=None)


@supernet.callback()
def about() -> None:
    """Train the networks of an elastic family together.

    \b
    Examples:
      hybridge supernet train recipes/small_supernet.yaml --json out.json
    """


@supernet.command()
def train(
    recipe: RecipeArgument,
    set_: SetOption = None,
    out: OutOption = None,
    json: JsonFileOption = None,
) -> None:
    """Train a supernet by progressive shrinking, and judge some of its subnets.

    A run that was cut off goes on where it stopped, and comes to the same. What is written lies in
    the folder of the run: supernet.safetensors, summary.json, checkpoints and logs for TensorBoard.

    \b
    Examples:
      hybridge supernet train recipes/small_supernet.yaml --json out.json
      hybridge supernet train recipes/small_supernet.yaml --set subnets.alone=[] --out runs/quick
    """
    from hybridge.design.train.processes import is_main
    from hybridge.files import write_json
    from hybridge.recipes.load import data_root
    from hybridge.recipes.supernet import WEIGHTS, run
    from hybridge.recipes.supernet_schema import SupernetRecipe
    from hybridge.recipes.supernet_summary import summarise

    opened = open_as(SupernetRecipe, recipe, set_)
    folder = out or Path("runs") / opened.name
    check_folder("--out", folder)
    if json is not None:
        check_file("--json", json)
    summary = summarise(run(opened, data_root(), folder))
    if not is_main():
        return
    for path in (folder / "summary.json", json):
        if path is not None:
            write_json(path, summary)
    show(_table(summary).rich())
    show("")
    show_facts({"weights": str(folder / WEIGHTS), "epochs": str(summary["epochs"])})


def _table(summary: dict[str, Any]) -> "Table":
    from hybridge.report.tables import Column, Table

    columns = [
        Column("Subnet"),
        Column("Kernels | expansions | depths"),
        Column("Resolution", "number"),
        Column("MACs", "count"),
        Column("Parameters", "count"),
        Column("Accuracy", "percent"),
        Column("Without recalibration", "percent"),
        Column("Trained alone", "percent"),
    ]
    alone = {(row["architecture"], row["resolution"]): row for row in summary["alone"]}
    rows = []
    for row in summary["rows"]:
        rival = alone.get((row["architecture"], row["resolution"]))
        rows.append(
            [
                row["name"],
                row["architecture"],
                row["resolution"],
                1e6 * row["macs_m"],
                1e6 * row["parameters_m"],
                row["accuracy"] / 100,
                row["accuracy_without_recalibration"] / 100,
                None if rival is None else rival["accuracy"] / 100,
            ]
        )
    caption = f"{summary['name']}: subnets of {summary['family']} on the validation images"
    return Table(columns, rows, caption)
