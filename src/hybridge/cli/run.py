"""``hybridge run``."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hybridge.cli.answers import counted, figures_of, line, record, show_figures
from hybridge.cli.inputs import Input, from_files, from_source
from hybridge.cli.output import check_file, check_folder, show_json, warn
from hybridge.cli.policies import CodecsOption, PolicyOption
from hybridge.cli.trust import (
    CloudAuthority,
    Encrypts,
    Entry,
    Insecure,
    OwnCertificate,
    OwnKey,
    OwnToken,
    TrustedKeys,
    entry_of,
    transport_to,
)
from hybridge.errors import ConfigError, DataError, SignatureError

if TYPE_CHECKING:
    from hybridge.links.trace import Trace
    from hybridge.plan.log import DecisionLog
    from hybridge.runtime.edge.answer import Answer
    from hybridge.runtime.edge.edge import EdgeRuntime
    from hybridge.runtime.edge.pictures import PictureRing
    from hybridge.runtime.wire.message import Transport

#: Mean bandwidth of a trace made from a seed.
_MEAN_MBPS = 5.0


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
    log_mb: Annotated[
        float | None,
        typer.Option(help="Begin a new file at this size; the old is FILE.1, and so on."),
    ] = None,
    log_keep: Annotated[int, typer.Option(help="How many old ones are kept.")] = 5,
    keep_images: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Keep the last inputs here, small, for a dashboard."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Answer no more inputs than this.")
    ] = None,
    link_seed: Annotated[
        int | None,
        typer.Option(min=0, help="Shape the link by a cellular-like trace that this seed makes."),
    ] = None,
    link_mbps: Annotated[
        float | None,
        typer.Option(min=0.01, help="Mean bandwidth of that trace.", show_default="5"),
    ] = None,
    trace: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Shape the link by this recorded one instead."),
    ] = None,
    rtt_ms: Annotated[float, typer.Option(min=0, help="Round trip of the shaped link.")] = 42.0,
    as_device: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Stand in for this device, a preset or a .json file: programs take as long as "
            "it would, and no less than they do here.",
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Whose energy a policy in mJ weighs: a preset or a .json file; --as-device's "
            "where left out.",
        ),
    ] = None,
    policy: PolicyOption = "fixed",
    codec: CodecsOption = None,
    abstain: Annotated[
        bool, typer.Option("--abstain", help="Withhold the label where the cloud would be asked.")
    ] = False,
    tls: Encrypts = False,
    tls_ca: CloudAuthority = None,
    tls_cert: OwnCertificate = None,
    tls_key: OwnKey = None,
    token_file: OwnToken = None,
    insecure: Insecure = False,
    trusted_key: TrustedKeys = None,
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
      hybridge run runs/demo/bundle --data digits --cloud 127.0.0.1:8001 --policy coverage:0.7
      hybridge run runs/demo/bundle photos/*.jpg --log decisions.jsonl --log-mb 10
      hybridge run runs/demo/bundle --data digits --cloud 127.0.0.1:8001 --link-seed 0 --rtt-ms 80
      hybridge run runs/demo/bundle --data digits --cloud 127.0.0.1:8001 --trace lte.up
      hybridge run runs/demo/bundle --data digits --as-device xiaomi-mi6x
      hybridge run runs/demo/bundle cat.png --cloud cloud:8001 --tls-ca ca.pem --token-file token
      hybridge run runs/demo/bundle cat.png --trusted-key team.key.pub
    """
    from hybridge.cost.device import device_named
    from hybridge.plan.bundle import load_bundle
    from hybridge.plan.variants import abstaining
    from hybridge.runtime.edge.edge import EdgeRuntime
    from hybridge.walk.threshold import Fixed, parse_policy

    if bool(images) == (data is not None):
        raise ConfigError("expected image files, or --data SOURCE; give one of them")
    followed, codecs = parse_policy(policy), tuple(codec or ())
    decisions = _log(log, log_mb, log_keep)
    pictures = _pictures(keep_images, log)
    if abstain and cloud is not None:
        raise ConfigError("--abstain asks no cloud, but --cloud names one; give one of them")
    pace = None if as_device is None else device_named(as_device)
    loaded = load_bundle(
        bundle,
        place="edge",
        rehearsal=bool(codecs) or followed != Fixed(),
        trusted_keys=trusted_key or None,
    )
    if abstain:
        loaded = replace(loaded, plan=abstaining(loaded.plan))
    shape = _shape(link_seed, link_mbps, trace)
    if shape is not None and cloud is None:
        asked = "--trace" if link_seed is None else "--link-seed"
        raise ConfigError(f"{asked} shapes the link to a cloud; give --cloud HOST:PORT")
    entry = entry_of(tls, tls_ca, tls_cert, tls_key, token_file, insecure)
    if entry != Entry() and cloud is None:
        raise ConfigError("options of TLS and tokens are for a cloud; give --cloud HOST:PORT")
    transport = None if cloud is None else _transport(cloud, entry, shape, rtt_ms)
    inputs = from_files(images, loaded.plan) if images else from_source(data or "", loaded.plan)
    with ExitStack() as stack:
        if decisions is not None:
            stack.enter_context(decisions)
        runtime = stack.enter_context(
            EdgeRuntime(
                loaded,
                transport,
                log=decisions,
                pictures=pictures,
                pace=pace,
                device=None if device is None else device_named(device),
                policy=followed,
                codecs=codecs,
            )
        )
        counts = []
        for item, answer in _answer(runtime, islice(inputs, limit), deadline_ms):
            if json:
                show_json(record(item, answer), indent=None)
            else:
                print(line(item, answer), flush=True)
            counts.append(counted(item, answer))
    if data is not None:
        show_figures(figures_of(counts), json)


