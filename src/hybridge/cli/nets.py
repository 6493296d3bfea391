"""``hybridge nets``."""

from typing import Annotated, Any

import typer

from hybridge.cli.output import show, show_json
from hybridge.errors import UnknownNameError


def nets(
    pattern: Annotated[str, typer.Argument(help="Names to list; * and ? match any.")] = "*",
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the networks a recipe can name, and what they cost.

    \b
    Examples:
      hybridge nets
      hybridge nets 'cifar_*' --json
    """
    from hybridge.design.nets import networks
    from hybridge.report.tables import Column, Table

    names = networks.names(pattern)
    if not names:
        raise UnknownNameError(
            f"no network matches {pattern!r}; 'hybridge nets' lists all {len(networks.names())}"
        )
    rows = [_row(name) for name in names]
    if json:
        show_json(rows)
        return
    columns = (
        Column("Network"),
        Column("Resolution"),
        Column("Channels", "number"),
        Column("Classes", "number"),
        Column("MACs", "count"),
        Column("Parameters", "count"),
        Column("About"),
    )
    lines = [
        (
            row["name"],
            f"{row['resolution']} x {row['resolution']}",
            row["channels"],
            row["classes"],
            row["macs"],
            row["parameters"],
            row["about"],
        )
        for row in rows
    ]
    show(Table(columns, lines).rich())


def _row(name: str) -> dict[str, Any]:
    from hybridge.design.graph.outline import outline
    from hybridge.design.nets import networks

    info = networks.get(name)
    graph = outline(
        name,
        class_count=info.class_count,
        resolution=info.resolution,
        channels=info.channels,
    )
    return {
        "name": name,
        "resolution": info.resolution,
        "channels": info.channels,
        "classes": info.class_count,
        "macs": graph.macs,
        "parameters": graph.parameters,
        "about": info.about,
    }
