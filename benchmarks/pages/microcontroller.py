"""Write docs/results/microcontroller.md."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pages.table import table

from hybridge.cost.device import Device, powers
from hybridge.cost.price import compute_ms, energy_mj
from hybridge.design.export.by_profile import base_layers, with_router
from hybridge.design.export.cortex_m import CortexMReport
from hybridge.design.export.edge_program import EdgeProgram
from hybridge.design.export.tflm import TflmReport
from hybridge.links.link import link_named
from hybridge.plan.layers import Layer, total_macs

COVERAGES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.25, 0.0)
LINK = "lora-1mbps"
Answers = Mapping[str, NDArray[np.float32]]
#: Name, what is told of a number of bits, what the paper has.
Line = tuple[str, Callable[[int], str], str]


@dataclass(frozen=True)
class Found:
    """Everything that the page tells.

    Attributes:
        edge: Base and router in floating point.
        labels: Of the images.
        cloud: What the global says of them.
        integers: Reports of the interpreter, by bits of activations.
        answers: What base and router said of every image, by the same.
        qemu: Report of the emulated board, or None.
        serial: Figures of the tests of a thousand requests, by test.
        device: Whose profile prices.
    """

    edge: EdgeProgram
    labels: NDArray[np.int64] | None
    cloud: NDArray[np.intp]
    integers: Mapping[int, TflmReport]
    answers: Mapping[int, Answers]
    qemu: CortexMReport | None
    serial: Mapping[str, Mapping[str, str]]
    device: Device

    @property
    def base(self) -> list[Layer]:
        """Layers of the base."""
        return base_layers(self.edge)

    def both(self, bits: int) -> list[Layer]:
        """Layers of base and router, the router as it is in integers."""
        return with_router(self.base, self.integers[bits].router_macs or 0)


def write_page(found: Found) -> str:
    """Return the page."""
    images = len(found.cloud)
    return f"""# Microcontrollers

```bash
make microcontroller
```

A base of {total_macs(found.base) / 1e6:.2f} M MACs with its router, and a global of
{found.edge.asked.macs / 1e6 if found.edge.asked else 0:.1f} M MACs, over {images:,} images that
neither calibration nor training saw. **Measured** is what ran: in the interpreter of TensorFlow
Lite for Microcontrollers on this machine, with its reference kernels, or in QEMU. **Counted** are
MACs, bytes of files, instructions. **By profile** is MACs times a rate of the paper's own board:
nobody measured it here, it knows nothing of kernels or caches, and it takes 16-bit activations for
as fast as 8-bit ones, which they are not on a board whose kernels multiply 8 bits in pairs.

## Integers against floating point (measured)

{_agreement(found)}

An image within one integer step of the threshold may go either way; those are counted apart.

## What it takes (the paper's table 9)

{_takes(found)}

{_instructions(found)}
## A hybrid at every coverage (the paper's table 8)

The most confident images are kept, as the router in integers ranks them (accuracy measured, MACs
counted: base and router for every image, the global for those that are sent).

{_hybrid(found)}

## Latency and energy (the paper's table 4, by profile)

{_latency(found)}

## Asking over a serial line (measured)

{_serial(found)}
"""


def _by_bits(found: Found, lines: Iterable[Line], last: str | None = None) -> str:
    """Return a table: a column for each number of bits, and one of the paper's where it has any."""
    names = ["", *(f"activations of {bits} bits" for bits in found.integers)]
    rows = [[name, *map(tell, found.integers), paper] for name, tell, paper in lines]
    if last is None:
        return table(names, (row[:-1] for row in rows))
    return table([*names, last], rows)


def _agreement(found: Found) -> str:
    def share(name: str) -> Callable[[int], str]:
        return lambda bits: f"{getattr(found.integers[bits].agreement, name):.2%}"

    def count(name: str) -> Callable[[int], str]:
        return lambda bits: str(getattr(found.integers[bits].agreement, name))

    lines = (
        ("accuracy of the base, float", share("float_accuracy")),
        ("accuracy of the base, integers", share("integer_accuracy")),
        ("same class", share("same_class")),
        ("**same decision, base and router**", share("equal_decisions")),
        ("same decision, of the router alone", share("router_decisions")),
        ("images within a step of the threshold", count("near_threshold")),
        ("decided otherwise, and not among those", count("unequal_elsewhere")),
        ("kept, float", share("coverage_float")),
        ("kept, integers", share("coverage_integer")),
    )
    return _by_bits(found, ((name, tell, "") for name, tell in lines))


