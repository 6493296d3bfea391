"""The best tree that can be put together from branches that were met already.

Every branch of every tree that was scored has a known accuracy, and can be priced under every
type. So after each round the best tree over all of them costs arithmetic only, no evaluation. This
is more than the paper does with its memory pool of searched models.
"""

from collections.abc import Mapping, Sequence

from hybridge.design.modeltree.choices import (
    BlockChoice,
    Composition,
    Space,
    Tree,
    TypePath,
    branch_to,
    leaves,
)
from hybridge.design.modeltree.problem import TreeProblem
from hybridge.design.search.algorithm import Algorithm

Branch = tuple[BlockChoice, ...]


class Pool:
    """Branches that were met, as a tree of what may follow what.

    Args:
        problem: Prices branches.
    """

    def __init__(self, problem: TreeProblem) -> None:
        self.problem = problem
        self._after: dict[Branch, dict[BlockChoice, None]] = {}
        self._accuracy: dict[Branch, float] = {}

    def add(self, tree: Tree, measures: Mapping[Composition, float]) -> None:
        """Take in the branches of a tree, all of whose parts are measured."""
        space: Space = self.problem.space
        for path in leaves(space, tree):
            branch = branch_to(tree, path)
            if branch in self._accuracy:
                continue
            self._accuracy[branch] = measures[space.composition(branch)]
            for level, choice in enumerate(branch):
                self._after.setdefault(branch[:level], {})[choice] = None

    def best_tree(self) -> Tree:
        """Return the tree with the highest expected reward of all that these branches make."""
        tree: dict[TypePath, BlockChoice] = {}
        chosen: dict[Branch, list[BlockChoice]] = {}
        self._value((), 0.0, chosen)
        self._grow((), (), chosen, tree)
        return tree

    def _value(
        self, branch: Branch, so_far_ms: float, chosen: dict[Branch, list[BlockChoice]]
    ) -> float:
        """Return the expected reward after some blocks, noting the best choice of each type."""
        kinds = range(self.problem.space.types)
        best: list[tuple[float, BlockChoice]] = []
        for choice in self._after[branch]:
            longer = (*branch, choice)
            took_ms = [
                so_far_ms + self.problem.step_ms(len(branch), choice, kind) for kind in kinds
            ]
            if longer in self._accuracy:
                accuracy = self._accuracy[longer]
                worths = [self.problem.worth(ms, accuracy) for ms in took_ms]
            else:
                worths = [self._value(longer, took_ms[0], chosen)] * len(kinds)
            found = [(worth, choice) for worth in worths]
            best = [max(pair, key=_worth) for pair in zip(best or found, found, strict=True)]
        chosen[branch] = [choice for _, choice in best]
        return sum(worth for worth, _ in best) / len(best)

    def _grow(
        self,
        path: TypePath,
        branch: Branch,
        chosen: Mapping[Branch, Sequence[BlockChoice]],
        tree: dict[TypePath, BlockChoice],
    ) -> None:
        for kind, choice in enumerate(chosen[branch]):
            tree[*path, kind] = choice
            if (*branch, choice) not in self._accuracy:
                self._grow((*path, kind), (*branch, choice), chosen, tree)


class Grafting:
    """An algorithm that, after every round of another, asks for the best tree of what was met.

    Args:
        problem: What is searched.
        inner: Proposes trees.
    """

    def __init__(self, problem: TreeProblem, inner: Algorithm[Tree, Composition]) -> None:
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


def _worth(pair: tuple[float, BlockChoice]) -> float:
    return pair[0]
