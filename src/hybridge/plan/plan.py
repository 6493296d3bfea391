"""The plan: a tree of programs, each at a place, with a chooser at every fork.

Values are passed by name. A plan's input is the value ``pixels`` (or what its spec calls it);
output ``y`` of program ``p`` is the value ``p.y``. All wiring is checked at construction.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field, model_validator

from hybridge.errors import PlanError, did_you_mean
from hybridge.plan.answers import Abstain, Combine
from hybridge.plan.choosers import Chooser, ScoreThreshold
from hybridge.plan.program import Program
from hybridge.plan.tensors import Frozen, Geometry, TensorSpec

Place = Literal["edge", "cloud"]
Path = tuple[int, ...]
"""Where a node stands: the child taken at every fork from the root."""


class Leaf(Frozen):
    """The end of a branch: how to answer."""

    kind: Literal["leaf"] = "leaf"
    combine: Combine


class Step(Frozen):
    """Run a program at a place.

    Attributes:
        program: Name of a program of the plan.
        place: Where it runs.
        feeds: Name of the value for each of the program's inputs.
        codec: How the fed values are encoded on their way to the cloud.
        then: What follows.
    """

    kind: Literal["step"] = "step"
    program: str
    place: Place
    feeds: dict[str, str]
    codec: str = "raw"
    then: "Node"


class Fork(Frozen):
    """Choose a child.

    Attributes:
        chooser: Pure function from what is known to a child.
        children: At least two ways to go on.
        home: The child that answers on the edge where the cloud does not, or None.
    """

    kind: Literal["fork"] = "fork"
    chooser: Chooser
    children: Annotated[tuple["Node", ...], Field(min_length=2)]
    home: int | None = None


Node = Annotated[Step | Fork | Leaf, Field(discriminator="kind")]
Step.model_rebuild()
Fork.model_rebuild()


@dataclass(frozen=True)
class Placed:
    """A node with the place it has in its plan.

    Attributes:
        path: Children taken from the root to reach it.
        node: The node itself.
    """

    path: Path
    node: Node


class Plan(Frozen):
    """A tree of programs and forks over one input.

    Raises `PlanError` at construction where a program or value is unknown, a value is used before
    it is computed or computed twice on a branch, shapes do not fit, a fork has fewer children than
    its chooser tells apart, ``home`` does not lead to an edge answer, or a cloud step has no fork
    with a home above it (unless ``may_not_answer``).

    A program's output called ``score`` is its router's score, a float32 scalar for each input.

    Attributes:
        input: Signature of the plan's input; its name is the name of the value.
        programs: Every program, by name.
        root: Where the walk begins.
        class_names: Name of each class, in the order of the logits.
        may_not_answer: Whether a plan that cannot answer without the cloud is accepted.
    """

    input: TensorSpec
    programs: dict[str, Program]
    root: Node
    class_names: tuple[str, ...] = ()
    may_not_answer: bool = False

    @model_validator(mode="after")
    def _check(self) -> "Plan":
        for name, program in self.programs.items():
            if program.name != name:
                raise PlanError(f"program {program.name!r} stands in the plan as {name!r}")
        self._check_node(self.root, {self.input.name: self.input}, sheltered=self.may_not_answer)
        if self.geometry is not None and self.geometry.shape != self.input.shape:
            raise PlanError(
                f"input {self.input.name!r} is {self.input.shape}, but the programs that read it "
                f"take images of {self.geometry.shape}"
            )
        return self

    def _check_node(self, node: Node, values: dict[str, TensorSpec], sheltered: bool) -> None:
        match node:
            case Leaf():
                self._check_leaf(node, values)
            case Step():
                if node.place == "cloud" and not sheltered:
                    raise PlanError(
                        f"cloud step {node.program!r} has no fork with a home child above it, so "
                        "there may be no answer; add one, or accept it with may_not_answer=True"
                    )
                computed = self._check_step(node, values)
                self._check_node(node.then, values | computed, sheltered)
            case Fork():
                _check_fork(node, values)
                for child in node.children:
                    self._check_node(child, values, sheltered or node.home is not None)

    def _check_step(self, step: Step, values: dict[str, TensorSpec]) -> dict[str, TensorSpec]:
        program = self.programs.get(step.program)
        if program is None:
            hint = did_you_mean(step.program, self.programs)
            raise PlanError(f"the plan has no program {step.program!r}{hint}")
        if set(step.feeds) != {spec.name for spec in program.inputs}:
            raise PlanError(
                f"program {program.name!r} takes {sorted(spec.name for spec in program.inputs)}, "
                f"but is fed {sorted(step.feeds)}"
            )
        for spec in program.inputs:
            value = _known(step.feeds[spec.name], values, f"program {program.name!r}")
            if (value.dtype, value.shape) != (spec.dtype, spec.shape):
                raise PlanError(
                    f"program {program.name!r} takes {spec.name!r} as {spec.dtype} {spec.shape}, "
                    f"but {step.feeds[spec.name]!r} is {value.dtype} {value.shape}"
                )
        computed = {f"{program.name}.{spec.name}": spec for spec in program.outputs}
        if computed.keys() & values.keys():
            raise PlanError(f"program {program.name!r} runs twice on one branch; run it once")
        for name, spec in computed.items():
            if _is_score(name) and (spec.dtype, spec.shape) != ("float32", ()):
                raise PlanError(f"{name!r} must be float32 (), but is {spec.dtype} {spec.shape}")
        return computed

    def _check_leaf(self, leaf: Leaf, values: dict[str, TensorSpec]) -> None:
        classes = len(self.class_names) or None
        for name in leaf.combine.needs:
            shape = _known(name, values, "leaf").shape
            if len(shape) != 1 or shape[0] != (classes or shape[0]):
                raise PlanError(
                    f"a leaf answers with one logit for each of {classes or 'C'} classes, "
                    f"but {name!r} has shape {shape}"
                )
            classes = shape[0]

    @cached_property
    def geometry(self) -> Geometry | None:
        """How an image becomes the plan's input; None where the input is not an image."""
        found = {
            self.programs[step.program].geometry
            for _, step in self.steps()
            if self.input.name in step.feeds.values()
        } - {None}
        if len(found) > 1:
            raise PlanError(f"programs read {self.input.name!r} with different geometries: {found}")
        return next(iter(found), None)

    def nodes(self) -> Iterator[Placed]:
        """Yield every node from the root down, depth first."""
        yield from _nodes((), self.root)

    def steps(self, place: Place | None = None) -> Iterator[tuple[Path, Step]]:
        """Yield every step with its path, depth first; only those at ``place`` where given."""
        for placed in self.nodes():
            if isinstance(placed.node, Step) and place in (None, placed.node.place):
                yield placed.path, placed.node

    def leaves(self) -> Iterator[tuple[Path, Leaf]]:
        """Yield every leaf with its path, depth first."""
        for placed in self.nodes():
            if isinstance(placed.node, Leaf):
                yield placed.path, placed.node

    def home_leaf(self, path: Path) -> Path | None:
        """Return the leaf where a walk that ends at ``path`` would have ended without the cloud.

        None where no fork above has a home, or where programs would have to run there first.
        """
        # Of the nodes at one path, the last is what its steps lead to.
        ends = {placed.path: placed.node for placed in self.nodes()}
        for depth in reversed(range(len(path))):
            fork = ends[path[:depth]]
            if isinstance(fork, Fork) and fork.home is not None:
                answers_at_once = isinstance(fork.children[fork.home], Leaf)
                return (*path[:depth], fork.home) if answers_at_once else None
        return None

    def programs_at(self, place: Place) -> list[Program]:
        """Return the distinct programs that run at ``place``, in the order they are met."""
        met: dict[str, Program] = {}
        for _, step in self.steps(place):
            met.setdefault(step.program, self.programs[step.program])
        return list(met.values())