def _takes(found: Found) -> str:
    def of(tell: Callable[[TflmReport], str]) -> Callable[[int], str]:
        return lambda bits: tell(found.integers[bits])

    board = _of_table_9(found.device)
    at = "" if board.power is None else f", at {board.power.active_mw.value:g} mW"

    def priced(kind: int, router: bool) -> Callable[[int], str]:
        return lambda bits: f"{_price(board, found.both(bits) if router else found.base)[kind]:.1f}"

    def macs(router: bool) -> Callable[[int], str]:
        layers = found.both if router else lambda _: found.base
        return lambda bits: f"{total_macs(layers(bits)) / 1e6:.3f}"

    lines = (
        ("bytes of memory, base (measured)", of(lambda r: f"{r.base.arena_bytes:,}"), "156,708"),
        ("the same with the router in C", of(_with_router), "158,036 (+0.85 %)"),
        ("the same with the router in one file", of(_in_one_file), "-"),
        ("bytes of flash, base (counted)", of(lambda r: f"{r.base.flash_bytes:,}"), "-"),
        ("the same with the router in C", of(_flash_with_router), "-"),
        ("M MACs, base (counted)", macs(router=False), "12.79"),
        ("M MACs, base and router (counted)", macs(router=True), "-"),
        ("ms, base (by profile)", priced(0, router=False), "253.7 (measured)"),
        ("ms, base and router (by profile)", priced(0, router=True), "259.5 (measured)"),
        (f"mJ, base (by profile{at})", priced(1, router=False), "111.2 (measured)"),
        (f"mJ, base and router (by profile{at})", priced(1, router=True), "113.4 (measured)"),
    )
    return _by_bits(found, lines, "paper, MCUNet")


def _with_router(report: TflmReport) -> str:
    if report.router_in_c is None:
        return "-"
    both = report.base.arena_bytes + report.router_in_c.arena_bytes
    return f"{both:,} (+{report.router_arena_percent:.2f} %)"


def _in_one_file(report: TflmReport) -> str:
    return f"{report.hybrid.arena_bytes:,} (+{report.hybrid_arena_percent:.2f} %)"


def _flash_with_router(report: TflmReport) -> str:
    if report.router_in_c is None:
        return "-"
    both = report.base.flash_bytes + report.router_in_c.flash_bytes
    return f"{both:,} (+{report.router_flash_percent:.1f} %)"


def _price(device: Device, layers: list[Layer]) -> tuple[float, float]:
    """Return milliseconds and millijoules by a profile."""
    ms = compute_ms(layers, device)
    return ms, energy_mj(device, ms, 0.0, 0.0)


def _of_table_9(device: Device) -> Device:
    """Return the paper's board with the power of its table 9; another device as it is.

    The paper measured 438 mW there, and counts 250 mW in table 4.
    """
    if device.power != powers.get("paper"):
        return device
    return device.model_copy(update={"power": powers.get("paper-table-9")})


def _instructions(found: Found) -> str:
    told = found.qemu
    if told is None or told.base_and_router is None:
        return "Instructions: left out, since the tools of `--target cortex-m` are missing.\n"
    parts = (("base", told.base), ("base and router", told.base_and_router))
    names = ("instructions", "text", "data", "bss", "stack used", "largest difference")
    rows = [
        [
            name,
            f"{part.instructions:,.0f}",
            f"{part.text_bytes:,}",
            f"{part.data_bytes:,}",
            f"{part.bss_bytes:,}",
            f"{part.stack_bytes:,}",
            f"{part.largest_difference:.1e}",
        ]
        for name, part in parts
    ]
    return f"""The same in floating point, as C on a Cortex-M7 in QEMU, {told.images} images, linked
into the board's memory (instructions and bytes counted, stack and difference to onnxruntime
measured). The router adds {told.extra_instructions_percent:.2f} % of instructions,
{told.extra_ram_percent:.2f} % of memory; {told.equal_decisions} of {told.images} decisions are
equal. Instructions are not cycles.

{table(("", *names), rows)}
"""


