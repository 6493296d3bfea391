"""A bundle's base and router for TensorFlow Lite for Microcontrollers (paper, 3.4 and B.4).

::

    base.tflite, router.tflite   the two apart: pixels to logits, logits to a score
    hybrid.tflite                both in one file
    hybridge_model.c, .h         the base as a C array, with shapes, scales and the threshold
    hybridge_router.c, .h        the router in plain C, to the bit the same as router.tflite
    hybridge_example.cc          a sketch that runs the two
    answers.npz                  what both said of the held-out images
    report.json                  what `export_tflm` returns
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hybridge.cost.device import Device
from hybridge.design.export.by_profile import ByProfile, by_profile
from hybridge.design.export.edge_program import SCORE, EdgeProgram, edge_program
from hybridge.design.export.float_session import float_outputs
from hybridge.design.export.int8_program import translate
from hybridge.design.export.integer_layers import IntegerLayer, quantise, write_layers
from hybridge.design.export.micro_router import build_micro_router
from hybridge.design.export.onnx_steps import LOGITS, Steps, read_steps
from hybridge.design.export.router_in_c import constant_bytes, scratch_bytes, write_router
from hybridge.design.export.router_parts import read_router
from hybridge.design.export.tflite_file import Array, TFLiteFile
from hybridge.design.export.tflm_check import (
    Agreement,
    Size,
    agreement,
    answers_of_both,
    check_agreement,
    check_limits,
    demand_of_base,
    demand_with_router,
)
from hybridge.design.export.tflm_files import write_c_array, write_header, write_sketch
from hybridge.design.export.tflm_run import MicroInterpreter
from hybridge.design.export.translation import LOGIT_LEVELS, Bits, Value
from hybridge.errors import ConfigError, SignatureError
from hybridge.files import write_json
from hybridge.plan.bundle import Bundle
from hybridge.plan.tensors import Frozen

#: Images that ranges are taken from, at least.
LEAST_IMAGES = 16
_ROOM = 0.25
_INT16 = 32767


class TflmReport(Frozen):
    """What a base and its router take, and whether they are still the ones of the bundle.

    Attributes:
        program: Name of the program in the bundle.
        operators: Kernels that a firmware has to link.
        base: Size of the base alone.
        router: Size of the router alone; None without a router.
        hybrid: Size of both in one file.
        router_in_c: Size of the router in C: constants, and scratch in place of an arena.
        router_arena_percent: What the router in C adds to the base's arena; the paper has 0.85 %.
        router_flash_percent: What it adds to the base's flash.
        hybrid_arena_percent: What the router adds to the base's arena in one file with it.
        router_macs: Multiply-accumulates of the router's layers.
        router_error: Largest difference between the router's score in floating point and by these
            layers, before they are rounded, on the calibration images.
        threshold: Score above which an image is sent; None without a router.
        threshold_integer: The same in the score's integers.
        score_scale: What one step of the score's integers is worth.
        activation_bits: Of what the base keeps between its layers.
        calibration_images: Images that gave the ranges.
        agreement: With the float network, on the other images.
        device: What the sizes were checked against, or None.
        by_profile: Time and energy by that device's profile; None where it does not know.
    """

    program: str
    operators: tuple[str, ...]
    base: Size
    router: Size | None
    hybrid: Size
    router_in_c: Size | None
    router_arena_percent: float | None
    router_flash_percent: float | None
    hybrid_arena_percent: float | None
    router_macs: int | None
    router_error: float | None
    threshold: float | None
    threshold_integer: int | None
    score_scale: float | None
    activation_bits: Bits
    calibration_images: int
    agreement: Agreement | None
    device: str | None
    by_profile: ByProfile | None = None


@dataclass(frozen=True)
class Images:
    """Images to calibrate or to check with.

    Attributes:
        pixels: ``(N, H, W, C)``, uint8.
        labels: ``(N,)``, or None where classes are not known.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64] | None = None


