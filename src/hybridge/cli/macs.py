"""``hybridge macs``."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from hybridge.cli.output import show, show_facts, show_json
from hybridge.cli.sized import (
    ChannelsOption,
    ClassesOption,
    NetworkArgument,
    ResolutionOption,
    builder_options,
    size_of,
)

if TYPE_CHECKING:
    from hybridge.design.graph.graph import Graph, GraphNode
    from hybridge.report.tables import Table


def macs(
    network: NetworkArgument,
    resolution: ResolutionOption = None,
    classes: ClassesOption = None,
    channels: ChannelsOption = None,
    arch: Annotated[
        str | None,
        typer.Option(
            metavar="ARCHITECTURE",
            help="Of an elastic family: 'KERNELS | EXPANSIONS | DEPTHS', a digit for each choice.",
            show_default="its largest",
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="What else its builder takes; may be repeated."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Count a network's MACs, parameters and bytes, by layer.

    Nothing is computed and no weights are needed. What a layer reads is shown where that is not
    just the layer before it. A network from elsewhere needs --resolution and --classes.

    \b
    Examples:
      hybridge macs vgg11_cifar
      hybridge macs resnet50 --resolution 160 --classes 10
      hybridge macs my_package.nets:my_network --resolution 64 --classes 5 --json
      hybridge macs elastic_small --arch '335553333 | 234432222 | 123'
      hybridge macs mobilenetv3_large --option width=0.5
      hybridge macs mcunet --option description=net.json --resolution 144
    """
    from hybridge.design.graph.outline import outline

    size = size_of(network, resolution=resolution, class_count=classes, channels=channels)
    options = builder_options(network, arch, option or [])
    graph = outline(network, **size, **options)
    if json:
        show_json(_plain(network, size, options.get("architecture"), graph))
        return
    caption = f"{network} on {size['resolution']} x {size['resolution']}"
    show(_table(graph, f"{caption}, {size['class_count']} classes").rich())
    show_facts(_totals(graph))


def _plain(
    network: str, size: dict[str, int], architecture: str | None, graph: "Graph"
) -> dict[str, Any]:
    return {
        "network": network,
        "architecture": architecture,
        "resolution": size["resolution"],
        "channels": size["channels"],
        "classes": size["class_count"],
        "is_chain": graph.is_chain,
        "macs": graph.macs,
        "params": graph.parameters,
        "macs_m": graph.macs / 1e6,
        "params_m": graph.parameters / 1e6,
        "layers": [
            {
                "name": node.name,
                "kind": node.kind,
                "kernel": node.kernel,
                "macs": node.macs,
                "parameters": node.parameters,
                "output_shape": node.output_shape,
                "output_bytes": node.output_bytes,
                "reads": node.reads,
            }
            for node in graph.nodes
        ],
    }


def _table(graph: "Graph", caption: str) -> "Table":
    from hybridge.report.tables import Column, Table

    columns = (
        Column("Layer"),
        Column("Kind"),
        Column("Kernel"),
        Column("MACs", "count"),
        Column("Parameters", "count"),
        Column("Output"),
        Column("Size", "bytes"),
        Column("Reads"),
    )
    before = [None, *graph.nodes[:-1]]
    rows = [
        (
            node.name,
            node.kind,
            str(node.kernel or ""),
            node.macs,
            node.parameters,
            " x ".join(map(str, node.output_shape)),
            node.output_bytes,
            _reads(node, previous),
        )
        for node, previous in zip(graph.nodes, before, strict=True)
    ]
    return Table(columns, rows, caption)


def _reads(node: "GraphNode", previous: "GraphNode | None") -> str:
    expected = previous.name if previous else "input"
    return "" if node.reads == (expected,) else ", ".join(node.reads)


def _totals(graph: "Graph") -> dict[str, str]:
    form = "a chain" if graph.is_chain else f"{len(graph.skips)} edges lead past other layers"
    return {
        "MACs": f"{graph.macs:,}",
        "parameters": f"{graph.parameters:,}",
        "form": form,
    }
