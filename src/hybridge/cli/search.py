"""``hybridge search``."""

from pathlib import Path
from typing import Annotated

import typer

from hybridge.cli.output import check_file, check_folder, show_facts
from hybridge.cli.recipe import JsonFileOption, OutOption, RecipeArgument, SetOption, open_as


def search(
    recipe: RecipeArgument,
    set_: SetOption = None,
    out: OutOption = None,
    json: JsonFileOption = None,
    only: Annotated[
        bool, typer.Option("--only", help="Search alone: make no hybrids of what is found.")
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(
            min=0, help="Processes of Ray that evaluate networks, make hybrids; 0: this one."
        ),
    ] = None,
) -> None:
    """Search a base and a global together, and make them a hybrid.

    The supernet is trained first where that was not done yet. A run that was cut off goes on where
    it stopped, and comes to the same. What is written lies in the folder of the run: bundle/,
    networks/, summary.json and report.html.

    \b
    Examples:
      hybridge search recipes/cifar10_pairs.yaml --json out.json
      hybridge search recipes/cifar10_pairs.yaml --only --workers 2
      hybridge search recipes/cifar10_pairs.yaml --set 'search.limits=[{latency_ms: 20}]'
    """
    from hybridge.cli.searched import show_search
    from hybridge.files import write_json
    from hybridge.recipes.load import data_root
    from hybridge.recipes.pair import run
    from hybridge.recipes.pair_hybrids import make_hybrids
    from hybridge.recipes.pair_report import pair_report
    from hybridge.recipes.pair_schema import PairRecipe
    from hybridge.recipes.pair_summary import summarise

    given = [] if workers is None else [f"search.workers={workers}"]
    opened = open_as(PairRecipe, recipe, [*(set_ or ()), *given])
    folder = out or Path("runs") / opened.name
    check_folder("--out", folder)
    if json is not None:
        check_file("--json", json)
    done = run(opened, data_root(), folder)
    made = None
    if opened.hybrid is not None and not only:
        made = make_hybrids(done, data_root(), folder)
    summary = summarise(done, made)
    for path in (folder / "summary.json", json):
        if path is not None:
            write_json(path, summary)
    show_search(summary)
    report = pair_report(summary, made).write(folder / "report.html")
    written = {"report": str(report)}
    show_facts(written if made is None else {"bundle": str(folder / "bundle"), **written})
