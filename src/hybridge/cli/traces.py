"""``hybridge traces``: statistics, plots and copies of recorded links."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from hybridge.cli.output import check_file, show, show_json

traces = typer.Typer(rich_markup_mode=None)

FilesArgument = Annotated[list[Path], typer.Argument(metavar="FILE...", help="Recorded links.")]
FormatOption = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="NAME",
        help="mahimahi, seconds, csv or bytes.",
        show_default="told from the content, but for bytes",
    ),
]


@traces.callback()
def about() -> None:
    """Look at recorded links, and make others like them.

    \b
    Examples:
      hybridge traces stats lte.up bus.log
      hybridge traces plot lte.up --out lte.svg
      hybridge traces synth lte.up --seed 1 --duration-s 3600 --out hour.log
    """


@traces.command()
def stats(
    files: FilesArgument,
    format: FormatOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print what links are like, weighted by time.

    An outage is where one packet of 1,500 bytes would take more than a second. With --json, one
    file gives an object, several a list of them.

    \b
    Examples:
      hybridge traces stats lte.up
      hybridge traces stats campus/*.txt --json
      hybridge traces stats counted.txt --format bytes
    """
    from hybridge.links.read import read_recording
    from hybridge.links.stats import statistics
    from hybridge.report.tables import Column, Table

    recordings = [read_recording(path, format) for path in files]
    rows: list[dict[str, Any]] = [
        {"file": str(path), "format": each.kind} | asdict(statistics(each.trace))
        for path, each in zip(files, recordings, strict=True)
    ]
    if json:
        show_json(rows if len(rows) > 1 else rows[0])
        return
    columns = {
        "file": Column("File"),
        "format": Column("Format"),
        "duration_s": Column("Seconds", "number"),
        "mean_mbps": Column("Mean", "number"),
        "p25_mbps": Column("25 %", "number"),
        "p50_mbps": Column("50 %", "number"),
        "p75_mbps": Column("75 %", "number"),
        "coefficient_of_variation": Column("Variation", "number"),
        "outage_share": Column("Outage", "percent"),
        "autocorrelation_1s": Column("After 1 s", "number"),
    }
    for row, name in zip(rows, _names(files), strict=True):
        row["file"] = name
    lines: list[list[Any]] = [[row[key] for key in columns] for row in rows]
    caption = (
        "Bandwidth in Mbit/s. Variation: deviation over mean. After 1 s: correlation with the "
        "next second's mean."
    )
    show(Table(list(columns.values()), lines, caption).rich())


@traces.command()
def plot(
    files: FilesArgument,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The SVG to write.")],
    format: FormatOption = None,
) -> None:
    """Draw bandwidth over time, with its quartiles.

    \b
    Examples:
      hybridge traces plot lte.up --out lte.svg
      hybridge traces plot lab.log train.log --out both.svg
    """
    from hybridge.files import write_atomically
    from hybridge.links.read import read_recording
    from hybridge.report.figures import bandwidth_over_time

    check_file("--out", out)
    recordings = [read_recording(path, format) for path in files]
    drawn = bandwidth_over_time(
        {name: each.trace for name, each in zip(_names(files), recordings, strict=True)}
    )
    write_atomically(out, drawn.encode())
    for path, recording in zip(files, recordings, strict=True):
        print(f"{path}: read as {recording.kind}")
    print(f"wrote {out}")


@traces.command()
def synth(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The recorded link to be like.")],
    duration_s: Annotated[
        float, typer.Option(help="Length, in seconds; rounded up to whole ones.")
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The trace to write.")],
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same trace.")] = 0,
    format: FormatOption = None,
) -> None:
    """Write a synthetic trace like a recorded one.

    As lines of 'seconds Mbit/s', which every command reads. Mean, quartiles and autocorrelation
    over ten seconds are the recorded link's, nearly; what happens when is not.

    \b
    Examples:
      hybridge traces synth lte.up --seed 1 --duration-s 3600 --out hour.log
      hybridge traces stats lte.up hour.log
    """
    from hybridge.files import write_atomically
    from hybridge.links.read import read_recording, seconds_text
    from hybridge.links.synth import fit_synthesiser

    check_file("--out", out)
    recording = read_recording(file, format)
    whole_s = math.ceil(duration_s) if math.isfinite(duration_s) else duration_s
    sample = fit_synthesiser(recording.trace).sample(seed, whole_s)
    write_atomically(out, seconds_text(sample).encode())
    print(f"{file}: read as {recording.kind}")
    print(f"wrote {len(sample.times_s)} s of a link like it to {out}")


def _names(files: Sequence[Path]) -> list[str]:
    """Return the names of files, or their paths where two have one name."""
    names = [path.name for path in files]
    return names if len(set(names)) == len(names) else list(map(str, files))