def export_tflm(
    bundle: Bundle,
    folder: str | Path,
    calibration: NDArray[np.uint8],
    held_out: Images | None = None,
    device: Device | None = None,
    on_step: Callable[[str], None] = lambda _: None,
    bits: Bits = 16,
) -> TflmReport:
    """Write a bundle's edge program in integers, run it in the interpreter, and compare.

    Args:
        bundle: With one program on the edge, from uint8 pixels.
        folder: Where the files are written; created where missing.
        calibration: Pixels ``(N, H, W, C)``, some hundred of them, that give the ranges.
        held_out: Other images, to compare on; None compares nothing.
        device: Whose memory limits the sizes; None limits nothing.
        on_step: Told what comes next.
        bits: Of what the base keeps between its layers; its weights have 8. With 8 it takes about
            half the memory, and decides otherwise than in floating point more often.

    Raises:
        ConfigError: The bundle has another shape, an operator or router cannot be translated, or
            the device's memory is too small: names the layer and the bytes; or a hundred images
            and more are answered otherwise too often, once all is written.
        MissingExtraError: ``tflite-micro`` is not installed.
        SignatureError: The images are not what the program takes.
    """
    edge = edge_program(bundle.plan)
    _check_images(edge, calibration)
    if held_out is not None:
        _check_images(edge, held_out.pixels, least=1)
    on_step("ranges of the calibration images")
    made = _translated(edge, calibration, bits)
    if device is not None:
        # Before the interpreter, whose own arena ends where no board's does.
        _check_memory(made, device, bits, None)
    sizes = {name: _size(file, name) for name, file in made.files.items()}
    if device is not None:
        _check_memory(made, device, bits, sizes["base"])
    folder, compared = Path(folder), None
    folder.mkdir(parents=True, exist_ok=True)
    if held_out is not None:
        on_step("the held-out images, in both")
        content = made.files["hybrid"].pack()
        answers = answers_of_both(edge, content, held_out.pixels, made.scales)
        answers.save(folder / "answers.npz")
        compared = agreement(edge, answers, held_out.labels, made.scales)
    report = _report(edge, made, sizes, (bits, len(calibration)), compared, device)
    _write(folder, bundle.plan.class_names, edge, made, report)
    if compared is not None:
        check_agreement(compared, bits)
    return report


def _check_images(edge: EdgeProgram, images: Array, least: int = LEAST_IMAGES) -> None:
    shape = edge.program.inputs[0].shape
    if images.dtype != np.uint8 or images.shape[1:] != shape or len(images) < least:
        raise SignatureError(
            f"expected at least {least} uint8 images of {shape}, got {images.dtype} {images.shape}"
        )


@dataclass(frozen=True)
class _Made:
    """Files, and what their integers mean: scales of logits and score."""

    files: dict[str, TFLiteFile]
    logits: Value
    layers: tuple[IntegerLayer, ...]
    error: float | None

    @property
    def scales(self) -> tuple[float, ...]:
        return (self.logits.quantisation.step, *(layer.gives for layer in self.layers[-1:]))


def _translated(edge: EdgeProgram, calibration: NDArray[np.uint8], bits: Bits) -> _Made:
    steps = read_steps(edge.program, calibration)
    base, logits = _base(edge, steps, bits)
    if not edge.has_score:
        return _Made({"base": base, "hybrid": base}, logits, (), None)
    seen = float_outputs(edge.program, calibration, edge.outputs())
    parts = read_router(steps)
    step = logits.quantisation.step
    router = build_micro_router(parts, -LOGIT_LEVELS * step)
    error = float(np.abs(router.score(seen[LOGITS]) - seen[SCORE].reshape(-1)).max())
    spread = max(float(seen[SCORE].std()), 1.0)
    if error > _ROOM * spread:
        raise ConfigError(
            f"the router of {edge.program.name!r} is not one that is known here: its score differs "
            f"by {error:.3g} from the translated one; train it with hybridge train"
        )
    layers = quantise(router, step, seen[LOGITS], edge.threshold)
    hybrid, logits = _base(edge, steps, bits)
    hybrid.outputs.append(write_layers(hybrid, layers, logits.tensor))
    alone = TFLiteFile(f"router of {edge.program.name}")
    alone.inputs.append(alone.tensor(LOGITS, logits.shape, "int16", logits.quantisation))
    alone.outputs.append(write_layers(alone, layers, alone.inputs[0]))
    files = {"base": base, "router": alone, "hybrid": hybrid}
    return _Made(files, logits, layers, error)


