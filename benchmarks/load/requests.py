"""What is served and asked: one graph, a bundle of it, and requests as each protocol has them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from common import PIXELS, random_network, random_pixels

from hybridge.codecs.codec import codec_named
from hybridge.design.export.onnx import freeze
from hybridge.plan.answers import Newest
from hybridge.plan.bundle import save_bundle
from hybridge.plan.plan import Leaf, Plan, Step
from hybridge.plan.program import Program
from hybridge.runtime.wire import checksum, oip
from hybridge.runtime.wire.message import Message


@dataclass(frozen=True)
class Request:
    """One request, in files.

    Attributes:
        rows: Rows of it.
        pixels: The rows.
        grpc: File with a message of the Open Inference Protocol, as our edge sends it.
        http: File with the rows as they are.
    """

    rows: int
    pixels: np.ndarray
    grpc: Path
    http: Path


def write_program(network: str, seed: int, folder: Path) -> Program:
    """Write a network of ten classes with random weights: time does not know."""
    return freeze(random_network(network, seed), "global", PIXELS, ("logits",), None, folder)


def write_bundle(program: Program, folder: Path) -> Path:
    """Write a bundle whose plan always asks for ``program``, and return its folder."""
    leaf = Leaf(combine=Newest(logits=f"{program.name}.logits"))
    feeds = {"pixels": "pixels"}
    root = Step(program=program.name, place="cloud", feeds=feeds, codec="raw", then=leaf)
    programs = {program.name: program}
    names = tuple(str(number) for number in range(program.outputs[0].shape[0]))
    plan = Plan(input=PIXELS, programs=programs, root=root, class_names=names, may_not_answer=True)
    save_bundle(plan, folder / "bundle")
    return folder / "bundle"


def message_of(program: Program, pixels: np.ndarray) -> Message:
    """Return ``(B, 32, 32, 3)`` pixels as a message."""
    return Message(program.name, program.sha256, {"pixels": codec_named("raw").encode(pixels)})


def write_request(program: Program, rows: int, seed: int, folder: Path) -> Request:
    """Write a request of random pixels."""
    pixels = random_pixels(rows, seed)
    request = oip.to_request(message_of(program, pixels))
    checksum.seal_request(request)
    files = folder / f"{rows}.grpc", folder / f"{rows}.http"
    files[0].write_bytes(request.SerializeToString())
    files[1].write_bytes(pixels.tobytes())
    return Request(rows, pixels, *files)
