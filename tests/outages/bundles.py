"""A bundle whose messages are long enough to be cut in the middle, and what is right about it."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hybridge.plan.answers import Newest
from hybridge.plan.bundle import save_bundle
from hybridge.plan.choosers import ScoreThreshold
from hybridge.plan.plan import Fork, Leaf, Plan, Step
from hybridge.plan.tensors import TensorSpec
from hybridge.runtime.sessions import ProgramSession
from tiny_plans import LOGITS, NAMES, SCORE, write_program

VECTOR = TensorSpec(name="x", dtype="float32", shape=(3072,))
INPUTS = 64


@dataclass(frozen=True)
class Stage:
    """Two bundles of one name, and the inputs that are asked about.

    Attributes:
        bundle: The folder of the bundle that both ends have at first; it sends every input.
        other: The folder of another version of it.
        inputs: ``(N, 3072)`` float32.
        base: What the edge says of each: ``(N, C)`` logits.
        global_: What the cloud says of each: ``(N, C)`` logits.
    """

    bundle: Path
    other: Path
    inputs: np.ndarray
    base: np.ndarray
    global_: np.ndarray


def make_stage(folder: Path) -> Stage:
    """Write the bundles, and return all of it."""
    plans = []
    for number, name in enumerate(("one", "two")):
        (folder / name).mkdir()
        plans.append(_plan(folder / name, seed=10 * number))
        save_bundle(plans[-1], folder / f"{name}-bundle")
    inputs = np.random.default_rng(0).normal(size=(INPUTS, 3072)).astype(np.float32)
    said = {
        name: ProgramSession(plans[0].programs[name]).run({"x": inputs})["logits"]
        for name in ("base", "global")
    }
    bundles = folder / "one-bundle", folder / "two-bundle"
    return Stage(*bundles, inputs, said["base"], said["global"])


def _plan(folder: Path, seed: int) -> Plan:
    base = write_program(folder, "base", VECTOR, (LOGITS, SCORE), seed=1)
    global_ = write_program(folder, "global", VECTOR, (LOGITS,), seed=2 + seed)
    ask = Step(
        program="global",
        place="cloud",
        feeds={"x": "x"},
        codec="raw",
        then=Leaf(combine=Newest(logits="global.logits")),
    )
    fork = Fork(
        chooser=ScoreThreshold(threshold=-math.inf),
        children=(Leaf(combine=Newest(logits="base.logits")), ask),
        home=0,
    )
    root = Step(program="base", place="edge", feeds={"x": "x"}, then=fork)
    programs = {"base": base, "global": global_}
    return Plan(input=VECTOR, programs=programs, root=root, class_names=NAMES)
