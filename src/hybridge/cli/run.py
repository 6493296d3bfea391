"""``hybridge run``."""

import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hybridge.cli.answers import counted, figures_of, line, record, show_figures
from hybridge.cli.inputs import Input, from_files, from_source
from hybridge.cli.output import check_file, show_json, warn
from hybridge.errors import ConfigError, DataError, SignatureError

if TYPE_CHECKING:
    from hybridge.runtime.edge.answer import Answer
    from hybridge.runtime.edge.edge import EdgeRuntime
    from hybridge.runtime.wire.message import Transport


def run(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle's folder.")],
    images: Annotated[
        list[Path] | None, typer.Argument(metavar="IMAGE...", help="Image files to answer.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="Labelled images: parquet:PATH, folder:PATH, arrays:PATH or digits.",
        ),
    ] = None,
    cloud: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="The server to ask; none: edge alone.")
    ] = None,
    deadline_ms: Annotated[
        float | None, typer.Option(help="Time within which to answer each input.")
    ] = None,
    log: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Append every decision to this file.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Answer no more inputs than this.")
    ] = None,
    link_seed: Annotated[
        int | None,
        typer.Option(min=0, help="Shape the link by a cellular-like trace that this seed makes."),
    ] = None,
    link_mbps: Annotated[float, typer.Option(min=0.01, help="Mean bandwidth of the trace.")] = 5.0,
    rtt_ms: Annotated[float, typer.Option(min=0, help="Round trip of the shaped link.")] = 42.0,
    abstain: Annotated[
        bool, typer.Option("--abstain", help="Withhold the label where the cloud would be asked.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print a line of JSON per answer.")] = False,
) -> None:
    """Answer images with a bundle, as the device would.

    Where the cloud is absent, the edge's answers still come, marked, and a warning is printed.
    With labelled data, accuracy, query rate, bytes and latency follow. With --abstain no cloud is
    asked, and accuracy is over the answers that are given.

    \b
    Examples:
      hybridge run runs/demo/bundle cat.png dog.jpg --cloud 127.0.0.1:8001
      hybridge run runs/demo/bundle photos/*.jpg --deadline-ms 80 --log decisions.jsonl
      hybridge run runs/demo/bundle --data digits --limit 200 --json
      hybridge run runs/demo/bundle --data digits --abstain
      hybridge run runs/demo/bundle --data digits --cloud 127.0.0.1:8001 --link-seed 0 --rtt-ms 80
    """
    from hybridge.plan.bundle import load_bundle
    from hybridge.plan.log import DecisionLog
    from hybridge.plan.variants import abstaining
    from hybridge.runtime.edge.edge import EdgeRuntime

    if bool(images) == (data is not None):
        raise ConfigError("expected image files, or --data SOURCE; give one of them")
    if log is not None:
        check_file("--log", log)
    if abstain and cloud is not None:
        raise ConfigError("--abstain asks no cloud, but --cloud names one; give one of them")
    loaded = load_bundle(bundle, place="edge")
    if abstain:
        loaded = replace(loaded, plan=abstaining(loaded.plan))
    transport = _transport(cloud, link_seed, link_mbps, rtt_ms)
    inputs = from_files(images, loaded.plan) if images else from_source(data or "", loaded.plan)
    with ExitStack() as stack:
        decisions = stack.enter_context(DecisionLog(log)) if log is not None else None
        runtime = stack.enter_context(EdgeRuntime(loaded, transport, log=decisions))
        counts = []
        for item, answer in _answer(runtime, islice(inputs, limit), deadline_ms):
            if json:
                show_json(record(item, answer), indent=None)
            else:
                print(line(item, answer), flush=True)
            counts.append(counted(item, answer))
    if data is not None:
        show_figures(figures_of(counts), json)


def _transport(
    cloud: str | None, link_seed: int | None, link_mbps: float, rtt_ms: float
) -> "Transport | None":
    """Return what carries messages to the cloud, shaped where a seed is given."""
    from hybridge.links.synth import cellular
    from hybridge.runtime.edge.grpc import GrpcTransport
    from hybridge.runtime.edge.shaped import Shaped

    if cloud is None:
        if link_seed is not None:
            raise ConfigError("--link-seed shapes the link to a cloud; give --cloud HOST:PORT")
        return None
    if not re.fullmatch(r"\S+:\d+", cloud):
        raise ConfigError(f"--cloud: expected HOST:PORT, got {cloud!r}")
    transport = GrpcTransport(cloud)
    if link_seed is None:
        return transport
    return Shaped(transport, cellular(link_seed, mean_mbps=link_mbps), rtt_ms)


def _answer(
    runtime: "EdgeRuntime", inputs: Iterable[Input], deadline_ms: float | None
) -> Iterator[tuple[Input, "Answer"]]:
    warned = False
    for item in inputs:
        try:
            answer = runtime.predict(item.image, deadline_ms)
        except (DataError, SignatureError) as error:
            raise DataError(f"{item.name}: {error}") from error
        if answer.failure is not None and not warned:
            warn(f"the cloud did not answer ({answer.failure}); such answers are the edge's")
            warned = True
        yield item, answer
