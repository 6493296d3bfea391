"""``hybridge tree``: model trees searched, and drawn."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hybridge.cli.measure import measure
from hybridge.cli.output import check_file, check_folder, show, show_facts
from hybridge.cli.recipe import JsonFileOption, OutOption, RecipeArgument, SetOption, open_as
from hybridge.errors import ConfigError

if TYPE_CHECKING:
    from hybridge.recipes.model_tree import SceneResult, TreeRun

tree = typer.Typer(rich_markup_mode=None)
tree.command()(measure)


@tree.callback()
def about() -> None:
    """Search trees of compressed blocks, measure and draw them.

    \b
    Examples:
      hybridge tree search recipes/vgg11_tree.yaml --json out.json
      hybridge tree measure recipes/vgg11_tree.yaml
      hybridge tree show runs/vgg11-tree/bundle
    """


@tree.command()
def search(
    recipe: RecipeArgument,
    set_: SetOption = None,
    out: OutOption = None,
    json: JsonFileOption = None,
    bundle: Annotated[
        str | None,
        typer.Option(metavar="SCENE", help="Scene whose tree is exported; the first by default."),
    ] = None,
) -> None:
    """Search a tree of compressed blocks for every device and scene of a recipe.

    A run that was cut off goes on where it stopped, and comes to the same. What is written lies in
    the folder of the run: bundle/, summary.json, report.html and checkpoints.

    \b
    Examples:
      hybridge tree search recipes/vgg11_tree.yaml --json out.json
      hybridge tree search recipes/vgg11_tree.yaml --set search.accuracy_loss=0.02
      hybridge tree search recipes/vgg11_tree.yaml --bundle wifi-weak-indoor
    """
    from hybridge.cli.trees import show_run
    from hybridge.files import write_json
    from hybridge.recipes.load import data_root
    from hybridge.recipes.model_tree import run
    from hybridge.recipes.tree_bundle import export_tree
    from hybridge.recipes.tree_report import tree_report
    from hybridge.recipes.tree_schema import TreeRecipe
    from hybridge.recipes.tree_summary import summarise

    opened = open_as(TreeRecipe, recipe, set_)
    folder = out or Path("runs") / opened.name
    check_folder("--out", folder)
    if json is not None:
        check_file("--json", json)
    wanted = _wanted(bundle, [scene for each in opened.contexts for scene in each.scenes])
    found = run(opened, data_root(), folder)
    summary = summarise(found)
    for path in (folder / "summary.json", json):
        if path is not None:
            write_json(path, summary)
    show_run(summary)
    exported = export_tree(found, _scene(found, wanted), folder / "bundle")
    report = tree_report(found, summary, exported).write(folder / "report.html")
    show_facts({"bundle": str(folder / "bundle"), "report": str(report)})


@tree.command("show")
def show_tree(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle of a model tree.")],
) -> None:
    """Draw a tree: its blocks, with rewards, bytes and times of every branch.

    \b
    Examples:
      hybridge tree show runs/vgg11-tree/bundle
    """
    from hybridge.plan.bundle import load_bundle
    from hybridge.report.branches import branch_notes, branch_table
    from hybridge.report.drawing import tree as drawn

    opened = load_bundle(bundle)
    if "tree" not in opened.metadata:
        raise ConfigError(f"{bundle} holds no model tree; 'hybridge show' draws any bundle")
    show(drawn(opened.plan, branch_notes(opened)))
    show("")
    show(branch_table(opened).rich())


def _wanted(scene: str | None, known: list[str]) -> str:
    if scene is not None and scene not in known:
        raise ConfigError(f"--bundle: expected one of {', '.join(known)}, got {scene!r}")
    return scene or known[0]


def _scene(found: "TreeRun", key: str) -> "SceneResult":
    return next(each for each in found.scenes if each.scene.key == key)
