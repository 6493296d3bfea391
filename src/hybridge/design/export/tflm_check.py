"""Whether a network in integers fits its board, and still answers as it did."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx.utils
from numpy.typing import NDArray

from hybridge.cost.device import Device
from hybridge.design.export.c_source import for_one_input
from hybridge.design.export.edge_program import SCORE, EdgeProgram
from hybridge.design.export.float_session import float_outputs, float_session
from hybridge.design.export.integer_layers import IntegerLayer
from hybridge.design.export.onnx_steps import LOGITS
from hybridge.design.export.router_in_c import constant_bytes, layer_bytes, scratch_bytes
from hybridge.design.export.tflite_file import Array, TFLiteFile
from hybridge.design.export.tflm_run import MicroInterpreter
from hybridge.design.export.translation import Bits
from hybridge.errors import ConfigError
from hybridge.plan.tensors import Frozen
from hybridge.progress import track

#: Shares that a network in integers is to reach, where at least so many images are compared.
LEAST_COMPARED, LEAST_SAME_CLASS, LEAST_ROUTER_DECISIONS = 100, 0.9, 0.95


class Size(Frozen):
    """What a network takes.

    Attributes:
        flash_bytes: Of its file: weights and graph; the kernels' code comes on top.
        arena_bytes: Of working memory, as the interpreter of a 64-bit machine counts it.
    """

    flash_bytes: int
    arena_bytes: int


class Agreement(Frozen):
    """How alike the float network and the one in integers are.

    Attributes:
        images: That were compared.
        same_class: Share of images on which both say the same.
        float_accuracy: Of the float network; None without labels.
        integer_accuracy: Of the one in integers; None without labels.
        equal_decisions: Share of images on which both keep, or both send; None without a router.
        near_threshold: Images whose float score is within one integer step of the threshold.
        unequal_elsewhere: Images that are decided otherwise and are not among those.
        router_decisions: Share of images on which the router in integers decides as the float
            router does of the same logits: what the router alone changes.
        coverage_float: Share of images that the float network keeps.
        coverage_integer: Share that the one in integers keeps.
    """

    images: int
    same_class: float
    float_accuracy: float | None = None
    integer_accuracy: float | None = None
    equal_decisions: float | None = None
    near_threshold: int | None = None
    unequal_elsewhere: int | None = None
    router_decisions: float | None = None
    coverage_float: float | None = None
    coverage_integer: float | None = None


@dataclass(frozen=True)
class Demand:
    """What something takes of a board, and which of its layers takes how much.

    Attributes:
        name: What messages call it, such as ``the base``.
        sram_bytes: Of working memory.
        flash_bytes: Of constants.
        sram: Names of layers, and their bytes of working memory.
        flash: Names of layers, and their bytes of constants.
        help: What makes each of the two smaller.
    """

    name: str
    sram_bytes: int
    flash_bytes: int
    sram: Sequence[tuple[str, int]]
    flash: Sequence[tuple[str, int]]
    help: tuple[str, str]


def demand_of_base(file: TFLiteFile, bits: Bits, size: Size | None = None) -> Demand:
    """Return what a base with activations of so many bits takes; without its size, at least."""
    sram, flash = file.written_bytes(), file.weight_bytes()
    if size is None:
        least = max(needs for _, needs in sram), sum(needs for _, needs in flash)
        size = Size(arena_bytes=least[0], flash_bytes=least[1])
    smaller = "fewer channels or smaller images before it"
    if bits == 16:
        smaller = f"activations of 8 bits (--activations int8), or {smaller}"
    help_ = smaller, "a smaller architecture"
    return Demand("the base", size.arena_bytes, size.flash_bytes, sram, flash, help_)


def demand_with_router(base: Demand, layers: tuple[IntegerLayer, ...]) -> Demand:
    """Return what a base and its router in C take; the layers are the router's."""
    parts = layer_bytes(layers)
    smaller = "a base of fewer classes, or a router of fewer units (router.hidden)"
    return Demand(
        "the base with its router in C",
        base.sram_bytes + scratch_bytes(layers),
        base.flash_bytes + constant_bytes(layers),
        [(f"{name} of the router", scratch) for name, _, scratch in parts],
        [(f"{name} of the router", flash) for name, flash, _ in parts],
        (smaller, smaller),
    )


def check_limits(demand: Demand, device: Device) -> None:
    """Raise `ConfigError` where something does not fit; names the layer that takes the most."""
    if device.memory is None:
        return
    memory = device.memory
    limits = (
        ("SRAM", demand.sram_bytes, memory.sram_bytes.value, demand.sram),
        ("flash", demand.flash_bytes, memory.flash_bytes.value, demand.flash),
    )
    for (what, needs, has, by_layer), help_ in zip(limits, demand.help, strict=True):
        if needs > has:
            layer, most = max(by_layer, key=lambda pair: pair[1])
            raise ConfigError(
                f"{demand.name} needs {needs:,} bytes of {what}, {device.name} has {has:,.0f}; "
                f"layer {layer!r} alone takes {most:,}: choose {help_}"
            )


