"""``hybridge profile``."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hybridge.cli.output import check_file, plain, show, show_facts, show_json

if TYPE_CHECKING:
    from hybridge.cost.fit import Quality
    from hybridge.recipes.profile import HostProfile


def profile(
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.json", help="Write the device profile.")
    ] = None,
    figure: Annotated[
        Path | None, typer.Option(metavar="FILE.svg", help="Draw predicted over measured times.")
    ] = None,
    network: Annotated[
        list[str] | None,
        typer.Option(
            help="Compare with this network; may be repeated.", show_default="eight of them"
        ),
    ] = None,
    threads: Annotated[int, typer.Option(min=0, help="Threads; 0 for one per core.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of the layers that are drawn.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure this machine, and write its device profile.

    Layers drawn at random are timed in onnxruntime, and a speed is fitted for each class and
    kernel. Layers and whole networks that the fit has not seen show how far it can be trusted.
    Takes one to two minutes; let nothing else run meanwhile.

    \b
    Examples:
      hybridge profile --out host.json --figure host.svg
      hybridge profile --network resnet50 --network vgg11_cifar --json
      hybridge profile --threads 0 --out all-cores.json
    """
    from hybridge.files import write_atomically
    from hybridge.recipes.profile import NETWORKS, profile_host

    for option, path in (("--out", out), ("--figure", figure)):
        if path is not None:
            check_file(option, path)
    found = profile_host(network or NETWORKS, threads=threads, seed=seed)
    if out is not None:
        found.device.save(out)
    if figure is not None:
        write_atomically(figure, _drawn(found).encode())
    if json:
        show_json(_described(found))
    else:
        _print(found, out)


def _described(found: "HostProfile") -> dict[str, Any]:
    from hybridge.cost.fit import judge

    return {
        "device": plain(found.device),
        "held_out": [_quality(each) for each in judge(found.device, found.held_out)],
        "networks": [
            {
                "network": whole.name,
                "layers": [_quality(each) for each in judge(found.device, layers)],
                "estimated_ms": whole.estimated_ms,
                "measured_ms": whole.measured_ms,
                "error": whole.error,
            }
            for whole, layers in zip(found.wholes, found.of_networks.values(), strict=True)
        ],
        "median_error": found.median_error,
    }


def _quality(quality: "Quality") -> dict[str, Any]:
    return {**quality._asdict(), "r2": quality.r2 if math.isfinite(quality.r2) else None}


def _print(found: "HostProfile", out: Path | None) -> None:
    from hybridge.cost.fit import judge
    from hybridge.report.tables import Column, Table
    from hybridge.report.values import format_value

    groups = {"drawn, held out": found.held_out, **found.of_networks}
    layers = (
        Column("Layers"),
        Column("Class and kernel"),
        Column("Number", "number"),
        Column("MAPE", "percent"),
        Column("R\N{SUPERSCRIPT TWO}", "number"),
    )
    rows = [
        (group, each.name, each.layers, each.mape, each.r2 if math.isfinite(each.r2) else None)
        for group, timings in groups.items()
        for each in judge(found.device, timings)
    ]
    show(Table(layers, rows, "Layers that the fit has not seen").rich())
    show("")
    networks = (
        Column("Network"),
        Column("Estimated", "ms"),
        Column("Measured", "ms"),
        Column("Error", "percent"),
    )
    wholes = [(each.name, each.estimated_ms, each.measured_ms, each.error) for each in found.wholes]
    show(Table(networks, wholes, "Whole networks, none of which was fitted on").rich())
    show("")
    show_facts(
        {
            "median error of whole networks": format_value(found.median_error, "percent"),
            "profile": str(out) if out else "not written; add --out FILE.json",
        }
    )


def _drawn(found: "HostProfile") -> str:
    from hybridge.cost.price import layer_ms
    from hybridge.report.figures import predicted_over_measured

    pairs: dict[str, list[tuple[float, float]]] = {}
    unseen = {*found.held_out, *(each for group in found.of_networks.values() for each in group)}
    for timing in sorted(unseen, key=lambda timing: timing.layer.kind):
        predicted = layer_ms(timing.layer, found.device)
        pairs.setdefault(timing.layer.kind, []).append((timing.ms, predicted))
    return predicted_over_measured(pairs)
