"""From a tree of choices to a plan: the only door (model tree, algorithm 2).

Letters: ``K`` types of bandwidth, ``N`` blocks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hybridge.design.modeltree.choices import (
    KEEP,
    BlockChoice,
    Composition,
    Space,
    Tree,
    TypePath,
    branch_to,
)
from hybridge.design.modeltree.programs import ProgramMaker
from hybridge.plan.answers import Newest
from hybridge.plan.choosers import Always, ByBandwidth
from hybridge.plan.plan import Fork, Leaf, Node, Path, Plan, Step

FEATURE_CODEC = "int8-zstd"
IMAGE_CODEC = "webp"

Home = Callable[[Sequence[BlockChoice]], Sequence[BlockChoice]]
"""What to do on the edge, block by block, after some blocks, if the cloud does not answer."""


@dataclass(frozen=True)
class Ending:
    """What a leaf of a plan answers with.

    Attributes:
        composition: What became of every unit on the way there.
        cut: The unit before which the network went on in the cloud, or None.
        asks_at: Path of the cloud step, or None.
    """

    composition: Composition
    cut: int | None
    asks_at: Path | None


@dataclass(frozen=True)
class TreePlan:
    """A model tree as a plan.

    Attributes:
        plan: The plan.
        endings: What each of its leaves answers with, by path.
    """

    plan: Plan
    endings: dict[Path, Ending]


def keep_all(space: Space, branch: Sequence[BlockChoice]) -> tuple[BlockChoice, ...]:
    """Return the home that keeps every layer that is left."""
    return tuple(
        BlockChoice(None, (KEEP,) * len(block.slots)) for block in space.blocks[len(branch) :]
    )


def make_plan(
    space: Space,
    tree: Tree,
    borders_bps: Sequence[float],
    programs: ProgramMaker,
    home: Home | None = None,
    *,
    image_codec: str = IMAGE_CODEC,
    class_names: Sequence[str] = (),
) -> TreePlan:
    """Return the plan that walks a tree.

    Every fork of the tree chooses by bandwidth. Below a fork where a branch asks the cloud, one
    more child goes home: it runs what is left on the edge. Children that are all the same need no
    fork by bandwidth.

    Args:
        space: Of the tree.
        tree: The choices.
        borders_bps: ``(K - 1,)`` bandwidths at which one type becomes the next.
        programs: What makes the programs.
        home: What to do on the edge where the cloud does not answer; by default all that is left
            is kept as it is.
        image_codec: How images cross.
        class_names: Name of each class.

    Raises:
        ConfigError: The tree is not one over the space.
    """
    space.check(tree)
    if home is None:

        def home(branch: Sequence[BlockChoice]) -> Sequence[BlockChoice]:
            return keep_all(space, branch)

    maker = _Maker(space, tree, tuple(borders_bps), programs, home, image_codec)
    root = maker.fork((), ())
    plan = Plan(
        input=programs.input,
        programs=maker.programs.made,
        root=root,
        class_names=tuple(class_names),
    )
    leaves = {path for path, _ in plan.leaves()}
    return TreePlan(plan, {path: end for path, end in maker.endings.items() if path in leaves})


@dataclass
class _Maker:
    space: Space
    tree: Tree
    borders_bps: tuple[float, ...]
    programs: ProgramMaker
    home: Home
    image_codec: str
    endings: dict[Path, Ending] = field(default_factory=dict)

    def fork(self, types: TypePath, path: Path) -> Node:
        """Return what follows after the blocks at ``types``, to stand at ``path``."""
        kinds = range(self.space.types)
        if self._same_below(types):
            # One child for all: where nothing is asked of the cloud, there is nothing to choose.
            if not self._asks((*types, 0)):
                return self._block((*types, 0), path)
            children = [self._block((*types, 0), (*path, 0))]
            chooser: Always | ByBandwidth = Always(child=0)
        else:
            children = [self._block((*types, kind), (*path, kind)) for kind in kinds]
            chooser = ByBandwidth(borders_bps=self.borders_bps)
        if not any(self._asks((*types, kind)) for kind in kinds):
            return Fork(chooser=chooser, children=tuple(children))
        before = branch_to(self.tree, types)
        at = (*path, len(children))
        children.append(self._straight((*before, *self.home(before)), len(before), at))
        return Fork(chooser=chooser, children=tuple(children), home=len(children) - 1)

    def _block(self, types: TypePath, path: Path) -> Node:
        branch = branch_to(self.tree, types)
        choice = branch[-1]
        if choice.cut is None and len(types) < self.space.levels:
            return self._edge(branch, len(types) - 1, self.fork(types, path))
        return self._ending(branch, path)

    def _straight(self, branch: Sequence[BlockChoice], done: int, path: Path) -> Node:
        """Return the blocks of ``branch`` after the first ``done``, one after another."""
        node = self._ending(branch, path)
        for level in reversed(range(done, len(branch) - 1)):
            node = self._edge(branch[: level + 1], level, node)
        return node

    def _ending(self, branch: Sequence[BlockChoice], path: Path) -> Node:
        """Return the last block of a branch, with its leaf."""
        level, choice = len(branch) - 1, branch[-1]
        composition = self.space.composition(branch)
        first = self._first(level)
        if choice.cut is None:
            self.endings[path] = Ending(composition, None, None)
            name = self.programs.edge(first, len(composition), composition)
            return self._edge(branch, level, Leaf(combine=Newest(logits=f"{name}.logits")))
        cut = first + choice.cut
        self.endings[path] = Ending(composition, cut, path)
        name = self.programs.cloud(cut, composition)
        step = Step(
            program=name,
            place="cloud",
            feeds=self._feeds(name, cut, composition),
            codec=FEATURE_CODEC if cut else self.image_codec,
            then=Leaf(combine=Newest(logits=f"{name}.logits")),
        )
        return self._edge(branch, level, step) if choice.cut else step

    def _edge(self, branch: Sequence[BlockChoice], level: int, then: Node) -> Node:
        composition = self.space.composition(branch)
        first, choice = self._first(level), branch[level]
        stop = self._first(level + 1) if choice.cut is None else first + choice.cut
        name = self.programs.edge(first, stop, composition)
        feeds = self._feeds(name, first, composition)
        return Step(program=name, place="edge", feeds=feeds, then=then)

    def _feeds(self, name: str, first: int, composition: Composition) -> dict[str, str]:
        """Return where a program that begins with unit ``first`` reads from."""
        spec = self.programs.made[name].inputs[0].name
        if first == 0:
            return {spec: self.programs.input.name}
        before = max(start for start in self._starts if start < first)
        return {spec: f"{self.programs.edge(before, first, composition)}.features"}

    def _first(self, level: int) -> int:
        return self._starts[level]

    @property
    def _starts(self) -> list[int]:
        counts = [len(block.units) for block in self.space.blocks]
        return [sum(counts[:level]) for level in range(len(counts) + 1)]

    def _same_below(self, types: TypePath) -> bool:
        """Return whether all types lead to the same, from here to the ends."""
        below = [self._below((*types, kind)) for kind in range(self.space.types)]
        return all(each == below[0] for each in below)

    def _below(self, types: TypePath) -> dict[TypePath, BlockChoice]:
        count = len(types)
        return {path[count:]: choice for path, choice in self.tree.items() if path[:count] == types}

    def _asks(self, types: TypePath) -> bool:
        return any(choice.cut is not None for choice in self._below(types).values())