def _hybrid(found: Found) -> str:
    if found.labels is None or found.edge.asked is None:
        return "Left out: the classes are not known, or nothing is asked.\n"
    right = found.cloud == found.labels
    names = ["kept", "M MACs of an image"]
    names += [f"accuracy, {bits} bits" for bits in found.answers]
    bits = max(found.answers)
    rows = []
    for coverage in COVERAGES:
        macs = total_macs(found.both(bits)) + (1 - coverage) * found.edge.asked.macs
        accuracy = [
            _at(answers, found.labels, right, coverage) for answers in found.answers.values()
        ]
        rows.append([f"{coverage:.0%}", f"{macs / 1e6:.1f}", *(f"{one:.2%}" for one in accuracy)])
    alone = f"The global alone: {right.mean():.2%} at {found.edge.asked.macs / 1e6:.1f} M MACs."
    return f"{table(names, rows)}\n\n{alone}"


def _at(
    answers: Answers, labels: NDArray[np.int64], right: NDArray[np.bool_], coverage: float
) -> float:
    """Return the accuracy where the share ``coverage`` of images is kept."""
    order = np.argsort(answers["integer_score"][:, 0], kind="stable")
    kept = np.zeros(len(labels), dtype=bool)
    kept[order[: round(coverage * len(labels))]] = True
    own = answers["integer_logits"].argmax(axis=1) == labels
    return float(np.where(kept, own, right).mean())


def _latency(found: Found) -> str:
    link, bits = link_named(LINK), max(found.integers)
    bytes_ = found.edge.program.inputs[0].bytes_per_item
    sending_ms = 8000 * bytes_ / link.bandwidth_bps
    edge_ms, _ = _price(found.device, found.both(bits))
    base_ms, _ = _price(found.device, found.base)
    cases = [("base alone", base_ms, 0.0)]
    cases += [(f"hybrid, {kept:.0%} kept", edge_ms, 1 - kept) for kept in (0.9, 0.8, 0.7, 0.6)]
    cases += [("global only", 0.0, 1.0)]
    rows = []
    for name, computing_ms, sent in cases:
        energy = energy_mj(found.device, computing_ms, sent * sending_ms, 0.0)
        rows.append([name, f"{computing_ms + sent * sending_ms:.1f}", f"{energy:.1f}"])
    mbps = link.bandwidth_bps / 1e6
    power = found.device.power
    at = "" if power is None else f", at {power.active_mw.value:g} mW as that table counts"
    about = f"""{found.device.about}{at}; {bytes_:,} bytes of pixels at {mbps:g} Mbit/s, which the
paper's 1,200 ms for 150 KB need; the cloud's own time is left out, as in the paper."""
    note = """An image of CIFAR-10 is 49 times smaller than the paper's, so sending costs little
here beside a base that computes for as long: the paper's gain (557 ms against 1,200 ms at 70 %)
comes from images of 150 KB."""
    return f"{about}\n\n{table(('', 'ms', 'mJ'), rows)}\n\n{note}"


def _serial(found: Found) -> str:
    if not found.serial:
        return "Left out: the tests skipped, since tools are missing.\n"
    titles = {
        "test_a_thousand_requests_over_a_disturbed_line": "the C client on this machine",
        "test_board_asks_for_a_thousand_images": "a Cortex-M7 in QEMU",
    }
    names = list(dict.fromkeys(name for figures in found.serial.values() for name in figures))
    rows = [
        [titles.get(test, test), *(figures.get(name, "-") for name in names)]
        for test, figures in found.serial.items()
    ]
    return f"""Through `hybridge gateway` over a pseudo-terminal on which one byte in a hundred is
damaged and one frame in twenty dropped. Every answer is the cloud's own, or the base's and marked
so; the tests check each.

{table(("", *names), rows)}"""
