"""``hybridge nets``."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from hybridge.cli.output import show, show_json
from hybridge.errors import UnknownNameError

if TYPE_CHECKING:
    from hybridge.plan.layers import Layer

#: Classes of the networks that are counted; another number changes the last layer only.
_CLASSES = 10


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
        Column("MACs", "count"),
        Column("Parameters", "count"),
        Column("About"),
    )
    lines = [
        (
            row["name"],
            f"{row['resolution']} x {row['resolution']}",
            row["channels"],
            row["macs"],
            row["parameters"],
            row["about"],
        )
        for row in rows
    ]
    show(Table(columns, lines, f"Counted with {_CLASSES} classes").rich())


def _row(name: str) -> dict[str, Any]:
    from hybridge.design.nets import networks
    from hybridge.plan.layers import total_macs, total_parameters

    info = networks.get(name)
    layers = _layers(name)
    return {
        "name": name,
        "resolution": info.resolution,
        "channels": info.channels,
        "macs": total_macs(layers),
        "parameters": total_parameters(layers),
        "about": info.about,
    }


def _layers(name: str) -> tuple["Layer", ...]:
    import torch

    from hybridge.design.graph.count import count_layers
    from hybridge.design.nets import build, networks

    info = networks.get(name)
    example = torch.zeros(1, info.channels, info.resolution, info.resolution)
    return count_layers(build(name, _CLASSES), example)
