"""``hybridge train``."""

from pathlib import Path

from hybridge.cli.output import check_file, check_folder, show_facts
from hybridge.cli.recipe import (
    JsonFileOption,
    ModeOption,
    OutOption,
    RecipeArgument,
    SeedOption,
    SetOption,
    SplitsOption,
    folder_of,
    open_recipe,
)
from hybridge.report.values import format_value


def train(
    recipe: RecipeArgument,
    mode: ModeOption = None,
    splits: SplitsOption = None,
    seed: SeedOption = None,
    set_: SetOption = None,
    out: OutOption = None,
    json: JsonFileOption = None,
) -> None:
    """Train what a recipe says, evaluate and export it.

    A run that was cut off goes on where it stopped. What is written lies in the folder of the
    run: bundle/, report.html, weights, checkpoints and logs for TensorBoard.

    \b
    Examples:
      hybridge train recipes/cifar10_resnet.yaml --mode r --splits 5 --json out.json
      hybridge train recipes/cifar10_resnet.yaml --set deploy.target.coverage=0.9 --out runs/c90
    """
    from hybridge.cli.summary import show_summary, write_summary
    from hybridge.design.train.processes import is_main
    from hybridge.recipes.hybrid import check, deploy, run
    from hybridge.recipes.load import data_root
    from hybridge.recipes.report import training_report
    from hybridge.recipes.summary import summarise

    opened = open_recipe(recipe, set_, mode, splits, seed)
    check(opened, data_root())
    folder = folder_of(opened, out)
    _check_places(folder, json)
    result = run(opened, data_root(), folder)
    if not is_main():
        return
    bundle, point = deploy(result, folder / "bundle", opened.deploy)
    report = training_report(result, point, bundle).write(folder / "report.html")
    summary = summarise(result)
    write_summary(summary, json)
    show_summary(summary)
    show_facts(
        {
            "bundle": str(folder / "bundle"),
            "report": str(report),
            "coverage": format_value(point.coverage, "percent"),
            "threshold": format_value(point.threshold, "number"),
        }
    )


def _check_places(folder: Path, json: Path | None) -> None:
    """Raise, before anything runs, where what comes of it could not be written."""
    from hybridge.plan.manifest import read_manifest

    check_folder("--out", folder)
    if json is not None:
        check_file("--json", json)
    bundle = folder / "bundle"
    if bundle.is_dir() and any(bundle.iterdir()):
        read_manifest(bundle)
