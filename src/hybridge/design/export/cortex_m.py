"""A bundle's base and router as firmware for a Cortex-M7, proved in QEMU (paper, section 3.4).

::

    network.c, network.h    the program, in C: weights, nodes, one planned arena
    main.c, board.c, ...    what comes with Hybridge: start-up, semihosting, linker script
    Makefile                `make`, `make size`, `make run`
    images.bin              the images, uint8, one after the other
    report.json             what `export_cortex_m` returns
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hybridge.cost.device import Device
from hybridge.design.export import firmware
from hybridge.design.export.c_source import CSource, write_c
from hybridge.design.export.edge_program import SCORE, EdgeProgram, edge_program
from hybridge.design.export.firmware_project import BASE, BOTH, write_project
from hybridge.design.export.float_session import float_outputs
from hybridge.design.export.static_memory import MemoryPlan, plan_memory
from hybridge.errors import ConfigError, SignatureError
from hybridge.files import write_json
from hybridge.plan.bundle import Bundle
from hybridge.plan.program import Program
from hybridge.plan.tensors import Frozen

TOLERANCE = 1e-4
_MIB = 1024 * 1024
_S_PER_IMAGE = 120.0
Answers = NDArray[np.float64]


class Memory(Frozen):
    """Memory of the board that is linked for.

    Attributes:
        flash_bytes: For code and weights; QEMU's mps2-an500 has 4 MiB.
        ram_bytes: For all else; the same.
        stack_bytes: Of it, what is kept for the stack.
    """

    flash_bytes: int = 4 * _MIB
    ram_bytes: int = 4 * _MIB
    stack_bytes: int = 16 * 1024

    @classmethod
    def of(cls, device: Device) -> "Memory":
        """Return a device's memory; QEMU's board's where its profile knows none."""
        held = device.memory
        if held is None:
            return cls()
        sizes = held.flash_bytes.value, held.sram_bytes.value
        return cls(flash_bytes=int(sizes[0]), ram_bytes=int(sizes[1]))


class ProgramReport(Frozen):
    """What one of the two programs takes: the base alone, or with its router.

    Attributes:
        text_bytes: Code and constants; counted by ``arm-none-eabi-size``.
        data_bytes: Variables that start with a value; counted likewise.
        bss_bytes: Variables that start at zero: arena, image, answers and the stack's reserve.
        arena_bytes: Planned arena of the network's tensors, a part of ``bss_bytes``.
        arena_peak_node: Node at which the most of the arena is in use.
        stack_bytes: Most stack that was used; measured by paint.
        instructions: Mean instructions of an image; counted by QEMU, to the next 40.
        least_instructions: Of the cheapest image.
        most_instructions: Of the dearest image.
        largest_difference: Between its outputs and onnxruntime's; over all images.
    """

    text_bytes: int
    data_bytes: int
    bss_bytes: int
    arena_bytes: int
    arena_peak_node: str
    stack_bytes: int
    instructions: float
    least_instructions: int
    most_instructions: int
    largest_difference: float


class CortexMReport(Frozen):
    """What a bundle's edge program takes on a Cortex-M7, and what its router adds.

    Attributes:
        program: Name of the program.
        images: How many were run.
        base: The base alone.
        base_and_router: Both; None where the program gives no score.
        extra_instructions_percent: What the router adds to the base's instructions (the paper
            has "under 2 %" in time); None without a router.
        extra_ram_percent: What it adds to data, arena and used stack.
        extra_flash_percent: What it adds to text and data.
        equal_decisions: Images on which "keep" or "send" is as onnxruntime's score says; None
            without a threshold.
    """

    program: str
    images: int
    base: ProgramReport
    base_and_router: ProgramReport | None = None
    extra_instructions_percent: float | None = None
    extra_ram_percent: float | None = None
    extra_flash_percent: float | None = None
    equal_decisions: int | None = None


def export_cortex_m(
    bundle: Bundle,
    folder: str | Path,
    images: NDArray[np.uint8],
    memory: Memory | None = None,
) -> CortexMReport:
    """Write the firmware project of a bundle's edge program, build it, and prove it in QEMU.

    Args:
        bundle: With one program on the edge, from uint8 pixels to float32 outputs.
        folder: Where the project is written; created where missing.
        images: Pixels ``(N, H, W, C)`` to compare on, at least one.
        memory: Of the board; QEMU's mps2-an500 where left out.

    Raises:
        ConfigError: The bundle has another shape, an operator cannot be written in C, a tool is
            missing, the network does not fit into memory, or outputs differ from onnxruntime's
            by more than 1e-4.
        MissingExtraError: emx-onnx-cgen is not installed.
        SignatureError: The images are not what the program takes.
    """
    memory = memory or Memory()
    edge = edge_program(bundle.plan)
    _check_images(edge.program, images)
    firmware.check_tools()
    expected = float_outputs(edge.program, images, edge.outputs())
    source = write_c(edge.program)
    plans = _plans(edge, source)
    _check_memory(source, plans, memory)
    folder = Path(folder)
    try:
        write_project(folder, edge, source, plans)
        (folder / "images.bin").write_bytes(np.ascontiguousarray(images).tobytes())
    except OSError as error:
        raise ConfigError(f"cannot write the project to {folder}: {error}") from error
    firmware.build(folder, {name.upper(): value for name, value in memory})
    reports: dict[str, ProgramReport] = {}
    equal = None
    for name, plan in plans.items():
        firmware.run(folder, name, timeout_s=60 + _S_PER_IMAGE * len(images))
        outputs = edge.outputs(score=name == BOTH)
        wanted = np.concatenate([expected[output] for output in outputs], axis=1)
        answers, reports[name] = _measured(folder, name, plan, wanted)
        if name == BOTH and edge.threshold is not None:
            scores = answers[:, edge.column(SCORE)], expected[SCORE][:, 0]
            sent, meant = (score > edge.threshold for score in scores)
            equal = int((sent == meant).sum())
    report = _joined(edge.program, reports, memory, len(images), equal)
    write_json(folder / "report.json", report.model_dump())
    return report


