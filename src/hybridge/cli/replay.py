"""``hybridge replay``."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hybridge.cli.output import show, show_json
from hybridge.cli.policies import PoliciesOption
from hybridge.errors import BundleError

if TYPE_CHECKING:
    from hybridge.emulate.replay import ReplaySummary

#: What the first row is called.
RECORDED = "as recorded"


def replay(
    log: Annotated[
        Path,
        typer.Argument(metavar="LOG", help="The decision log, as `hybridge run --log` writes."),
    ],
    bundle: Annotated[
        Path, typer.Option(metavar="BUNDLE", help="The folder of the bundle that wrote it.")
    ],
    policy: PoliciesOption = None,
    device: Annotated[
        str | None,
        typer.Option(help="Whose energy a policy in mJ weighs: a preset, or a .json file."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Run policies of the threshold over a recorded log.

    Every request keeps its score, its time and what was known of the link; the policy says anew
    whether it is sent. Where the choice is the recorded one, so are label, latency and bytes.
    Where it is not, the edge's label is known if the log has it, and what the cloud would have
    said is expected by the bundle's rehearsal, from how often it is right at such scores.
    Known is the share of requests of which it is known whether their answer is right, measured
    the share whose latency was measured. Files that were rotated away are read, too.

    \b
    Examples:
      hybridge replay decisions.jsonl --bundle runs/demo/bundle --policy coverage:0.8
      hybridge replay decisions.jsonl --bundle runs/demo/bundle --policy fixed --policy cost:20ms
      hybridge replay decisions.jsonl --bundle runs/demo/bundle --policy budget:1000 --json
    """
    from hybridge.cost.device import device_named
    from hybridge.emulate.replay import Recording
    from hybridge.plan.bundle import inspect_bundle
    from hybridge.plan.log import read_log
    from hybridge.progress import track
    from hybridge.walk.threshold import parse_policy

    policies = {text: parse_policy(text) for text in policy or ["fixed"]}
    loaded = inspect_bundle(bundle)
    if loaded.rehearsal is None:
        raise BundleError(
            f"{bundle} holds no rehearsal, so nothing is known of answers that were not given; "
            "export it again with one"
        )
    records = track(read_log(log), "reading the log")
    weighs = None if device is None else device_named(device)
    recording = Recording(records, loaded.plan, loaded.rehearsal, weighs)
    rows = {RECORDED: recording.as_recorded().summary()}
    for text, each in policies.items():
        rows[text] = recording.under(each).summary()
    if json:
        found = [{"policy": name, **asdict(row)} for name, row in rows.items()]
        show_json({"log": str(log), "bundle": str(bundle), "rows": found})
        return
    _show(rows)


def _show(rows: "dict[str, ReplaySummary]") -> None:
    from hybridge.report.tables import Column, Table

    columns = (
        Column("Policy"),
        Column("Sent", "percent"),
        Column("Accuracy", "percent"),
        Column("Known", "percent"),
        Column("Mean", "ms"),
        Column("p95", "ms"),
        Column("Measured", "percent"),
        Column("Bytes", "bytes"),
    )
    cells = [
        (
            name,
            row.sent,
            row.accuracy,
            row.share_known,
            row.latency_ms,
            row.p95_ms,
            row.share_measured,
            row.payload_bytes,
        )
        for name, row in rows.items()
    ]
    requests = rows[RECORDED].requests
    caption = (
        f"{requests:,} requests. Known: of so many it is known whether their answer is right; "
        "measured: so many latencies were"
    )
    show(Table(columns, cells, caption, frozenset({0})).rich())