def _log(log: Path | None, max_mb: float | None, keep: int) -> "DecisionLog | None":
    from hybridge.plan.log import DecisionLog

    if log is None:
        if max_mb is not None:
            raise ConfigError("--log-mb limits the file of --log; give --log FILE")
        return None
    check_file("--log", log)
    return DecisionLog(log, max_mb, keep)


def _pictures(folder: Path | None, log: Path | None) -> "PictureRing | None":
    from hybridge.runtime.edge.pictures import PictureRing

    if folder is None:
        return None
    if log is None:
        raise ConfigError("--keep-images: the log says which image is which; give --log FILE")
    check_folder("--keep-images", folder)
    return PictureRing(folder)


def _shape(link_seed: int | None, link_mbps: float | None, trace: Path | None) -> "Trace | None":
    """Return the trace that the link is to follow, or None where it is left as it is."""
    from hybridge.links.read import read_trace
    from hybridge.links.synth import cellular

    if trace is not None and link_seed is not None:
        raise ConfigError("--trace and --link-seed both shape the link; give one of them")
    if link_mbps is not None and link_seed is None:
        raise ConfigError("--link-mbps is the mean of the trace that --link-seed makes; give both")
    if trace is not None:
        return read_trace(trace)
    if link_seed is not None:
        return cellular(link_seed, mean_mbps=_MEAN_MBPS if link_mbps is None else link_mbps)
    return None


def _transport(cloud: str, entry: Entry, shape: "Trace | None", rtt_ms: float) -> "Transport":
    """Return what carries messages to the cloud, let in by ``entry``, over a link of that shape."""
    from hybridge.runtime.edge.shaped import Shaped

    transport = transport_to(cloud, entry)
    return transport if shape is None else Shaped(transport, shape, rtt_ms)


def _answer(
    runtime: "EdgeRuntime", inputs: Iterable[Input], deadline_ms: float | None
) -> Iterator[tuple[Input, "Answer"]]:
    warned = False
    for item in inputs:
        try:
            answer = runtime.predict(item.image, deadline_ms, truth=item.truth)
        except (DataError, SignatureError) as error:
            raise DataError(f"{item.name}: {error}") from error
        if answer.failure is not None and not warned:
            warn(f"the cloud did not answer ({answer.failure}); such answers are the edge's")
            warned = True
        yield item, answer
