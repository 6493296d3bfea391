"""``hybridge tune``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hybridge.cli.output import plain, show, show_facts, show_json
from hybridge.cli.surroundings import CloudOption, DeviceOption, LinkOption, surroundings_of
from hybridge.errors import BundleError

if TYPE_CHECKING:
    from hybridge.plan.bundle import Bundle


def tune(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle's folder.")],
    coverage: Annotated[
        float | None, typer.Option(help="Share of inputs to keep on the edge, at least.")
    ] = None,
    macs_m: Annotated[
        float | None, typer.Option(help="Mean million multiply-accumulates, at most.")
    ] = None,
    payload_bytes: Annotated[
        float | None, typer.Option(help="Mean bytes sent per input, at most.")
    ] = None,
    latency_ms: Annotated[float | None, typer.Option(help="Mean latency, at most.")] = None,
    energy_mj: Annotated[
        float | None, typer.Option(help="Mean energy of the device, at most.")
    ] = None,
    accuracy: Annotated[
        float | None, typer.Option(help="Share answered right, at least, at the least cost.")
    ] = None,
    device: DeviceOption = None,
    cloud: CloudOption = None,
    link: LinkOption = None,
    write: Annotated[bool, typer.Option("--write", help="Set the bundle's threshold.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Choose a bundle's threshold for a target.

    Reads the rehearsal; no network is run. Give exactly one target. Where no
    threshold reaches it, the nearest value that one does is named, and the exit code is 2.

    \b
    Examples:
      hybridge tune runs/demo/bundle --coverage 0.8
      hybridge tune runs/demo/bundle --latency-ms 40 --link wifi --write
      hybridge tune runs/demo/bundle --accuracy 0.97 --json
    """
    from hybridge.cost import tune as tuning
    from hybridge.cost.target import Target
    from hybridge.plan.bundle import load_bundle
    from hybridge.report.tables import operating_table
    from hybridge.report.values import format_value

    target = Target(
        coverage=coverage,
        macs_m=macs_m,
        payload_bytes=payload_bytes,
        latency_ms=latency_ms,
        energy_mj=energy_mj,
        accuracy=accuracy,
    )
    loaded = load_bundle(bundle)
    if loaded.rehearsal is None:
        raise BundleError(f"{bundle} holds no rehearsal to tune from; export it with one")
    around = surroundings_of(loaded, device=device, cloud=cloud, link=link)
    point = tuning.tune(loaded.plan, loaded.rehearsal, target, around)
    if write:
        _write(loaded, point.threshold, plain(point))
    if json:
        asked = {target.what: target.value}
        show_json(
            {
                "bundle": str(bundle),
                "target": asked,
                "surroundings": plain(around),
                "operating_point": plain(point),
                "written": write,
            }
        )
        return
    name = f"{target.what.replace('_', ' ')} {target.value:g}"
    show(operating_table({name: point}, f"On the {len(loaded.rehearsal)} rehearsed inputs").rich())
    state = "written to the bundle" if write else "not written; add --write to set it"
    show_facts(
        {
            "threshold": f"{format_value(point.threshold, 'number')} ({state})",
            "priced for": f"{around.device}, {around.link}, {around.cloud}",
        }
    )


def _write(bundle: "Bundle", threshold: float, operating_point: Any) -> None:
    from hybridge.plan.bundle import save_bundle
    from hybridge.plan.variants import with_threshold

    assert bundle.path is not None
    save_bundle(
        with_threshold(bundle.plan, threshold),
        bundle.path,
        bundle.rehearsal,
        {**bundle.metadata, "operating_point": operating_point},
    )
