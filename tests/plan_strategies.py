"""Random plans, without files."""

from hypothesis import strategies as st

from hybridge.hashing import hash_bytes
from hybridge.plan.answers import Abstain, Combine, Fused, Newest
from hybridge.plan.choosers import ByBandwidth, ScoreThreshold
from hybridge.plan.plan import Fork, Leaf, Node, Plan, Step
from hybridge.plan.program import Program
from hybridge.plan.tensors import TensorSpec

X = TensorSpec(name="x", dtype="float32", shape=(4,))
OUTPUTS = (
    TensorSpec(name="features", dtype="float32", shape=(4,)),
    TensorSpec(name="logits", dtype="float32", shape=(3,)),
    TensorSpec(name="score", dtype="float32", shape=()),
)
MAX_DEPTH = 4


def choosers(children: int) -> st.SearchStrategy[ByBandwidth | ScoreThreshold]:
    """Choosers of a fork with so many children; not all of them need be for a bandwidth."""
    by_score = st.floats(allow_nan=False).map(lambda found: ScoreThreshold(threshold=found))
    borders = st.lists(st.floats(1e3, 1e6), max_size=children - 1)
    return by_score | borders.map(lambda found: ByBandwidth(borders_bps=tuple(sorted(found))))


@st.composite
def plans(draw: st.DrawFn, may_not_answer: bool = False) -> Plan:
    """Draw a plan; without ``may_not_answer`` every cloud step in it has a home."""
    programs: dict[str, Program] = {}

    def step(run: tuple[str, ...], depth: int, sheltered: bool, in_home: bool) -> Step:
        name = f"p{len(programs)}"
        programs[name] = Program(
            name=name,
            sha256=hash_bytes(name.encode()),
            size_bytes=1,
            inputs=(X,),
            outputs=OUTPUTS,
        )
        may_ask = (sheltered or may_not_answer) and not in_home
        place = draw(st.sampled_from(["edge", "cloud"])) if may_ask else "edge"
        fed = draw(st.sampled_from(["x", *(f"{earlier}.features" for earlier in run)]))
        then = node((*run, name), depth + 1, sheltered, in_home)
        return Step(program=name, place=place, feeds={"x": fed}, then=then)

    def fork(run: tuple[str, ...], depth: int, sheltered: bool, in_home: bool) -> Fork:
        count = draw(st.integers(2, 3))
        home = draw(st.none() | st.integers(0, count - 1))
        children = tuple(
            node(run, depth + 1, sheltered or home is not None, in_home or index == home)
            for index in range(count)
        )
        return Fork(chooser=draw(choosers(count)), children=children, home=home)

    def leaf(run: tuple[str, ...], in_home: bool) -> Leaf:
        logits = st.sampled_from([f"{name}.logits" for name in run])
        combine: Combine = Newest(logits=draw(logits))
        kind = draw(st.sampled_from(["newest", "fused", "abstain"]))
        if kind == "fused":
            combine = Fused(
                base=draw(logits), global_=draw(logits), base_weight=draw(st.floats(0, 1))
            )
        elif kind == "abstain" and not in_home:
            combine = Abstain(logits=draw(logits))
        return Leaf(combine=combine)

    def node(run: tuple[str, ...], depth: int, sheltered: bool, in_home: bool) -> Node:
        if not run:
            return step(run, depth, sheltered, in_home)
        kind = draw(st.sampled_from(["leaf", "step", "fork"])) if depth < MAX_DEPTH else "leaf"
        if kind == "step":
            return step(run, depth, sheltered, in_home)
        if kind == "fork":
            return fork(run, depth, sheltered, in_home)
        return leaf(run, in_home)

    root = node((), 0, sheltered=False, in_home=False)
    return Plan(input=X, programs=programs, root=root, may_not_answer=may_not_answer)
