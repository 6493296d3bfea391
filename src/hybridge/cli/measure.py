"""``hybridge tree measure``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hybridge.cli.output import check_file, check_folder, show, warn
from hybridge.cli.recipe import JsonFileOption, OutOption, RecipeArgument, SetOption, open_as
from hybridge.errors import DataError

if TYPE_CHECKING:
    from hybridge.report.tables import Table


def measure(
    recipe: RecipeArgument,
    set_: SetOption = None,
    out: OutOption = None,
    json: JsonFileOption = None,
    traces: Annotated[int, typer.Option(min=1, help="Traces, spread over the scenes.")] = 5,
    requests: Annotated[
        int, typer.Option(min=1, help="Requests of each method on each trace.")
    ] = 60,
    rate: Annotated[float, typer.Option(help="Requests that begin in a second.")] = 2.0,
    methods: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            metavar="NAME",
            help="What is measured; may be repeated.",
            show_default="edge only, cloud only webp, surgery once, surgery, branch, tree",
        ),
    ] = None,
    merge: Annotated[
        bool, typer.Option("--merge", help="Add what was measured to the run's summary.json.")
    ] = False,
) -> None:
    """Measure what was found between two processes, over links that recorded traces shape.

    An edge at the pace of the recipe's device asks a cloud over gRPC on this machine. Beside it
    stands what the emulator expects. A run that was searched before is not trained again. Writes
    measured.json into the folder of the run.

    \b
    Examples:
      hybridge tree measure recipes/vgg11_tree.yaml
      hybridge tree measure recipes/vgg11_tree.yaml --traces 12 --requests 120 --merge
      hybridge tree measure recipes/vgg11_tree.yaml --method surgery --method tree
    """
    from hybridge.files import write_json
    from hybridge.recipes.load import data_root
    from hybridge.recipes.model_tree import run
    from hybridge.recipes.tree_link import LinkSettings
    from hybridge.recipes.tree_link import measure as measured_of
    from hybridge.recipes.tree_measured import measured_summary, merged
    from hybridge.recipes.tree_places import narrowed
    from hybridge.recipes.tree_schema import TreeRecipe

    opened = open_as(TreeRecipe, recipe, set_)
    chosen = {} if methods is None else {"methods": tuple(methods)}
    settings = LinkSettings(traces=traces, requests=requests, rate_per_s=rate, **chosen)
    folder = out or Path("runs") / opened.name
    check_folder("--out", folder)
    if json is not None:
        check_file("--json", json)
    summary = _read_summary(folder / "summary.json") if merge else None
    found = run(narrowed(opened, traces), data_root(), folder)
    measured = measured_summary(found, measured_of(found, settings), settings)
    for path in (folder / "measured.json", json):
        if path is not None:
            write_json(path, measured)
    if summary is not None:
        write_json(folder / "summary.json", merged(summary, measured, opened.slowed_devices()))
    show(_table(measured).rich())
    if beyond := measured["answers_beyond_tolerance"]:
        warn(
            f"{beyond} of {measured['answers']} answers differ from the composed network's by more "
            f"than {measured['tolerance']:g}, {measured['largest_difference']:.2g} at most"
        )


def _read_summary(path: Path) -> dict[str, Any]:
    try:
        summary: dict[str, Any] = json.loads(path.read_text())
        summary["rows"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(
            f"--merge: {path} is no summary of a run; run 'hybridge tree search' first"
        ) from error
    return summary


def _table(measured: dict[str, Any]) -> "Table":
    from hybridge.report.tables import Column, Table

    columns = [
        *(Column("Device"), Column("Trace"), Column("Method")),
        *(Column("Measured", "ms"), Column("Estimated", "ms"), Column("Ratio", "number")),
        *(Column("Accuracy", "percent"), Column("Reward", "number"), Column("Sent", "percent")),
    ]
    rows = [
        [
            *(row["device"], Path(row["trace"]).name, row["method"]),
            *(row["measured"]["latency_ms"], row["estimated"]["latency_ms"]),
            row["measured_over_estimated"],
            row["measured"]["accuracy"] / 100,
            row["measured"]["reward"],
            row["measured"]["asked"] / row["requests"],
        ]
        for row in measured["traces"]
    ]
    caption = (
        f"{measured['settings']['requests']} requests each; answers differ from the composed torch "
        f"network's by {measured['largest_difference']:.1g} at most"
    )
    return Table(columns, rows, caption)
