"""The best tree there is, found without measuring what cannot be part of it.

Of all trees the best follows from the last block backwards: with ``p`` the blocks before it,

    V(p, n) = mean over types k of max over choices c of
              worth(p, c, k) where c cuts or ends the network, else V(p + c, n + 1).

Accuracies that are not known yet are taken to be as high as they can be. The tree that is best by
these is asked for; what it lacks is measured, and the next is found. The first that is measured
already is the best of all: no other is worth as much even by what is hoped of it.

Letters: ``N`` blocks, ``K`` types of bandwidth, ``V`` variants of a block that runs whole on the
edge, ``C`` choices of a block that cut it.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from pydantic import Field

from hybridge.design.modeltree.choices import (
    KEEP,
    BlockChoice,
    BlockSpace,
    Composition,
    Tree,
    TypePath,
)
from hybridge.design.modeltree.problem import TreeProblem
from hybridge.errors import ConfigError
from hybridge.plan.tensors import Frozen

Floats = np.ndarray[Any, np.dtype[np.float64]]
Indices = np.ndarray[Any, np.dtype[np.int64]]
Index = tuple[int, ...]


class ExactSettings(Frozen):
    """How the best tree is searched.

    Attributes:
        ceiling: The highest accuracy that a composition can have, as a share; raised where one is
            measured that has a higher one.
        margin: The most that an accuracy can rise, as a share, when more layers are compressed; of
            no use where it is 1. The tree is the best only where this holds.
        compositions: Most compositions that a space may have.
    """

    ceiling: float = Field(default=1.0, gt=0, le=1)
    margin: float = Field(default=1.0, ge=0, le=1)
    compositions: int = Field(default=1_000_000, gt=0)


class Exact:
    """Asks for the tree that is best if all that is unknown is as good as can be, until none is.

    Args:
        problem: What is searched.
        settings: How accurate a composition can be.

    Raises:
        ConfigError: There are more compositions than the settings allow.
    """

    def __init__(self, problem: TreeProblem, settings: ExactSettings | None = None) -> None:
        self.settings = settings or ExactSettings()
        self.problem = problem
        self.outlook = Outlook(problem, self.settings)
        self.done = False

    def ask(self) -> list[Tree]:
        """Return the original, then always the tree of which most can be hoped."""
        if not self.outlook.known.any():
            return [self.outlook.original()]
        return [self.outlook.best_tree()]

    def tell(
        self,
        candidates: Sequence[Tree],
        scores: Sequence[float],
        measures: Mapping[Composition, float],
    ) -> None:
        """Take in accuracies; the search is done once a tree had nothing more to measure."""
        self.done = self.outlook.learn(measures) == 0


class Outlook:
    """What every branch of every tree is worth, by what is known and what is hoped.

    Args:
        problem: What is searched.
        settings: How accurate a composition can be.

    Attributes:
        known: Whether the accuracy of each composition is, ``(V1, ..., VN)``.

    Raises:
        ConfigError: There are more compositions than the settings allow.
    """

    def __init__(self, problem: TreeProblem, settings: ExactSettings) -> None:
        self.problem, self.space, self.settings = problem, problem.space, settings
        _check_size(self.space.blocks, settings.compositions)
        self._levels = [_Level(problem, level) for level in range(self.space.levels)]
        shape = tuple(len(level.variants) for level in self._levels)
        self.known = np.zeros(shape, dtype=bool)
        self._accuracy = np.zeros(shape)
        self._bound = np.ones(shape)  # By what is known of compositions with fewer compressed.
        compositions = product(*([c.options for c in level.variants] for level in self._levels))
        self._where: dict[Composition, Index] = {
            tuple(option for options in parts for option in options): index
            for parts, index in zip(compositions, np.ndindex(*shape), strict=True)
        }

    def learn(self, measures: Mapping[Composition, float]) -> int:
        """Take in accuracies, and return how many of them are news."""
        news = 0
        for composition, accuracy in measures.items():
            index = self._where[composition]
            if not self.known[index]:
                self.known[index], self._accuracy[index] = True, accuracy
                further = np.ix_(
                    *(level.further[v] for level, v in zip(self._levels, index, strict=True))
                )
                bound = self._bound[further]
                self._bound[further] = np.minimum(bound, accuracy + self.settings.margin)
                news += 1
        return news

    def original(self) -> Tree:
        """Return the tree that runs the original on the edge, whatever the bandwidth."""
        plain = [level.variants[level.kept] for level in self._levels]
        return self.space.tree_of(plain)

    def best_tree(self, *, known_only: bool = False) -> Tree:
        """Return the best tree, where what is not known is as accurate as it can be.

        Args:
            known_only: Leave out all branches that are not known; one must be, whole on the edge.
        """
        if known_only:
            accuracy = np.where(self.known, self._accuracy, np.nan)
        else:
            highest = float(self._accuracy.max(initial=self.settings.ceiling, where=self.known))
            accuracy = np.where(self.known, self._accuracy, np.minimum(self._bound, highest))
        chosen = self._choose(accuracy)
        tree: dict[TypePath, BlockChoice] = {}
        self._grow(tree, chosen, (), ())
        return tree

    def _choose(self, accuracy: Floats) -> list[Indices]:
        """Return the best choice after each ``p``, per block ``(V1, ..., V(n-1), K)``."""
        chosen: list[Indices] = []
        below: Floats | None = None
        for number in reversed(range(self.space.levels)):
            worths = self._worths(number, accuracy, below)
            chosen.insert(0, worths.argmax(axis=-1))
            below = worths.max(axis=-1).mean(axis=-1)
        return chosen

    def _worths(self, number: int, accuracy: Floats, below: Floats | None) -> Floats:
        """Return what each choice of a block is worth, ``(V1, ..., V(n-1), K, C + V)``."""
        level = self._levels[number]
        later: tuple[Any, ...] = (..., *(after.kept for after in self._levels[number + 1 :]))
        here = accuracy[later]  # (V1, ..., Vn)
        so_far_ms = np.zeros(())
        for before in self._levels[:number]:
            so_far_ms = so_far_ms[..., None] + before.whole_ms
        # (..., K, C): a cut is as accurate as the variant that compresses the same layers.
        cut = self._worth(
            so_far_ms[..., None, None] + level.cut_ms, here[..., None, level.variant_of_cut]
        )
        whole = below  # (..., V)
        if whole is None:
            whole = self._worth(so_far_ms[..., None] + level.whole_ms, here)
        spread = np.broadcast_to(whole[..., None, :], (*cut.shape[:-1], whole.shape[-1]))
        return np.concatenate([cut, spread], axis=-1)

    def _worth(self, latency_ms: Floats, accuracy: Floats) -> Floats:
        """Return the reward of branches; minus infinity where the accuracy is left out as NaN."""
        accuracy = np.broadcast_to(accuracy, latency_ms.shape)
        left_out = np.isnan(accuracy)
        worth = self.problem.worth(latency_ms, np.where(left_out, 0.0, accuracy))
        return np.where(left_out, -np.inf, worth)

    def _grow(
        self,
        tree: dict[TypePath, BlockChoice],
        chosen: list[Indices],
        path: TypePath,
        before: Index,
    ) -> None:
        """Add the nodes below ``path``, which lies after the variants ``before``."""
        level = self._levels[len(path)]
        for kind in range(self.space.types):
            number = int(chosen[len(path)][(*before, kind)])
            below = (*path, kind)
            if number < len(level.cuts):
                tree[below] = level.cuts[number]
                continue
            variant = number - len(level.cuts)
            tree[below] = level.variants[variant]
            if len(below) < self.space.levels:
                self._grow(tree, chosen, below, (*before, variant))


class _Level:
    """The choices of one block, and what each takes.

    Attributes:
        variants: Those that run whole on the edge, ``V``.
        cuts: Those that cut it, ``C``.
        kept: The variant that keeps every layer.
        whole_ms: Time of each variant, ``(V,)``.
        cut_ms: Time of each cut under each type, transfer and cloud included, ``(K, C)``.
        further: For each variant, those that compress the same layers likewise, and perhaps more.
        variant_of_cut: The variant with which each cut shares its accuracy, ``(C,)``.
    """

    def __init__(self, problem: TreeProblem, level: int) -> None:
        space = problem.space.blocks[level]
        choices = list(space.choices())
        self.variants = [choice for choice in choices if choice.cut is None]
        self.cuts = [choice for choice in choices if choice.cut is not None]
        index = {choice.options: number for number, choice in enumerate(self.variants)}
        self.kept = index[_filled((), space)]
        self.further = [
            [number for number, other in enumerate(self.variants) if _extends(other, variant)]
            for variant in self.variants
        ]
        self.variant_of_cut = np.array(
            [index[_filled(choice.options, space)] for choice in self.cuts], dtype=np.int64
        )
        self.whole_ms = np.array([problem.step_ms(level, c, 0) for c in self.variants])
        kinds = range(problem.space.types)
        self.cut_ms = np.array(
            [[problem.step_ms(level, c, kind) for c in self.cuts] for kind in kinds]
        )


def _extends(further: BlockChoice, choice: BlockChoice) -> bool:
    pairs = zip(choice.options, further.options, strict=True)
    return all(option in (KEEP, other) for option, other in pairs)


def _filled(options: tuple[str, ...], space: BlockSpace) -> tuple[str, ...]:
    """Return the options of a block whose last layers are kept."""
    return (*options, *[KEEP] * (len(space.slots) - len(options)))


def _check_size(blocks: Sequence[BlockSpace], limit: int) -> None:
    count = math.prod(len(slot.options) for block in blocks for slot in block.slots)
    if count > limit:
        raise ConfigError(
            f"expected at most {limit} compositions to search exactly, got {count}; offer fewer "
            "options, or take another searcher"
        )