def _check_memory(made: _Made, device: Device, bits: Bits, size: Size | None) -> None:
    """Raise `ConfigError` where the base, or it and its router in C, do not fit a device."""
    base = demand_of_base(made.files["base"], bits, size)
    check_limits(base, device)
    if made.layers:
        check_limits(demand_with_router(base, made.layers), device)


def _base(edge: EdgeProgram, steps: Steps, bits: Bits) -> tuple[TFLiteFile, Value]:
    file = TFLiteFile(f"{edge.program.name}, by Hybridge")
    logits = translate(steps, file, LOGITS, bits)
    file.outputs.append(logits.tensor)
    return file, logits


def _size(file: TFLiteFile, name: str) -> Size:
    content = file.pack()
    return Size(flash_bytes=len(content), arena_bytes=MicroInterpreter(content, name).arena_bytes())


def _report(
    edge: EdgeProgram,
    made: _Made,
    sizes: dict[str, Size],
    settings: tuple[Bits, int],
    compared: Agreement | None,
    device: Device | None,
) -> TflmReport:
    base, hybrid = sizes["base"], sizes["hybrid"]
    scale = made.layers[-1].gives if made.layers else None
    routed = scale is not None
    macs = sum(layer.weights.size for layer in made.layers) if routed else None
    in_c: Size | None = None
    if routed:
        in_c = Size(flash_bytes=constant_bytes(made.layers), arena_bytes=scratch_bytes(made.layers))
    return TflmReport(
        program=edge.program.name,
        operators=tuple(made.files["hybrid"].kinds),
        base=base,
        router=sizes.get("router"),
        hybrid=hybrid,
        router_in_c=in_c,
        router_arena_percent=_share(None if in_c is None else in_c.arena_bytes, base.arena_bytes),
        router_flash_percent=_share(None if in_c is None else in_c.flash_bytes, base.flash_bytes),
        hybrid_arena_percent=_share(
            hybrid.arena_bytes - base.arena_bytes if routed else None, base.arena_bytes
        ),
        router_macs=macs,
        router_error=made.error,
        threshold=edge.threshold if routed else None,
        threshold_integer=_threshold(edge, scale),
        score_scale=scale,
        activation_bits=settings[0],
        calibration_images=settings[1],
        agreement=compared,
        device=None if device is None else device.name,
        by_profile=None if device is None else by_profile(edge, macs, device),
    )


def _share(part: int | None, whole: int) -> float | None:
    return None if part is None else 100 * part / whole


def _threshold(edge: EdgeProgram, scale: float | None) -> int | None:
    """Return the integer above which a score is above the threshold."""
    if scale is None or edge.threshold is None:
        return None
    return int(np.clip(np.floor(edge.threshold / scale), -_INT16 - 1, _INT16))


def _write(
    folder: Path, names: tuple[str, ...], edge: EdgeProgram, made: _Made, report: TflmReport
) -> None:
    for name, file in made.files.items():
        (folder / f"{name}.tflite").write_bytes(file.pack())
    content = made.files["base"].pack()
    write_c_array(folder, content)
    if made.layers:
        write_router(folder, made.layers)
    height, width, channels = edge.program.inputs[0].shape
    numbers = {
        "model_bytes": len(content),
        "arena_bytes": report.base.arena_bytes,
        "pixel_bytes": height * width * channels,
        "height": height,
        "width": width,
        "channels": channels,
        "classes": made.logits.shape[-1],
        "logit_scale": made.logits.quantisation.step,
        "score_scale": report.score_scale,
        "threshold": report.threshold_integer,
    }
    write_header(folder, numbers, names)
    write_sketch(folder, made.files["base"].kinds, report.threshold_integer is not None)
    write_json(folder / "report.json", report.model_dump(mode="json"))
