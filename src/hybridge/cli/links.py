"""``hybridge links``: presets, and links fitted to measurements."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from hybridge.cli.output import check_file, show, show_facts, show_json, warn
from hybridge.errors import ConfigError

links = typer.Typer(rich_markup_mode=None)

#: Beyond this mean error, a fit is not to be trusted.
_POOR_FIT = 0.2


@links.callback()
def about() -> None:
    """List presets of links, or fit one to measured transfers.

    Wherever a command takes a link, it takes a preset by name or a .json file.

    \b
    Examples:
      hybridge links list
      hybridge links list lte --json
      hybridge links fit measured.csv --rtt-ms 42 --out link.json
    """


@links.command("list")
def list_(
    name: Annotated[
        str | None, typer.Argument(help="A preset, or a .json file.", show_default="every preset")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List links, and where their numbers come from.

    A transfer takes message_ms + byte_ms x bytes + bytes / bandwidth + rtt_ms. With a NAME, --json
    prints what a .json file of a link holds.

    \b
    Examples:
      hybridge links list
      hybridge links list wifi-near --json
      hybridge links list link.json
    """
    from hybridge.links.link import link_named, links
    from hybridge.report.tables import Column, Table

    found = {each: link_named(each) for each in ([name] if name is not None else links)}
    if json and name is not None:
        show_json(asdict(found[name]))
        return
    if json:
        show_json([{"name": each} | asdict(link) for each, link in found.items()])
        return
    columns = (
        Column("Link"),
        Column("Mbit/s", "number"),
        Column("Round trip", "ms"),
        Column("A message", "ms"),
        Column("A megabyte", "ms"),
        Column("From"),
    )
    rows = [
        (
            each,
            link.bandwidth_bps / 1e6,
            link.rtt_ms,
            link.message_ms,
            1e6 * link.byte_ms,
            link.provenance,
        )
        for each, link in found.items()
    ]
    show(Table(columns, rows, "What a message and a megabyte take beyond their sending").rich())


@links.command()
def fit(
    measured: Annotated[
        Path,
        typer.Argument(
            metavar="MEASURED",
            help="CSV with the columns payload_bytes, transfer_ms and perhaps bandwidth_mbps.",
        ),
    ],
    rtt_ms: Annotated[float, typer.Option(min=0, help="Round trip that the times contain.")] = 0.0,
    bandwidth_mbps: Annotated[
        float | None,
        typer.Option(help="Bandwidth at the time.", show_default="the column's, or fitted as well"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the link to this .json file.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Fit a link to measured transfers: T = f(S|W) + S / W + round trip.

    The file that --out names can stand wherever a command takes a link by name.

    \b
    Examples:
      hybridge links fit measured.csv --rtt-ms 42
      hybridge links fit measured.csv --rtt-ms 42 --bandwidth-mbps 10 --out link.json --json
      hybridge estimate runs/demo/bundle --link link.json
    """
    from hybridge.links.fit import fit_errors, fit_link, read_transfers
    from hybridge.report.values import format_value

    if out is not None:
        if out.suffix != ".json":
            raise ConfigError(f"--out: expected a name that ends with .json, got {out}")
        check_file("--out", out)
    seen = read_transfers(measured)
    if bandwidth_mbps is not None and seen.bandwidth_bps is not None:
        raise ConfigError(
            f"--bandwidth-mbps: {measured} has a column bandwidth_mbps as well; give one of them"
        )
    bandwidth_bps = seen.bandwidth_bps if bandwidth_mbps is None else 1e6 * bandwidth_mbps
    link = fit_link(seen.payload_bytes, seen.transfer_ms, bandwidth_bps, rtt_ms)
    errors = fit_errors(link, seen.payload_bytes, seen.transfer_ms, bandwidth_bps)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        link.save(out)
    if errors.mean_share > _POOR_FIT:
        warn(
            f"the fit is {100 * errors.mean_share:.0f} % off on average; check round trip and "
            "bandwidth, or measure again"
        )
    if json:
        show_json({"link": asdict(link), "errors": asdict(errors)})
        return
    show_facts(
        {
            "bandwidth": f"{format_value(link.bandwidth_bps / 1e6, 'number')} Mbit/s",
            "round trip": format_value(link.rtt_ms, "ms"),
            "a message": f"{format_value(link.message_ms, 'ms')} beyond its sending",
            "a megabyte": f"{format_value(1e6 * link.byte_ms, 'ms')} beyond its sending",
            "mean error": format_value(errors.mean_share, "percent"),
            "worst error": format_value(errors.worst_share, "percent"),
            "R²": format_value(errors.r_squared, "number"),
            "written to": str(out) if out is not None else "nothing; add --out to keep it",
        }
    )
