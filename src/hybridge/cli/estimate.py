"""``hybridge estimate``."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hybridge.cli.output import join, plain, show, show_facts, show_json
from hybridge.cli.surroundings import CloudOption, DeviceOption, LinkOption, surroundings_of
from hybridge.errors import ConfigError

if TYPE_CHECKING:
    from hybridge.cost.estimate import Estimate
    from hybridge.cost.surroundings import Around, Surroundings
    from hybridge.plan.bundle import Bundle

_THOUSANDS = {"k": 1e3, "M": 1e6, "G": 1e9}


def estimate(
    bundle: Annotated[
        Path | None,
        typer.Argument(metavar="BUNDLE", help="The bundle's folder.", show_default=False),
    ] = None,
    device: DeviceOption = None,
    cloud: CloudOption = None,
    link: LinkOption = None,
    power: Annotated[
        str | None,
        typer.Option(help="What the device draws, by name.", show_default="the device's"),
    ] = None,
    coverage: Annotated[
        float | None,
        typer.Option(help="Share of inputs kept on the edge.", show_default="the bundle's"),
    ] = None,
    payload_bytes: Annotated[
        float | None,
        typer.Option(
            "--payload-bytes",
            "--payload",
            help="Encoded bytes of what is sent.",
            show_default="the bundle's",
        ),
    ] = None,
    edge_ms: Annotated[
        float | None, typer.Option(help="Time of base and router.", show_default="by the device")
    ] = None,
    cloud_ms: Annotated[
        float | None, typer.Option(help="Time of the global.", show_default="by the server")
    ] = None,
    edge_macs: Annotated[
        str | None, typer.Option(help="Multiply-accumulates of base and router, such as 12.8M.")
    ] = None,
    cloud_macs: Annotated[
        str | None, typer.Option(help="Multiply-accumulates of the global, such as 595M.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Price an input before it is run: MACs, bytes, latency, energy.

    Of a bundle, or of a pair of which only totals are known. No network is run. A
    bundle's own thresholds say which inputs of its rehearsal are sent, unless a
    coverage is given. Times that are not given follow from the MACs and the profiles.

    \b
    Examples:
      hybridge estimate runs/demo/bundle
      hybridge estimate runs/demo/bundle --device galaxy-note8 --link wifi --coverage 0.8
      hybridge estimate --edge-macs 215M --cloud-macs 595M --payload-bytes 152000 \\
        --coverage 0.7 --device galaxy-note8 --link lte --json
    """
    from hybridge.plan.bundle import inspect_bundle

    parts = {
        "--edge-ms": edge_ms,
        "--cloud-ms": cloud_ms,
        "--edge-macs": _macs("--edge-macs", edge_macs),
        "--cloud-macs": _macs("--cloud-macs", cloud_macs),
    }
    _check_form(bundle, [option for option, value in parts.items() if value is not None])
    loaded = None if bundle is None else inspect_bundle(bundle)
    around = surroundings_of(loaded, device=device, cloud=cloud, link=link)
    found = around.look_up(power)
    if loaded is None:
        estimated = _of_parts(found, coverage, payload_bytes, parts)
    else:
        estimated = _of_bundle(loaded, found, coverage, payload_bytes)
    if json:
        where = {} if bundle is None else {"bundle": str(bundle)}
        named = {"surroundings": plain(around), "power": power}
        show_json({**where, **named, **_described(estimated)})
    else:
        _print(estimated, around, power)


def _check_form(bundle: Path | None, parts: Sequence[str]) -> None:
    if bundle is None and not parts:
        raise ConfigError(
            "expected a bundle or the parts of a pair, got neither; give a bundle's folder, or "
            "--edge-macs or --edge-ms, and --cloud-macs or --cloud-ms"
        )
    if bundle is not None and parts:
        raise ConfigError(
            f"expected a bundle or the parts of a pair, got both; leave out {join(parts)}"
        )


