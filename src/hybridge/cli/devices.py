"""``hybridge devices``."""

from typing import TYPE_CHECKING, Annotated

import typer

from hybridge.cli.output import show, show_facts, show_json

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hybridge.cost.device import Device
    from hybridge.report.tables import Table


def devices(
    name: Annotated[
        str | None, typer.Argument(help="A preset, or a .json file.", show_default="every preset")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List device profiles, or every number of one.

    Wherever a command takes a device, it takes a preset by name or a .json file. With a NAME,
    --json prints what such a file holds.

    \b
    Examples:
      hybridge devices
      hybridge devices xiaomi-mi6x
      hybridge devices xiaomi-mi6x --json > mine.json
      hybridge devices mine.json
    """
    from hybridge.cost.device import device_named
    from hybridge.cost.device import devices as presets

    if name is None:
        found = [presets.get(each) for each in presets]
        if json:
            show_json([device.plain() for device in found])
        else:
            show(_overview(found).rich())
        return
    device = device_named(name)
    if json:
        show_json(device.plain())
        return
    show(_numbers(device).rich())
    if facts := _left_out(device):
        show_facts(facts)


def _overview(found: "Iterable[Device]") -> "Table":
    from hybridge.report.tables import Column, Table

    columns = (
        Column("Device"),
        Column("ns/MAC", "number"),
        Column("Overhead", "ms"),
        Column("SRAM", "bytes"),
        Column("Flash", "bytes"),
        Column("Active mW", "number"),
        Column("Assumed"),
        Column("About"),
    )
    rows = [
        (
            device.name,
            _shown(_rate(device)),
            device.overhead_ms.value,
            device.memory.sram_bytes.value if device.memory else None,
            device.memory.flash_bytes.value if device.memory else None,
            device.power.active_mw.value if device.power else None,
            _assumed(device),
            device.about,
        )
        for device in found
    ]
    return Table(columns, rows, "Presets; give a name for its numbers and their sources")


def _rate(device: "Device") -> float | None:
    """Return the time per MAC where it is one for all layers."""
    rates = [speed.ns_per_mac for speed in device.speeds if speed.kind == "any"]
    return rates[0].value if len(device.speeds) == 1 and rates and rates[0] else None


def _shown(value: float | None) -> str | None:
    """Return a number to four digits or the whole part; rates are small, and differ late."""
    import numpy as np

    if value is None:
        return None
    if value >= 1000:
        return f"{value:,.0f}"
    return np.format_float_positional(value, precision=4, fractional=False, trim="-")


def _assumed(device: "Device") -> str:
    """Return what of a device is assumed, all or in part, in a few words."""
    parts = {
        "time": [number for speed in device.speeds for _, number in speed.numbers()],
        "overhead": [device.overhead_ms],
        "memory": [number for _, number in device.memory or ()],
        "power": [number for _, number in device.power or ()],
    }
    return ", ".join(
        part for part, numbers in parts.items() if any(number.assumed for number in numbers)
    )


def _numbers(device: "Device") -> "Table":
    from hybridge.report.tables import Column, Table

    columns = (
        Column("Number"),
        Column("Value", "number"),
        Column("Assumed"),
        Column("Source"),
    )
    rows = [
        (name, _shown(each.value), each.assumed, each.source) for name, each in device.numbers()
    ]
    caption = f"{device.name}: {device.about}" if device.about else device.name
    return Table(columns, rows, caption)


def _left_out(device: "Device") -> dict[str, str]:
    facts = {}
    if device.memory is None:
        facts["memory"] = "no limit"
    if device.power is None:
        facts["power"] = "not known; energy is not counted"
    return facts
