"""Trees drawn at random: each by itself, or as changes to the best so far."""

from collections.abc import Mapping, Sequence

import torch
from pydantic import Field

from hybridge.design.modeltree.choices import BlockChoice, Composition, Space, Tree, TypePath
from hybridge.design.modeltree.problem import TreeProblem
from hybridge.plan.tensors import Frozen


class RandomSettings(Frozen):
    """How trees are drawn at random.

    Attributes:
        episodes: Trees drawn.
        fair_share: A block on level ``n`` of ``N`` is left whole with probability
            ``fair_share·(N - n)/N``; else every position is as likely as another.
        graft: Whether the best tree of all branches met so far is asked for after each; see
            `hybridge.design.modeltree.grafting`.
    """

    episodes: int = Field(default=400, gt=0)
    fair_share: float = Field(default=0.8, ge=0, le=1)
    graft: bool = False


class EpsilonGreedySettings(RandomSettings):
    """How the best tree is changed.

    Attributes:
        epsilon: How likely each block is drawn anew, at first.
        least_epsilon: The same in the last episode; falls geometrically.
    """

    epsilon: float = Field(default=1.0, gt=0, le=1)
    least_epsilon: float = Field(default=0.05, gt=0, le=1)


class Random:
    """Draws every tree by itself.

    Args:
        problem: What is searched.
        seed: Of the draws.
        settings: How trees are drawn.
    """

    def __init__(self, problem: TreeProblem, seed: int, settings: RandomSettings) -> None:
        self.settings = settings
        self._draws = _Draws(problem.space, seed, settings.fair_share)
        self._told = 0

    @property
    def done(self) -> bool:
        """Whether all episodes are over."""
        return self._told >= self.settings.episodes

    def ask(self) -> list[Tree]:
        """Return one tree."""
        return [self._draws.tree({}, epsilon=1.0)]

    def tell(
        self,
        candidates: Sequence[Tree],
        scores: Sequence[float],
        measures: Mapping[Composition, float],
    ) -> None:
        """Count; nothing is learned."""
        self._told += len(candidates)


class EpsilonGreedy:
    """Draws every block of the best tree so far anew, with a probability that decays.

    Args:
        problem: What is searched.
        seed: Of the draws.
        settings: How trees are changed.
    """

    def __init__(self, problem: TreeProblem, seed: int, settings: EpsilonGreedySettings) -> None:
        self.settings = settings
        self._draws = _Draws(problem.space, seed, settings.fair_share)
        self._best: Tree = {}
        self._best_score = float("-inf")
        self._told = 0

    @property
    def done(self) -> bool:
        """Whether all episodes are over."""
        return self._told >= self.settings.episodes

    def ask(self) -> list[Tree]:
        """Return the best tree, changed."""
        first, last = self.settings.epsilon, self.settings.least_epsilon
        over = self._told / max(1, self.settings.episodes - 1)
        return [self._draws.tree(self._best, first * (last / first) ** over)]

    def tell(
        self,
        candidates: Sequence[Tree],
        scores: Sequence[float],
        measures: Mapping[Composition, float],
    ) -> None:
        """Go on from a tree that is no worse than the best."""
        self._told += len(candidates)
        for tree, score in zip(candidates, scores, strict=True):
            if score >= self._best_score:
                self._best, self._best_score = tree, score


class _Draws:
    """Draws choices, every one as likely as another but for fair chances."""

    def __init__(self, space: Space, seed: int, fair_share: float) -> None:
        self.space, self.fair_share = space, fair_share
        self._generator = torch.Generator().manual_seed(seed)

    def tree(self, kept: Tree, epsilon: float) -> Tree:
        """Return a tree whose blocks are those of ``kept``, each drawn anew with ``epsilon``."""
        tree: dict[TypePath, BlockChoice] = {}
        for path in self.space.paths():
            above = path[:-1]
            if above and (above not in tree or tree[above].cut is not None):
                continue
            anew = path not in kept or self._share() < epsilon
            tree[path] = self._choice(len(path) - 1) if anew else kept[path]
        return tree

    def _choice(self, level: int) -> BlockChoice:
        block = self.space.blocks[level]
        whole = self.fair_share * (self.space.levels - level - 1) / self.space.levels
        cut = None if self._share() < whole else block.positions[self._below(len(block.positions))]
        allowed = [block.allowed(slot, cut) for slot in range(block.slot_count(cut))]
        return BlockChoice(cut, tuple(some[self._below(len(some))] for some in allowed))

    def _share(self) -> float:
        return float(torch.rand((), generator=self._generator))

    def _below(self, count: int) -> int:
        return int(torch.randint(count, (), generator=self._generator))
