"""Plans whose programs have a price, most of them without a file."""

from hybridge.plan.answers import Newest
from hybridge.plan.choosers import ScoreThreshold
from hybridge.plan.layers import Layer
from hybridge.plan.plan import Fork, Leaf, Plan, Step
from hybridge.plan.program import Program
from plan_strategies import OUTPUTS, X


def conv(macs: int) -> Layer:
    """A convolution of so many multiply-accumulates."""
    return Layer(name="l", kind="conv", kernel=3, macs=macs, parameters=9, output_bytes=4)


def with_macs(plan: Plan, **macs: int) -> Plan:
    """Return ``plan`` with one layer in each program, of so many multiply-accumulates."""
    programs = {
        name: program.model_copy(update={"layers": (conv(macs.get(name, 1_000_000)),)})
        for name, program in plan.programs.items()
    }
    return plan.model_copy(update={"programs": programs})


def outline(name: str, macs: int) -> Program:
    """A program without a file: a candidate of a search."""
    return Program(
        name=name,
        sha256="0" * 64,
        size_bytes=0,
        inputs=(X,),
        outputs=OUTPUTS,
        layers=(conv(macs),),
    )


def tree_plan() -> Plan:
    """Block a, then an answer, the cloud, or block b; then block c or the cloud, perhaps twice.

    Leaves: ``a`` (0,); ``c`` (1, 0); ``rest`` (1, 1, 0); ``late`` (1, 1, 1); ``far`` (2,).
    """

    def step(name: str, place: str, then: object) -> Step:
        return Step(program=name, place=place, feeds={"x": "x"}, then=then)

    def leaf(name: str) -> Leaf:
        return Leaf(combine=Newest(logits=f"{name}.logits"))

    def fork(*children: object) -> Fork:
        return Fork(chooser=ScoreThreshold(), children=children, home=0)

    below_rest = fork(leaf("rest"), step("late", "cloud", leaf("late")))
    below_b = fork(step("c", "edge", leaf("c")), step("rest", "cloud", below_rest))
    below_a = fork(leaf("a"), step("b", "edge", below_b), step("far", "cloud", leaf("far")))
    millions = {"a": 1, "b": 2, "c": 4, "rest": 100, "late": 1000, "far": 200}
    programs = {name: outline(name, million * 10**6) for name, million in millions.items()}
    return Plan(input=X, programs=programs, root=step("a", "edge", below_a))
