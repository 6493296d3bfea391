"""``hybridge demo``: the whole path, from data to a running hybrid and its report."""

from pathlib import Path
from typing import Annotated

import typer


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the report, bundles and checkpoints.")] = (
        Path("runs/demo")
    ),
    link_seed: Annotated[int, typer.Option(help="Seed of the cellular-like trace.")] = 0,
    link_mbps: Annotated[float, typer.Option(min=0.01, help="Mean uplink bandwidth.")] = 5.0,
    rtt_ms: Annotated[float, typer.Option(min=0, help="Round trip of the link.")] = 42.0,
) -> None:
    """Train, export and run a hybrid on handwritten digits.

    A cloud server and an edge run as processes of their own, over a link shaped by a trace. Prints
    one table and writes report.html.

    \b
    Examples:
      hybridge demo
      hybridge demo --out /tmp/demo --link-mbps 0.5 --rtt-ms 80
    """
    from rich.console import Console

    from hybridge.recipes.demo import LinkShape, demo_report, demonstrate

    result = demonstrate(out, LinkShape(link_seed, link_mbps, rtt_ms))
    Console().print(result.table.rich())
    report = out / "report.html"
    demo_report(result).write(report)
    typer.echo(f"report: {report}")