def _nodes(path: Path, node: Node) -> Iterator[Placed]:
    yield Placed(path, node)
    match node:
        case Step():
            yield from _nodes(path, node.then)
        case Fork():
            for index, child in enumerate(node.children):
                yield from _nodes((*path, index), child)


def _is_score(name: str) -> bool:
    return name.endswith(".score")


def _known(name: str, values: dict[str, TensorSpec], reader: str) -> TensorSpec:
    if name not in values:
        raise PlanError(
            f"{reader} reads {name!r}, which is not computed above it{did_you_mean(name, values)}"
        )
    return values[name]


def _check_fork(fork: Fork, values: dict[str, TensorSpec]) -> None:
    if fork.home is not None:
        _check_home(fork)
    if isinstance(fork.chooser, ScoreThreshold) and not any(map(_is_score, values)):
        raise PlanError(
            "a score_threshold fork needs a program with a 'score' output above it, "
            f"but there are only {sorted(values)}"
        )
    if len(fork.children) < fork.chooser.least_children:
        raise PlanError(
            f"a fork by {fork.chooser.kind} may take child {fork.chooser.least_children - 1}, "
            f"but has only {len(fork.children)} children"
        )


def _check_home(fork: Fork) -> None:
    assert fork.home is not None
    if not 0 <= fork.home < len(fork.children):
        raise PlanError(f"home {fork.home} is not one of {len(fork.children)} children")
    for placed in _nodes((), fork.children[fork.home]):
        node = placed.node
        if isinstance(node, Step) and node.place == "cloud":
            raise PlanError(f"the home child asks the cloud (program {node.program!r})")
        if isinstance(node, Leaf) and isinstance(node.combine, Abstain):
            raise PlanError("the home child abstains; it must lead to an edge answer")
