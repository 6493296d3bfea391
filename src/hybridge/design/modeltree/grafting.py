"""The best tree that can be put together from branches that were met already.

Every branch of every tree that was scored has a known accuracy, and can be priced under every
type. So after each round the best tree over all of them costs arithmetic only, no evaluation. This
is more than the paper does with its memory pool of searched models.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hybridge.design.modeltree.choices import (
    BlockChoice,
    Composition,
    Tree,
    TypePath,
    branch_to,
    leaves,
)
from hybridge.design.modeltree.problem import TreeProblem
from hybridge.design.search.algorithm import Algorithm


@dataclass(slots=True)
class _Node:
    """What followed some blocks in trees that were met.

    Attributes:
        after: Nodes after one more block.
        best: For each type, the choice that is worth most, and what it is worth.
    """

    after: dict[BlockChoice, "_Node"] = field(default_factory=dict)
    best: list[tuple[float, BlockChoice]] = field(default_factory=list)


class Pool:
    """Branches that were met, as a tree of what may follow what.

    What a branch is worth never changes, and a new one can only raise what stands above it: so the
    best choices are kept up to date as branches come in.

    Args:
        problem: Prices branches.
    """

    def __init__(self, problem: TreeProblem) -> None:
        self.problem = problem
        self._root = _Node()
        self._met: set[tuple[BlockChoice, ...]] = set()

    def add(self, tree: Tree, measures: Mapping[Composition, float]) -> None:
        """Take in the branches of a tree, all of whose parts are measured."""
        space = self.problem.space
        for path in leaves(space, tree):
            branch = branch_to(tree, path)
            if branch not in self._met:
                self._met.add(branch)
                self._insert(branch, measures[space.composition(branch)])

    def best_tree(self) -> Tree:
        """Return the tree with the highest expected reward of all that these branches make."""
        tree: dict[TypePath, BlockChoice] = {}
        self._grow((), self._root, tree)
        return tree

    def _insert(self, branch: Sequence[BlockChoice], accuracy: float) -> None:
        kinds = range(self.problem.space.types)
        nodes = [self._root]
        for choice in branch:
            nodes.append(nodes[-1].after.setdefault(choice, _Node()))
        worths = [
            self.problem.worth(self.problem.latency_ms(branch, kind), accuracy) for kind in kinds
        ]
        for node, choice in zip(reversed(nodes[:-1]), reversed(branch), strict=True):
            found = [(worth, choice) for worth in worths]
            pairs = zip(node.best or found, found, strict=True)
            node.best = [new if new[0] > old[0] else old for old, new in pairs]
            worths = [sum(worth for worth, _ in node.best) / len(kinds)] * len(kinds)

    def _grow(self, path: TypePath, node: _Node, tree: dict[TypePath, BlockChoice]) -> None:
        for kind, (_, choice) in enumerate(node.best):
            tree[*path, kind] = choice
            self._grow((*path, kind), node.after[choice], tree)


class Grafting:
    """An algorithm that, after every round of another, asks for the best tree of what was met.

    Args:
        problem: What is searched.
        inner: Proposes trees.
    """

    def __init__(self, problem: TreeProblem, inner: Algorithm[Tree, Composition, float]) -> None:
        self.inner, self.pool = inner, Pool(problem)
        self._graft: list[Tree] = []

    @property
    def done(self) -> bool:
        """Whether the other algorithm is, and its last round is grafted."""
        return self.inner.done and not self._graft

    def ask(self) -> list[Tree]:
        """Return the graft of the last round, then the next trees."""
        if self.inner.done:
            return self._graft
        return [*self._graft, *self.inner.ask()]

    def tell(
        self,
        candidates: Sequence[Tree],
        scores: Sequence[float],
        measures: Mapping[Composition, float],
    ) -> None:
        """Graft what the other algorithm proposed, and tell it."""
        own = len(self._graft)
        self._graft = []
        if len(candidates) > own:
            for tree in candidates[own:]:
                self.pool.add(tree, measures)
            self.inner.tell(candidates[own:], scores[own:], measures)
            self._graft = [self.pool.best_tree()]
