"""``hybridge export``."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hybridge.cli.output import check_folder, check_used, show_facts
from hybridge.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from hybridge.cost.device import Device
    from hybridge.data.dataset import Dataset
    from hybridge.design.export.cortex_m import CortexMReport
    from hybridge.design.export.tflm import TflmReport
    from hybridge.design.export.translation import Bits
    from hybridge.plan.bundle import Bundle

#: Where integers decide as floating point less often than this, it is said what helps.
_MOST_DECISIONS = 0.99

#: Parameters that integers alone have use for.
_OF_INTEGERS = ("calibration", "activations")


class Target(StrEnum):
    """What a microcontroller runs."""

    TFLM = "tflm"
    CORTEX_M = "cortex-m"


class Activations(StrEnum):
    """What a network in integers keeps between its layers."""

    INT8 = "int8"
    INT16 = "int16"


def export(
    context: typer.Context,
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle's folder.")],
    target: Annotated[
        Target,
        typer.Option(
            help="tflm: 8-bit integers for TensorFlow Lite for Microcontrollers; "
            "cortex-m: C in floating point, run in QEMU."
        ),
    ],
    data: Annotated[
        str,
        typer.Option(
            metavar="KIND:PATH",
            help="Images to calibrate and to compare on: parquet:PATH, folder:PATH, arrays:PATH "
            "or digits.",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder of what is written.", show_default="BUNDLE-TARGET")
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(min=1, help="Images to compare on.", show_default="1000, or 100 in QEMU"),
    ] = None,
    calibration: Annotated[
        int,
        typer.Option(
            min=1, help="Of tflm, images before those that give the ranges; at most half of all."
        ),
    ] = 256,
    device: Annotated[
        str, typer.Option(help="Whose memory limits the size: a preset, or a .json file.")
    ] = "stm32f746",
    activations: Annotated[
        Activations,
        typer.Option(
            help="Of tflm, bits between layers: 16 decides as floats do, 8 takes half the memory."
        ),
    ] = Activations.INT16,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write a base and its router for a microcontroller.

    Both are proved on this machine: they run on the images, and are compared with the bundle's
    own program; sizes are checked against the device's memory. What is written lies in one folder,
    with report.json. The first images of the data give the ranges of integers, those that follow
    are compared on.

    \b
    Examples:
      hybridge export runs/demo/bundle --target tflm --data digits
      hybridge export runs/demo/bundle --target cortex-m --data digits --images 10
    """
    from hybridge.cli.inputs import open_source
    from hybridge.cost.device import device_named
    from hybridge.plan.bundle import load_bundle

    if target is Target.CORTEX_M:
        check_used(
            context,
            _OF_INTEGERS,
            "are for --target tflm, while --target cortex-m is in floating point",
        )
    folder = out or bundle.with_name(f"{bundle.name}-{target}")
    check_folder("--out", folder)
    loaded = load_bundle(bundle)
    opened = open_source(data, loaded.plan)
    report: BaseModel
    if target is Target.TFLM:
        bits: Bits = 8 if activations is Activations.INT8 else 16
        counts = (calibration, images or 1000)
        tflm = _export_tflm(loaded, folder, opened, counts, device_named(device), bits)
        report, facts = tflm, _tflm_facts(tflm)
    else:
        cortex = _export_cortex_m(loaded, folder, opened, images or 100, device_named(device))
        report, facts = cortex, _cortex_m_facts(cortex)
    if json:
        from hybridge.cli.output import plain, show_json

        show_json(plain(report))
    else:
        show_facts({**facts, "written": str(folder)})


def _export_tflm(
    bundle: "Bundle",
    folder: Path,
    data: "Dataset",
    counts: tuple[int, int],
    device: "Device",
    bits: "Bits",
) -> "TflmReport":
    import numpy as np

    from hybridge.design.export.tflm import LEAST_IMAGES, Images, export_tflm

    if len(data) < 2 * LEAST_IMAGES:
        raise ConfigError(
            f"--data: expected at least {2 * LEAST_IMAGES} images, half of them to calibrate and "
            f"half to compare on, got {len(data)}"
        )
    first = min(counts[0], len(data) // 2)
    last = min(first + counts[1], len(data))
    rows = np.arange(first, last)
    held_out = Images(data.pixels(rows), data.labels[rows])
    ranges = data.pixels(np.arange(first))
    return export_tflm(bundle, folder, ranges, held_out, device, bits=bits)


def _export_cortex_m(
    bundle: "Bundle", folder: Path, data: "Dataset", images: int, device: "Device"
) -> "CortexMReport":
    import numpy as np

    from hybridge.design.export.cortex_m import Memory, export_cortex_m

    rows = np.arange(min(images, len(data)))
    return export_cortex_m(bundle, folder, data.pixels(rows), Memory.of(device))


def _tflm_facts(report: "TflmReport") -> dict[str, str]:
    facts = {
        "program": f"{report.program}, activations in {report.activation_bits} bits",
        "base": _sized(report.base),
    }
    if report.router_in_c is not None:
        facts["router in C"] = (
            f"{_sized(report.router_in_c)}: {report.router_arena_percent:.2f} % and "
            f"{report.router_flash_percent:.2f} % of the base's"
        )
        facts["both in one file"] = (
            f"{_sized(report.hybrid)}: {report.hybrid_arena_percent:.2f} % more arena"
        )
    if report.threshold_integer is not None:
        facts["threshold"] = f"{report.threshold_integer} in integers, {report.threshold:.4g}"
    told = report.by_profile
    if told is not None:
        facts["by the profile"] = f"{told.device}, not measured: base {told.base_ms:.1f} ms"
        if told.with_router_ms is not None:
            facts["by the profile"] += f", with router {told.with_router_ms:.1f} ms"
    found = report.agreement
    if found is None:
        return facts
    facts["same class"] = f"{found.same_class:.2%} of {found.images} images"
    if found.float_accuracy is not None:
        facts["accuracy"] = (
            f"{found.integer_accuracy:.2%}, in floating point {found.float_accuracy:.2%}"
        )
    if found.equal_decisions is not None:
        facts["same decision"] = (
            f"{found.equal_decisions:.2%}; by the router alone {found.router_decisions:.2%}; "
            f"{found.near_threshold} within a step of the threshold"
        )
        if found.equal_decisions < _MOST_DECISIONS and report.activation_bits == 8:
            facts["hint"] = "--activations int16 keeps more decisions as they were, in more memory"
    return facts


def _sized(size: "BaseModel") -> str:
    numbers: dict[str, int] = size.model_dump()
    return f"{numbers['flash_bytes']:,} bytes of flash, {numbers['arena_bytes']:,} of memory"


def _cortex_m_facts(report: "CortexMReport") -> dict[str, str]:
    facts = {"program": report.program}
    for name, size in (("base", report.base), ("with router", report.base_and_router)):
        if size is not None:
            facts[name] = (
                f"text {size.text_bytes:,}, data {size.data_bytes:,}, bss {size.bss_bytes:,}, "
                f"stack {size.stack_bytes:,} bytes; {size.instructions:,.0f} instructions"
            )
            facts[f"{name} differs by"] = f"{size.largest_difference:.1e}"
    if report.extra_instructions_percent is not None:
        facts["router adds"] = f"{report.extra_instructions_percent:.2f} % of instructions"
    return facts
