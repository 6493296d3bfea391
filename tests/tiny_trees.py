"""A tiny model tree with real programs: three blocks, two types of bandwidth."""

from pathlib import Path

from hybridge.plan.answers import Newest
from hybridge.plan.choosers import ByBandwidth
from hybridge.plan.plan import Fork, Leaf, Node, Place, Plan, Step
from hybridge.plan.program import Program
from hybridge.plan.tensors import TensorSpec
from priced_plans import conv
from tiny_plans import LOGITS, NAMES, PIXELS, VECTOR, write_program

#: Bit/s: a tiny image takes 48 ms at 8,000.
BORDER_BPS = 6000.0
GIVEN = TensorSpec(name="given", dtype="float32", shape=VECTOR.shape)
#: Millions of multiply-accumulates: one takes 0.2 ms on the xiaomi-mi6x.
MILLIONS = {
    "slim1": 4,
    "slim2": 8,
    "slim3": 12,
    "block1": 20,
    "block2": 30,
    "block3": 40,
    "front2": 6,
    "whole": 90,
    "rest2": 60,
    "rest3": 40,
}

HOME_PATHS = ((2,), (0, 2), (0, 0, 2))
"""Where the homes lie, from the root down."""


def tree_plan(folder: Path, border_bps: float = BORDER_BPS) -> Plan:
    """Three forks in a row where the link is poor; the cloud wherever it is good.

    Leaves: ``slim3`` (0, 0, 0); ``rest3``, sent features, (0, 0, 1); ``rest2``, sent features of a
    part of block 2, (0, 1); ``whole``, sent the image, (1,); and a home at each fork.
    """

    def fork(poor: Node, good: Node, home: Node) -> Fork:
        chooser = ByBandwidth(borders_bps=(border_bps,))
        return Fork(chooser=chooser, children=(poor, good, home), home=2)

    third = fork(
        run("slim3", "slim2"), run("rest3", "slim2", place="cloud"), run("block3", "slim2")
    )
    second = fork(
        run("slim2", "slim1", then=third),
        run("front2", "slim1", then=run("rest2", "front2", place="cloud")),
        run("block2", "slim1", then=run("block3", "block2")),
    )
    home = run("block1", then=run("block2", "block1", then=run("block3", "block2")))
    first = fork(run("slim1", then=second), run("whole", place="cloud"), home)
    return Plan(input=PIXELS, programs=_programs(folder), root=first, class_names=NAMES)


def run(name: str, after: str | None = None, *, place: Place = "edge", then: Node | None = None):
    """A step fed the features of another, or the image; it answers where nothing follows."""
    return Step(
        program=name,
        place=place,
        feeds={"pixels": "pixels"} if after is None else {"given": f"{after}.features"},
        codec="webp" if after is None else "int8-zstd",
        then=then or Leaf(combine=Newest(logits=f"{name}.logits")),
    )


def _programs(folder: Path) -> dict[str, Program]:
    found = {}
    for seed, (name, millions) in enumerate(MILLIONS.items()):
        reads = PIXELS if name in ("slim1", "block1", "whole") else GIVEN
        ends = name in ("slim3", "block3", "whole", "rest2", "rest3")
        program = write_program(folder, name, reads, (LOGITS if ends else VECTOR,), seed)
        found[name] = program.model_copy(update={"layers": (conv(millions * 10**6),)})
    return found


def fork_once(folder: Path) -> Plan:
    """One fork below a block: go on there, or send its features; a home beside them."""
    programs = _programs(folder)
    children = (run("slim3", "slim1"), run("rest3", "slim1", place="cloud"), run("block3", "slim1"))
    fork = Fork(chooser=ByBandwidth(borders_bps=(BORDER_BPS,)), children=children, home=2)
    return Plan(input=PIXELS, programs=programs, root=run("slim1", then=fork), class_names=NAMES)
