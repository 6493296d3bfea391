"""``hybridge partition``."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hybridge.cli.output import show, show_facts, show_json
from hybridge.cli.sized import (
    ChannelsOption,
    ClassesOption,
    NetworkArgument,
    ResolutionOption,
    size_of,
)
from hybridge.errors import ConfigError

if TYPE_CHECKING:
    from hybridge.design.graph.partition import Partition, Partitionable
    from hybridge.links.link import Link
    from hybridge.report.tables import Table
    from hybridge.report.values import Value

Cuts = Mapping[str, "Partition"]
"""The best cut and those it is compared with, by name."""


def partition(
    network: NetworkArgument,
    device: Annotated[
        str, typer.Option(help="The device: a preset, or a .json file.")
    ] = "xiaomi-mi6x",
    cloud: Annotated[str, typer.Option(help="The server: a preset, or a .json file.")] = "v100",
    link: Annotated[str, typer.Option(help="The link: a preset, or a .json file.")] = "lte",
    bandwidth_mbps: Annotated[
        list[float] | None,
        typer.Option(
            metavar="MBPS", help="Give it again for more rows.", show_default="the link's"
        ),
    ] = None,
    resolution: ResolutionOption = None,
    classes: ClassesOption = None,
    channels: ChannelsOption = None,
    codec: Annotated[str, typer.Option(help="Encodes what crosses in the middle.")] = "int8-zstd",
    image_codec: Annotated[str, typer.Option(help="Encodes the input; with --data.")] = "webp",
    data: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="Measure encoded sizes on parquet:PATH, folder:PATH, arrays:PATH or digits.",
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The network's safetensors file; with --data."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Images to measure; with --data.")] = 64,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Find where to cut a network between a device and the cloud.

    The fastest cut of all, by a minimum cut (dynamic DNN surgery), beside the device alone and the
    cloud alone. Without --data no network is run: a tensor then counts with the most bytes that
    its codec gives, and the input with its pixels.

    \b
    Examples:
      hybridge partition vgg11_cifar --device xiaomi-mi6x --cloud gtx1080ti --link wifi-near
      hybridge partition alexnet_cifar --bandwidth-mbps 1 --bandwidth-mbps 10 --json
      hybridge partition cifar_resnet20 --weights resnet20.safetensors --data parquet:test.parquet
    """
    from hybridge.cli.encoded import sized_by_bound, sized_by_images
    from hybridge.cost.surroundings import Surroundings
    from hybridge.design.graph.partition import partitionable
    from hybridge.report.values import format_value

    around = Surroundings(device=device, cloud=cloud, link=link).look_up()
    links = _links(around.link, bandwidth_mbps or [])
    size = size_of(network, resolution=resolution, class_count=classes, channels=channels)
    if data is None:
        if weights is not None:
            raise ConfigError("--weights goes with --data, on which sizes are measured; give both")
        sized = sized_by_bound(network, size, codec)
    elif weights is None:
        raise ConfigError("--data needs --weights: what a network gives depends on them")
    else:
        sized = sized_by_images(network, size, weights, data, limit, image_codec, codec)
    what = partitionable(sized.graph, around.device, around.cloud, sized.payload_bytes)
    cuts = [_cuts(what, each) for each in links]
    if json:
        named = {"network": network, "resolution": size["resolution"]}
        named |= {"channels": size["channels"], "classes": size["class_count"]}
        named |= {"device": device, "cloud": cloud, "link": link, "sizes": sized.settings}
        show_json({**named, "cuts": [_plain(what, *cut) for cut in zip(links, cuts, strict=True)]})
        return
    table = (
        _one(what, cuts[0], network) if len(links) == 1 else _several(what, links, cuts, network)
    )
    show(table.rich())
    facts = {"encoded sizes": sized.about}
    if len(links) == 1:
        best = _plain(what, links[0], cuts[0])["best"]
        facts = {side: _span(best[side]) for side in ("edge", "cloud")} | facts
        facts["bandwidth"] = f"{format_value(links[0].bandwidth_bps / 1e6, 'number')} Mbit/s"
    show_facts(facts | {"priced for": f"{device}, {link}, {cloud}"})


