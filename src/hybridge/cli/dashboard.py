"""``hybridge dashboard``."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hybridge.cli.output import show_json, warn
from hybridge.errors import DataError

if TYPE_CHECKING:
    from hybridge.report.live import Known


def dashboard(
    log: Annotated[
        Path, typer.Argument(metavar="LOG", help="The decision log; it may be missing as yet.")
    ],
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the page; 0 for any that is free.")
    ] = 8080,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    bundle: Annotated[
        Path | None,
        typer.Option(
            metavar="BUNDLE", help="The bundle that writes the log: names of classes, threshold."
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where `hybridge run --keep-images` keeps inputs."),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The server's figures: http://HOST:PORT/metrics."),
    ] = None,
) -> None:
    """Show a decision log as a live page.

    The page follows the log as it grows and rotates: estimate of the link, coverage, threshold,
    latency by part, breaker, and the last requests. Prints one line of JSON once it listens, and
    runs until it is interrupted. Whoever can reach the port can read along: nothing is encrypted.

    \b
    Examples:
      hybridge dashboard decisions.jsonl
      hybridge dashboard decisions.jsonl --bundle runs/demo/bundle --images recent
      hybridge dashboard decisions.jsonl --metrics http://127.0.0.1:9090/metrics --port 0
    """
    from hybridge.loopback import is_loopback
    from hybridge.report.live import LiveView
    from hybridge.report.prometheus import Scraper
    from hybridge.report.watch import Dashboard

    if log.is_dir():
        raise DataError(f"expected a decision log, got the folder {log}; add a file name to it")
    cloud = None if metrics is None else Scraper(metrics)
    view = LiveView(log, _known(bundle), cloud)
    view.state()  # what cannot be read is told at once
    with Dashboard(view.state, images, host=host, port=port) as shown:
        if not is_loopback(host):
            warn(f"whoever can reach port {shown.port} of {host} can read along")
        address = f"[{host}]" if ":" in host else host
        url = f"http://{address}:{shown.port}/"
        show_json({"event": "ready", "url": url, "port": shown.port}, indent=None)
        while True:
            time.sleep(3600)


def _known(bundle: Path | None) -> "Known | None":
    """Return what a bundle says that its log does not."""
    from hybridge.plan.bundle import inspect_bundle
    from hybridge.plan.plan import Fork
    from hybridge.report.live import Known

    if bundle is None:
        return None
    plan = inspect_bundle(bundle).plan
    thresholds = [
        placed.node.chooser.threshold
        for placed in plan.nodes()
        if isinstance(placed.node, Fork) and placed.node.chooser.kind == "score_threshold"
    ]
    return Known(plan.class_names, thresholds[0] if len(thresholds) == 1 else None)
