"""The search for a model tree as a problem: its parts are compositions, measured by accuracy.

Letters: ``N`` blocks, ``K`` types of bandwidth.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from hybridge.cost.price import Amount
from hybridge.cost.reward import Reward
from hybridge.design.modeltree.choices import (
    BlockChoice,
    Composition,
    Space,
    Tree,
    TypePath,
    branch_to,
    leaves,
)
from hybridge.design.search.problem import Measured
from hybridge.links.link import Link


class Costs(Protocol):
    """What blocks take; arithmetic, so that every candidate can be priced."""

    def edge_ms(self, level: int, choice: BlockChoice) -> float:
        """Return the time on the device of what ``choice`` leaves there of block ``level``."""

    def cloud_ms(self, level: int, cut: int) -> float:
        """Return the time in the cloud of all that follows a cut in block ``level``."""

    def payload_bytes(self, level: int, cut: int) -> float:
        """Return the encoded bytes that cross at a cut in block ``level``."""


class Evaluator(Protocol):
    """Tells how often a composed network is right."""

    def accuracy(self, composition: Composition) -> Measured[float]:
        """Return the share of held-out images answered right, and the seconds that it took."""


@dataclass(frozen=True)
class AccuracyFloor:
    """An accuracy below which branches are worth less than the reward says.

    Attributes:
        floor: The least accuracy that costs nothing, as a share.
        points: Reward taken off for each hundredth below it.
    """

    floor: float
    points: float = 50.0

    def penalty(self, accuracy: Amount) -> Amount:
        """Return the reward that is taken off: for one accuracy, or each of an array."""
        lack = self.floor - accuracy
        return self.points * 50 * (lack + abs(lack))  # 100 times the lack, where it is positive


@dataclass(frozen=True)
class TreeProblem:
    """Which tree over a space has the highest expected reward (model tree, algorithm 3).

    A branch's transfer is priced at the type of bandwidth under which it was reached; every type
    is as likely as another, and the expected reward is the mean over the children, from the root.
    An optimal branch (algorithm 1) is the tree over one type.

    Attributes:
        space: What may be chosen.
        links: The link of each of the ``K`` types, from the poorest to the best.
        costs: What blocks take.
        evaluator: Tells a composition's accuracy.
        reward: What latency and accuracy are worth together.
        floor: Accuracy that branches are held to, or None.
    """

    space: Space
    links: Sequence[Link]
    costs: Costs
    evaluator: Evaluator
    reward: Reward = field(default_factory=Reward)
    floor: AccuracyFloor | None = None
    _latencies: dict[tuple[int, BlockChoice, int], float] = field(
        default_factory=dict, repr=False, compare=False
    )

    def parts(self, tree: Tree) -> tuple[Composition, ...]:
        """Return the compositions of all branches, each once."""
        found = (self.space.composition(branch_to(tree, path)) for path in leaves(self.space, tree))
        return tuple(dict.fromkeys(found))

    def measure(self, part: Composition) -> Measured[float]:
        """Return the accuracy of a composition."""
        return self.evaluator.accuracy(part)

    def score(self, tree: Tree, measures: Mapping[Composition, float]) -> float:
        """Return the expected reward at the root."""
        rewards = self.rewards(tree, measures)
        return sum(rewards[kind,] for kind in range(self.space.types)) / self.space.types

    def rewards(self, tree: Tree, measures: Mapping[Composition, float]) -> dict[TypePath, float]:
        """Return the reward of every node: a leaf's own, else the mean of its children's.

        Args:
            tree: Whole.
            measures: Accuracy of each of its `parts`.
        """
        found: dict[TypePath, float] = {}
        for path in sorted(tree, key=len, reverse=True):
            if tree[path].cut is not None or len(path) == self.space.levels:
                branch = branch_to(tree, path)
                accuracy = measures[self.space.composition(branch)]
                found[path] = self.worth(self.latency_ms(branch, path[-1]), accuracy)
            else:
                children = [found[*path, kind] for kind in range(self.space.types)]
                found[path] = sum(children) / len(children)
        return found

    def latency_ms(self, branch: Sequence[BlockChoice], kind: int) -> float:
        """Return the latency of a branch whose last block was reached under type ``kind``."""
        return sum(self.step_ms(level, choice, kind) for level, choice in enumerate(branch))

    def step_ms(self, level: int, choice: BlockChoice, kind: int) -> float:
        """Return what one block adds to a latency: its time, and after a cut transfer and cloud."""
        key = level, choice, kind
        if key not in self._latencies:
            took_ms = self.costs.edge_ms(level, choice)
            if choice.cut is not None:
                payload_bytes = self.costs.payload_bytes(level, choice.cut)
                took_ms += self.links[kind].transfer_ms(payload_bytes)
                took_ms += self.costs.cloud_ms(level, choice.cut)
            self._latencies[key] = took_ms
        return self._latencies[key]

    def worth(self, latency_ms: Amount, accuracy: Amount) -> Amount:
        """Return the reward of a branch, or of each of an array, less what lacks of the floor."""
        reward = self.reward.of(latency_ms, accuracy)
        return reward if self.floor is None else reward - self.floor.penalty(accuracy)

    def under(self, link: Link) -> "TreeProblem":
        """Return the problem of an optimal branch (algorithm 1): the same under one link."""
        space = Space(self.space.blocks, types=1)
        return replace(self, space=space, links=(link,), _latencies={})
