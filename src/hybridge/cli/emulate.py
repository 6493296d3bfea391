"""``hybridge emulate``."""

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hybridge.cli.emulated import described, drawn, show_emulated
from hybridge.cli.inputs import open_source
from hybridge.cli.output import check_file, join, plain, show_json
from hybridge.cli.policies import CodecsOption, PolicyOption
from hybridge.cli.surroundings import CloudOption, DeviceOption, LinkOption, surroundings_of
from hybridge.errors import BundleError, ConfigError

if TYPE_CHECKING:
    from hybridge.data.dataset import Dataset
    from hybridge.emulate.arrivals import Arrivals
    from hybridge.emulate.baselines import Comparison
    from hybridge.emulate.world import World
    from hybridge.links.trace import Trace
    from hybridge.plan.bundle import Bundle
    from hybridge.plan.plan import Plan
    from hybridge.plan.rehearsal import Rehearsal

#: Requests a second where nothing else is said.
_RATE = 10.0


def emulate(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle's folder.")],
    trace: Annotated[
        list[Path],
        typer.Option(metavar="FILE...", help="Recorded links; may be given several times."),
    ],
    more: Annotated[
        # What a shell makes of --trace *.log: all names but the first come as arguments.
        list[Path] | None, typer.Argument(metavar="FILE", help="More files of --trace.")
    ] = None,
    device: DeviceOption = None,
    cloud: CloudOption = None,
    link: LinkOption = None,
    rate: Annotated[
        float | None, typer.Option(help="Requests a second.", show_default="10")
    ] = None,
    poisson: Annotated[
        float | None, typer.Option(help="Requests a second on average, at random times.")
    ] = None,
    back_to_back: Annotated[
        bool, typer.Option("--back-to-back", help="Each request when the last is answered.")
    ] = False,
    requests: Annotated[
        int | None,
        typer.Option(
            help="Requests over each trace.",
            show_default="once through the trace; back to back, once each input",
        ),
    ] = None,
    duration_s: Annotated[
        float | None, typer.Option(help="Seconds of requests over each trace, instead.")
    ] = None,
    deadline_ms: Annotated[
        float | None, typer.Option(help="Time within which to answer each request.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of random times.")] = 0,
    policy: PolicyOption = "fixed",
    codec: CodecsOption = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="Rehearse the bundle on these images first: parquet:PATH, folder:PATH, "
            "arrays:PATH or digits.",
        ),
    ] = None,
    log: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Append every decision of the plan to this file."),
    ] = None,
    figure: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the latencies into this SVG.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Replay a bundle over recorded links, in virtual time.

    Beside the bundle's plan stand the device alone, the cloud alone with each codec,
    the one branch that is best on average, and foresight, which knows the trace. No network
    is run: scores, answers and sizes come from the rehearsal, times from the profiles,
    bandwidth from the traces, round trips from the link. A trace that ends begins again.
    Several traces are replayed one by one, and their requests counted together.

    \b
    Examples:
      hybridge emulate runs/demo/bundle --trace lte.up
      hybridge emulate runs/demo/bundle --trace lte.up bus.log --poisson 20 --link wifi
      hybridge emulate runs/demo/bundle --trace lte.up --rate 10 --duration-s 3600 --json
      hybridge emulate runs/demo/bundle --trace lte.up --back-to-back --data digits
      hybridge emulate runs/demo/bundle --trace lte.up --policy cost:20ms --codec jpeg-90
    """
    from hybridge.cost.price import price_plan
    from hybridge.emulate.world import World
    from hybridge.files import write_atomically
    from hybridge.links.read import read_trace
    from hybridge.walk.threshold import parse_policy

    followed = parse_policy(policy)
    _check_files(log, figure)
    pace = _pace(rate, poisson, back_to_back, requests, duration_s, seed)
    files = [*trace, *(more or ())]
    traces = [read_trace(path) for path in files]
    loaded, images = _open(bundle, data)
    around = surroundings_of(loaded, device=device, cloud=cloud, link=link)
    found = around.look_up()
    prices = price_plan(loaded.plan, found.device, found.cloud)
    codecs = tuple(codec or ())
    worlds = [
        World(prices, each, found.link, deadline_ms, policy=followed, codecs=codecs)
        for each in traces
    ]
    inputs = len(loaded.rehearsal or ()) if images is None else len(images)
    arrivals = [pace.over(each, inputs) for each in traces]
    done = _compare(loaded.plan, _rehearsal(loaded, images), worlds, arrivals, log)
    if figure is not None:
        write_atomically(figure, drawn(done).encode())
    if not json:
        show_emulated(done, around, found.link.rtt_ms)
        return
    show_json(
        {
            "bundle": str(bundle),
            "surroundings": plain(around),
            "arrivals": asdict(pace),
            "policy": policy,
            "codecs": codecs,
            "deadline_ms": None if deadline_ms == math.inf else deadline_ms,
            "inputs": inputs,
            **described(files, done),
        }
    )


def _check_files(log: Path | None, figure: Path | None) -> None:
    for option, path in (("--log", log), ("--figure", figure)):
        if path is not None:
            check_file(option, path)
    if figure is not None:
        import matplotlib  # noqa: F401  what is missing is told before anything is replayed


@dataclass(frozen=True)
class _Pace:
    """When requests come, whatever the trace."""

    kind: Literal["fixed rate", "poisson", "back to back"]
    per_s: float | None
    requests: int | None
    duration_s: float | None
    seed: int

    def over(self, trace: "Trace", inputs: int) -> "Arrivals":
        """Return the requests of one trace."""
        from hybridge.emulate import arrivals

        if self.per_s is None:
            return arrivals.back_to_back(inputs if self.requests is None else self.requests)
        count = self.requests
        if count is None:
            duration_s = trace.duration_s if self.duration_s is None else self.duration_s
            count = arrivals.count_within(duration_s, self.per_s)
        if self.kind == "poisson":
            return arrivals.at_random(self.per_s, count, self.seed)
        return arrivals.at_fixed_rate(self.per_s, count)


def _pace(
    rate: float | None,
    poisson: float | None,
    back_to_back: bool,
    requests: int | None,
    duration_s: float | None,
    seed: int,
) -> _Pace:
    chosen = {"--rate": rate, "--poisson": poisson, "--back-to-back": back_to_back or None}
    given = [option for option, value in chosen.items() if value is not None]
    if len(given) > 1:
        raise ConfigError(f"expected one way for requests to come, got {join(given)}; give one")
    if duration_s is not None and (requests is not None or back_to_back):
        other = "--requests" if requests is not None else "--back-to-back"
        raise ConfigError(f"--duration-s and {other} exclude one another; leave one out")
    if back_to_back:
        return _Pace("back to back", None, requests, None, seed)
    if poisson is not None:
        return _Pace("poisson", poisson, requests, duration_s, seed)
    return _Pace("fixed rate", _RATE if rate is None else rate, requests, duration_s, seed)


def _open(bundle: Path, data: str | None) -> "tuple[Bundle, Dataset | None]":
    """Return the bundle, and the images to rehearse it on, if there are any."""
    from hybridge.plan.bundle import inspect_bundle, load_bundle

    if data is not None:
        loaded = load_bundle(bundle)
        return loaded, open_source(data, loaded.plan)
    loaded = inspect_bundle(bundle)
    if loaded.rehearsal is None:
        raise BundleError(
            f"{bundle} holds no rehearsal to emulate; give --data SOURCE to rehearse it on"
        )
    return loaded, None


def _rehearsal(bundle: "Bundle", images: "Dataset | None") -> "Rehearsal":
    from hybridge.emulate.baselines import codecs_of
    from hybridge.runtime.rehearse import rehearse

    if images is not None:
        return rehearse(bundle.plan, images, codecs_of(bundle.plan))
    assert bundle.rehearsal is not None
    return bundle.rehearsal


def _compare(
    plan: "Plan",
    rehearsal: "Rehearsal",
    worlds: "Sequence[World]",
    arrivals: "Sequence[Arrivals]",
    log: Path | None,
) -> "list[Comparison]":
    """Return what every method does over each trace."""
    from hybridge.cost.reward import Reward
    from hybridge.emulate.baselines import compare
    from hybridge.plan.log import DecisionLog
    from hybridge.progress import track

    pairs = list(zip(worlds, arrivals, strict=True))
    with nullcontext() if log is None else DecisionLog(log) as decisions:
        return [
            compare(plan, rehearsal, world, requests, Reward(), decisions)
            for world, requests in track(pairs, "emulating")
        ]