def _macs(option: str, text: str | None) -> float | None:
    """Return a count written in full, as ``12.8e6``, or with k, M or G."""
    if text is None:
        return None
    digits = text.strip()
    times = _THOUSANDS.get(digits[-1:], 1.0)
    try:
        return float(digits if times == 1.0 else digits[:-1]) * times
    except ValueError:
        raise ConfigError(
            f"expected {option} as a count such as 12800000, 12.8e6 or 12.8M, got {text!r}"
        ) from None


def _of_bundle(
    bundle: "Bundle", around: "Around", coverage: float | None, payload_bytes: float | None
) -> "Estimate":
    from hybridge.cost.estimate import estimate_around

    return estimate_around(bundle.plan, bundle.rehearsal, around, coverage, payload_bytes)


def _of_parts(
    around: "Around",
    coverage: float | None,
    payload_bytes: float | None,
    parts: Mapping[str, float | None],
) -> "Estimate":
    from hybridge.cost.query import price_parts
    from hybridge.cost.reach import check_share

    if coverage is None:
        raise ConfigError("expected --coverage, the share of inputs kept on the edge, got none")
    check_share("coverage", coverage)
    shares = {"edge": coverage, "cloud": 1 - coverage}
    for place, share in shares.items():
        if share and all(parts[f"--{place}-{what}"] is None for what in ("ms", "macs")):
            raise ConfigError(
                f"a coverage of {coverage:g} leaves {share:.0%} of inputs to the {place}; "
                f"give --{place}-macs or --{place}-ms"
            )
    if payload_bytes is None and coverage < 1:
        raise ConfigError(f"a coverage of {coverage:g} sends inputs; give --payload-bytes")
    price = price_parts(
        *(around.device, around.cloud, around.link),
        edge_macs=parts["--edge-macs"] or 0,
        cloud_macs=parts["--cloud-macs"] or 0,
        payload_bytes=payload_bytes or 0,
        edge_ms=parts["--edge-ms"],
        cloud_ms=parts["--cloud-ms"],
    )
    found = price.at(coverage)
    # A time says nothing of MACs, not even one of 0, which may stand for what is not counted.
    unknown = {
        f"{place}_macs": math.nan
        for place, share in shares.items()
        if parts[f"--{place}-macs"] is None and (share or getattr(found, f"{place}_ms"))
    }
    return replace(found, **unknown)


def _described(found: "Estimate") -> dict[str, Any]:
    names = ("latency_ms", "edge_ms", "link_ms", "cloud_ms")
    energies = ("energy_mj", "edge_mj", "link_mj", "cloud_mj")
    macs = ("macs", "edge_macs", "cloud_macs")
    return {
        "coverage": found.coverage,
        **{f"{name}_m": _known(getattr(found, name) / 1e6) for name in macs},
        "bytes": found.payload_bytes,
        **{name: getattr(found, name) for name in (*names, *energies)},
    }


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _print(found: "Estimate", around: "Surroundings", power: str | None) -> None:
    from hybridge.report.tables import Column, Table
    from hybridge.report.values import format_value

    columns = (
        Column("Part"),
        Column("MACs", "count"),
        Column("Bytes", "bytes"),
        Column("Time", "ms"),
        Column("Energy", "mj"),
    )
    rows = [
        ("edge", _known(found.edge_macs), None, found.edge_ms, found.edge_mj),
        ("link", None, found.payload_bytes, found.link_ms, found.link_mj),
        ("cloud", _known(found.cloud_macs), None, found.cloud_ms, found.cloud_mj),
        ("total", _known(found.macs), found.payload_bytes, found.latency_ms, found.energy_mj),
    ]
    show(Table(columns, rows, "One input, on average", strong=frozenset({3})).rich())
    facts = {
        "coverage": format_value(found.coverage, "percent"),
        "priced for": f"{around.device}, {around.link}, {around.cloud}",
    }
    if power is not None:
        facts["power"] = power
    if found.energy_mj is None:
        facts["energy"] = f"not counted: the power of {around.device} is not known; give --power"
    show_facts(facts)