def _links(link: "Link", bandwidths_mbps: Sequence[float]) -> list["Link"]:
    for mbps in bandwidths_mbps:
        if not 0 < mbps < math.inf:
            raise ConfigError(f"--bandwidth-mbps: expected a positive number, got {mbps:g}")
    return [replace(link, bandwidth_bps=1e6 * mbps) for mbps in bandwidths_mbps] or [link]


def _cuts(what: "Partitionable", link: "Link") -> Cuts:
    """Return the best cut, and what it is compared with, by name."""
    from hybridge.design.graph.mincut import minimum_cut
    from hybridge.design.graph.partition import cloud_only, edge_only

    return {
        "best": minimum_cut(what, link),
        "edge_only": edge_only(what, link),
        "cloud_only": cloud_only(what, link),
    }


def _plain(what: "Partitionable", link: "Link", cuts: Cuts) -> dict[str, Any]:
    return {
        "bandwidth_mbps": link.bandwidth_bps / 1e6,
        **{
            name: {
                "edge": [node for node in what.edge_ms if node not in cut.cloud],
                "cloud": [node for node in what.edge_ms if node in cut.cloud],
                "crossing": list(cut.crossing),
                "bytes": cut.payload_bytes,
                "edge_ms": cut.edge_ms,
                "link_ms": cut.link_ms,
                "cloud_ms": cut.cloud_ms,
                "latency_ms": cut.latency_ms,
            }
            for name, cut in cuts.items()
        },
    }


def _one(what: "Partitionable", cuts: Cuts, caption: str) -> "Table":
    """Return the parts of each cut, a row for each."""
    from hybridge.report.tables import Column, Table

    columns = (
        *(
            Column("Cut"),
            Column("Edge nodes", "number"),
            Column("Cloud nodes", "number"),
            Column("Sent"),
        ),
        *(Column("Bytes", "bytes"), Column("Edge", "ms"), Column("Link", "ms")),
        *(Column("Cloud", "ms"), Column("In all", "ms")),
    )
    rows: list[tuple[Value, ...]] = [
        (
            name.replace("_", " "),
            *_where(what, cut),
            cut.payload_bytes,
            cut.edge_ms,
            cut.link_ms,
            cut.cloud_ms,
            cut.latency_ms,
        )
        for name, cut in cuts.items()
    ]
    return Table(columns, rows, caption, strong=frozenset({0}))


def _several(
    what: "Partitionable", links: Sequence["Link"], cuts: Sequence[Cuts], caption: str
) -> "Table":
    """Return the best cut at each bandwidth, with what the others take."""
    from hybridge.report.tables import Column, Table

    columns = (
        *(
            Column("Mbit/s", "number"),
            Column("Edge nodes", "number"),
            Column("Cloud nodes", "number"),
        ),
        *(Column("Sent"), Column("Bytes", "bytes"), Column("In all", "ms")),
        *(Column("Edge only", "ms"), Column("Cloud only", "ms")),
    )
    rows: list[tuple[Value, ...]] = [
        (
            link.bandwidth_bps / 1e6,
            *_where(what, cut["best"]),
            cut["best"].payload_bytes,
            *(each.latency_ms for each in cut.values()),
        )
        for link, cut in zip(links, cuts, strict=True)
    ]
    return Table(columns, rows, caption)


def _where(what: "Partitionable", cut: "Partition") -> tuple[int, int, str]:
    """Return how many nodes are on the edge, how many in the cloud, and what is sent."""
    in_cloud = len(cut.cloud)
    return len(what.edge_ms) - in_cloud, in_cloud, ", ".join(cut.crossing) or "nothing"


def _span(names: Sequence[str]) -> str:
    """Return the first and the last of some nodes."""
    if not names:
        return "nothing"
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
