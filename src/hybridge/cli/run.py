"""``hybridge run``."""

import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hybridge.cli.inputs import Input, from_files, from_source
from hybridge.cli.output import check_file, show_facts, show_json, warn
from hybridge.errors import ConfigError, DataError, SignatureError

if TYPE_CHECKING:
    from hybridge.runtime.edge.answer import Answer
    from hybridge.runtime.edge.edge import EdgeRuntime


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
        typer.Option(help="Shape the link by a cellular-like trace that this seed makes."),
    ] = None,
    link_mbps: Annotated[float, typer.Option(min=0.01, help="Mean bandwidth of the trace.")] = 5.0,
    rtt_ms: Annotated[float, typer.Option(min=0, help="Round trip of the shaped link.")] = 42.0,
    json: Annotated[bool, typer.Option("--json", help="Print a line of JSON per answer.")] = False,
) -> None:
    """Answer images with a bundle, as the device would.

    Where the cloud is absent, the edge's answers still come, marked, and a warning is printed.
    With labelled data, accuracy, query rate, bytes and latency follow.

    \b
    Examples:
      hybridge run runs/demo/bundle cat.png dog.jpg --cloud 127.0.0.1:8001
      hybridge run runs/demo/bundle photos/*.jpg --deadline-ms 80 --log decisions.jsonl
      hybridge run runs/demo/bundle --data digits --limit 200 --json
      hybridge run runs/demo/bundle --data digits --cloud 127.0.0.1:8001 --link-seed 0 --rtt-ms 80
    """  # noqa: D301 (typer needs the backspace itself)
    from hybridge.links.trace import cellular
    from hybridge.plan.bundle import load_bundle
    from hybridge.plan.log import DecisionLog
    from hybridge.runtime.edge.edge import EdgeRuntime
    from hybridge.runtime.edge.grpc import GrpcTransport
    from hybridge.runtime.edge.shaped import Shaped
    from hybridge.runtime.wire.message import Transport

    if bool(images) == (data is not None):
        raise ConfigError("expected image files, or --data SOURCE; give one of them")
    if cloud is not None and not re.fullmatch(r"\S+:\d+", cloud):
        raise ConfigError(f"--cloud: expected HOST:PORT, got {cloud!r}")
    if log is not None:
        check_file("--log", log)
    loaded = load_bundle(bundle, place="edge")
    inputs = from_files(images, loaded.plan) if images else from_source(data or "", loaded.plan)
    with ExitStack() as stack:
        decisions = stack.enter_context(DecisionLog(log)) if log is not None else None
        transport: Transport | None = GrpcTransport(cloud) if cloud is not None else None
        if transport is not None and link_seed is not None:
            transport = Shaped(transport, cellular(link_seed, mean_mbps=link_mbps), rtt_ms)
        runtime = stack.enter_context(EdgeRuntime(loaded, transport, log=decisions))
        answered = _answer(runtime, islice(inputs, limit), deadline_ms)
        shown = list(_shown(answered, json))
    if data is not None:
        _show_figures(_figures(shown), json)


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


def _shown(answered: Iterable[tuple[Input, "Answer"]], json: bool) -> Iterator[dict[str, Any]]:
    """Print each answer as it comes, and yield what is counted of it."""
    for item, answer in answered:
        if json:
            show_json(_record(item, answer), indent=None)
        else:
            print(_line(item, answer), flush=True)
        yield {
            "right": answer.label == item.truth,
            "abstained": answer.abstained,
            "failed": answer.failure is not None,
            "sent": answer.failure is not None or answer.source == "cloud",
            "bytes": answer.bytes_sent,
            "latency_ms": answer.latency_ms,
        }


def _line(item: Input, answer: "Answer") -> str:
    label = "no label" if answer.label is None else str(answer.label)
    name = "" if answer.class_name in (None, label) else f" {answer.class_name}"
    score = "" if answer.score is None else f", score {answer.score:.4f}"
    reason = " ".join(answer.reason.split())
    return (
        f"{item.name}: {label}{name} from the {answer.source}{score}, "
        f"{answer.latency_ms:.2f} ms, {reason}"
    )


def _record(item: Input, answer: "Answer") -> dict[str, Any]:
    truth = {} if item.truth is None else {"truth": item.truth}
    return {
        "input": item.name,
        **truth,
        "label": answer.label,
        "class_name": answer.class_name,
        "probability": float(answer.probabilities.max()),
        "source": answer.source,
        "reason": answer.reason,
        "score": answer.score,
        "latency_ms": answer.latency_ms,
        "edge_ms": answer.edge_ms,
        "link_ms": answer.link_ms,
        "cloud_ms": answer.cloud_ms,
        "bytes_sent": answer.bytes_sent,
        "abstained": answer.abstained,
        "failure": answer.failure,
    }


def _figures(shown: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what came of all answers; accuracy is of those that were given."""
    import numpy as np

    latency_ms = [row["latency_ms"] for row in shown]
    given = [row["right"] for row in shown if not row["abstained"]]
    return {
        "inputs": len(shown),
        "accuracy": float(np.mean(given)) if given else None,
        "query_rate": float(np.mean([row["sent"] for row in shown])),
        "abstained": sum(row["abstained"] for row in shown),
        "failed": sum(row["failed"] for row in shown),
        "bytes_sent": sum(row["bytes"] for row in shown),
        "latency_p50_ms": float(np.percentile(latency_ms, 50)),
        "latency_p95_ms": float(np.percentile(latency_ms, 95)),
    }


def _show_figures(figures: dict[str, Any], json: bool) -> None:
    from hybridge.report.values import Kind, format_value

    if json:
        show_json({"summary": figures}, indent=None)
        return
    kinds: dict[str, Kind] = {
        "inputs": "number",
        "accuracy": "percent",
        "query_rate": "percent",
        "abstained": "number",
        "failed": "number",
        "bytes_sent": "bytes",
        "latency_p50_ms": "ms",
        "latency_p95_ms": "ms",
    }
    show_facts(
        {
            name.removesuffix("_ms").replace("_", " "): format_value(figures[name], kind)
            for name, kind in kinds.items()
        }
    )