def _plans(edge: EdgeProgram, source: CSource) -> dict[str, MemoryPlan]:
    """Return the programs to build: the base alone and, where there is a score, with its router."""
    plans = {BASE: plan_memory(source, edge.outputs(score=False))}
    if edge.has_score:
        plans[BOTH] = plan_memory(source, edge.outputs())
    return plans


def _check_images(program: Program, images: NDArray[np.uint8]) -> None:
    program.inputs[0].check(images)
    if len(images) == 0:
        raise SignatureError("expected at least one image to compare on, got none")


def _check_memory(source: CSource, plans: dict[str, MemoryPlan], memory: Memory) -> None:
    """Raise `ConfigError` where weights or arena alone are more than the board has."""
    weights = sum(array.size_bytes for array in source.weights.values())
    if weights > memory.flash_bytes:
        name, largest = max(source.weights.items(), key=lambda item: item[1].size_bytes)
        raise ConfigError(
            f"the weights take {weights:,} bytes, the board has {memory.flash_bytes:,} of flash; "
            f"the largest, {name}, takes {largest.size_bytes:,}; choose a smaller network"
        )
    for plan in plans.values():
        needed = plan.arena_bytes + memory.stack_bytes
        if needed > memory.ram_bytes:
            raise ConfigError(
                f"tensors and stack take {needed:,} bytes, the board has {memory.ram_bytes:,} of "
                f"RAM; at {plan.peak} {plan.peak_bytes:,} are in use at once; choose a smaller "
                "network or resolution"
            )


def _measured(
    folder: Path, name: str, plan: MemoryPlan, expected: NDArray[np.float32]
) -> tuple[Answers, ProgramReport]:
    counts, answers, stack = read_answers(folder / f"{name}.txt")
    if answers.shape != expected.shape:
        raise ConfigError(
            f"{name} answered {answers.shape[0]} images by {answers.shape[1]} numbers in QEMU, "
            f"expected {expected.shape}; see {folder / f'{name}.txt'}"
        )
    difference = float(np.abs(answers - expected).max())
    if not difference <= TOLERANCE:
        raise ConfigError(
            f"{name} differs from onnxruntime by {difference:.2e} in QEMU (allowed: "
            f"{TOLERANCE:.0e}); build without -ffast-math, or report it"
        )
    sizes = firmware.sizes_of(folder, name)
    return answers, ProgramReport(
        text_bytes=sizes.text_bytes,
        data_bytes=sizes.data_bytes,
        bss_bytes=sizes.bss_bytes,
        arena_bytes=plan.arena_bytes,
        arena_peak_node=plan.peak,
        stack_bytes=stack,
        instructions=float(np.mean(counts)),
        least_instructions=min(counts),
        most_instructions=max(counts),
        largest_difference=difference,
    )


def read_answers(path: Path) -> tuple[list[int], Answers, int]:
    """Return instructions of each image, outputs ``(N, K)``, and bytes of stack from a file.

    Raises:
        ConfigError: It is not what the firmware writes.
    """
    try:
        *lines, last = [line.split() for line in path.read_text().splitlines()]
        if last[0] != "stack" or any(line[0] != "answer" for line in lines):
            raise ValueError("no line of the stack at its end")
        counts = [int(line[1]) for line in lines]
        answers = np.array([[float.fromhex(word) for word in line[2:]] for line in lines])
        return counts, answers, int(last[1])
    except (OSError, ValueError, IndexError) as error:
        raise ConfigError(
            f"{path} does not hold what the firmware writes ({error}); run it again by: "
            f"make -C {path.parent} run"
        ) from error


def _joined(
    program: Program,
    reports: dict[str, ProgramReport],
    memory: Memory,
    images: int,
    equal_decisions: int | None,
) -> CortexMReport:
    base = reports[BASE]
    both = reports.get(BOTH)
    if both is None:
        return CortexMReport(program=program.name, images=images, base=base)

    def ram(of: ProgramReport) -> int:
        return of.data_bytes + of.bss_bytes - memory.stack_bytes + of.stack_bytes

    return CortexMReport(
        program=program.name,
        images=images,
        base=base,
        base_and_router=both,
        extra_instructions_percent=_percent(both.instructions, base.instructions),
        extra_ram_percent=_percent(ram(both), ram(base)),
        extra_flash_percent=_percent(
            both.text_bytes + both.data_bytes, base.text_bytes + base.data_bytes
        ),
        equal_decisions=equal_decisions,
    )


def _percent(with_: float, without: float) -> float:
    return 100 * (with_ / without - 1)
