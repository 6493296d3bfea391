"""``hybridge evaluate``."""

from hybridge.cli.output import check_file
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


def evaluate(
    recipe: RecipeArgument,
    mode: ModeOption = None,
    splits: SplitsOption = None,
    seed: SeedOption = None,
    set_: SetOption = None,
    out: OutOption = None,
    json: JsonFileOption = None,
) -> None:
    """Evaluate networks that have been trained.

    No network is trained and no bundle written. Routers and baselines are fitted on the
    calibration halves, as `train` does.

    \b
    Examples:
      hybridge evaluate recipes/cifar10_resnet.yaml --splits 20 --json out.json
      hybridge evaluate recipes/cifar10_resnet.yaml --set evaluate.ablations=true
    """
    from hybridge.cli.summary import show_summary, write_summary
    from hybridge.recipes.hybrid import run
    from hybridge.recipes.load import data_root
    from hybridge.recipes.summary import summarise

    opened = open_recipe(recipe, set_, mode, splits, seed)
    if json is not None:
        check_file("--json", json)
    result = run(opened, data_root(), folder_of(opened, out), training=False)
    summary = summarise(result)
    write_summary(summary, json)
    show_summary(summary)