@dataclass(frozen=True)
class Answers:
    """What the float network and the one in integers say of the same images.

    Attributes:
        floats: Logits ``(N, C)``, and scores ``(N, 1)`` where there is a router.
        integers: The same of the one in integers, in the floats' unit.
    """

    floats: tuple[Array, ...]
    integers: tuple[Array, ...]

    def save(self, path: Path) -> None:
        """Write them as one ``.npz``: ``float_logits``, ``integer_logits`` and the scores."""
        parts = {
            f"{kind}_{name}": value
            for kind, values in (("float", self.floats), ("integer", self.integers))
            for name, value in zip((LOGITS, SCORE), values, strict=False)
        }
        np.savez(path, **parts)  # type: ignore[arg-type]


def answers_of_both(
    edge: EdgeProgram, content: bytes, pixels: NDArray[np.uint8], scales: tuple[float, ...]
) -> Answers:
    """Run images through both.

    Args:
        edge: The float network.
        content: The file of the one in integers.
        pixels: ``(N, H, W, C)``.
        scales: Of the integers of its logits, and of its score where there is one.
    """
    interpreter = MicroInterpreter(content, "the hybrid")
    names = [LOGITS, SCORE][: len(scales)]
    floats = float_outputs(edge.program, pixels, names)
    integers: list[list[Array]] = [[] for _ in names]
    for image in track(pixels, "in integers", total=len(pixels)):
        shifted = (image.astype(np.int16) - 128).astype(np.int8)
        for column, value in zip(integers, interpreter.run(shifted[None], len(names)), strict=True):
            column.append(value.reshape(-1))
    got = [np.array(column) * scale for column, scale in zip(integers, scales, strict=True)]
    return Answers(tuple(floats[name] for name in names), tuple(got))


def _router_scores(edge: EdgeProgram, logits: Array) -> Array:
    """Return the float router's scores ``(N,)`` of given logits ``(N, C)``."""
    part = onnx.utils.Extractor(for_one_input(edge.program)).extract_model([LOGITS], [SCORE])
    session = float_session(part.SerializeToString())
    given = logits.astype(np.float32)
    return np.array([session.run([SCORE], {LOGITS: one[None]})[0].item() for one in given])


def agreement(
    edge: EdgeProgram,
    answers: Answers,
    labels: NDArray[np.int64] | None,
    scales: tuple[float, ...],
) -> Agreement:
    """Compare what both say.

    Args:
        edge: The float network.
        answers: Of both.
        labels: ``(N,)``, or None.
        scales: Of the integers of logits, and of the score where there is one.
    """
    wanted, got = answers.floats, answers.integers
    classes = [logits[0].argmax(axis=1) for logits in (wanted, got)]
    judged = [None if labels is None else float((said == labels).mean()) for said in classes]
    found = Agreement(
        images=len(classes[0]),
        same_class=float((classes[0] == classes[1]).mean()),
        float_accuracy=judged[0],
        integer_accuracy=judged[1],
    )
    if len(scales) == 1 or edge.threshold is None:
        return found
    sent = [scores[1][:, 0] > edge.threshold for scores in (wanted, got)]
    alone = _router_scores(edge, got[0]) > edge.threshold
    near = np.abs(wanted[1][:, 0] - edge.threshold) <= scales[1]
    return found.model_copy(
        update={
            "equal_decisions": float((sent[0] == sent[1]).mean()),
            "near_threshold": int(near.sum()),
            "unequal_elsewhere": int(((sent[0] != sent[1]) & ~near).sum()),
            "router_decisions": float((sent[1] == alone).mean()),
            "coverage_float": float(1 - sent[0].mean()),
            "coverage_integer": float(1 - sent[1].mean()),
        }
    )


def check_agreement(found: Agreement, bits: int) -> None:
    """Raise `ConfigError` where integers answer otherwise so often that they are of no use.

    Args:
        found: Of at least `LEAST_COMPARED` images; fewer prove nothing, and are let through.
        bits: Of activations.
    """
    if found.images < LEAST_COMPARED:
        return
    finer = "give --activations int16, " if bits == 8 else ""
    floors = (
        ("the same class", found.same_class, LEAST_SAME_CLASS),
        ("the same decision of the router", found.router_decisions, LEAST_ROUTER_DECISIONS),
    )
    for what, share, least in floors:
        if share is not None and not share >= least:
            raise ConfigError(
                f"expected {what} in integers as in floating point on at least {least:.0%} of "
                f"{found.images} images, got {share:.2%}: {finer}calibrate on more images "
                "(--calibration) that are like those, or export with --target cortex-m; "
                "report.json and answers.npz say more"
            )
