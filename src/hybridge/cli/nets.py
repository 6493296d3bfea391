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

    An elastic family is given from its smallest network to its largest.

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
            _range(row, "macs"),
            _range(row, "parameters"),
            row["about"],
        )
        for row in rows
    ]
    show(Table(columns, lines).rich())


def _row(name: str) -> dict[str, Any]:
    from hybridge.design.graph.outline import totals
    from hybridge.design.nets import networks
    from hybridge.design.nets.families import families

    info = networks.get(name)
    size = {
        "class_count": info.class_count,
        "resolution": info.resolution,
        "channels": info.channels,
    }
    macs, parameters = totals(name, **size)
    return {
        "name": name,
        "resolution": info.resolution,
        "channels": info.channels,
        "classes": info.class_count,
        "macs": macs,
        "parameters": parameters,
        "smallest": _smallest(name, size) if name in families else None,
        "about": info.about,
    }


def _smallest(name: str, size: dict[str, int]) -> dict[str, Any]:
    from hybridge.design.graph.outline import totals
    from hybridge.design.nets.families import families

    architecture = str(families.get(name).space.smallest)
    macs, parameters = totals(name, **size, architecture=architecture)
    return {"architecture": architecture, "macs": macs, "parameters": parameters}


def _range(row: dict[str, Any], key: str) -> str:
    """Return a count as a table shows it: of an elastic family, from the smallest network on."""
    from hybridge.report.values import format_value

    ends = [row["smallest"][key]] if row["smallest"] else []
    return " to ".join(format_value(count, "count") for count in (*ends, row[key]))
