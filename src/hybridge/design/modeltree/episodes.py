"""Forward generation (model tree, algorithm 3): whole batches of trees, level by level.

Letters: ``M`` nodes of all trees of a batch; ``P``, ``L``, ``V`` as of
`hybridge.design.modeltree.controllers`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hybridge.design.modeltree.choices import BlockChoice, Space, Tree, TypePath
from hybridge.design.modeltree.controllers import Policy


@dataclass(frozen=True, slots=True)
class Actions:
    """What was decided at nodes, as numbers.

    Attributes:
        states: State of each node, ``(M,)``.
        positions: Position that was taken, ``(M,)``.
        free: Whether the position was the controller's decision, ``(M,)``.
        options: What became of each slot, as numbers of the vocabulary, ``(M, L)``.
    """

    states: Tensor
    positions: Tensor
    free: Tensor
    options: Tensor

    def joined(self, *others: "Actions") -> "Actions":
        """Return these actions and others'."""
        parts = (self, *others)
        return Actions(
            torch.cat([part.states for part in parts]),
            torch.cat([part.positions for part in parts]),
            torch.cat([part.free for part in parts]),
            torch.cat([part.options for part in parts]),
        )

    def log_probabilities(self, policy: Policy) -> Tensor:
        """Return how likely a policy is to decide so, as logarithms, ``(M,)``."""
        position = policy.positions[self.states, self.positions]
        options = policy.options[self.states, self.positions]  # (M, L, V)
        chosen = options.gather(-1, self.options[..., None]).squeeze(-1)  # (M, L)
        return position * self.free + chosen.sum(-1)


@dataclass(frozen=True, slots=True)
class Episodes:
    """Trees, and the decisions that made them.

    Attributes:
        trees: One of each episode.
        nodes: Number of the tree and path of each node, ``M`` of them.
        actions: What was decided at these nodes.
        policy: What they were drawn from, with gradients if it came with them.
    """

    trees: tuple[Tree, ...]
    nodes: tuple[tuple[int, TypePath], ...]
    actions: Actions
    policy: Policy


class Sampler:
    """Draws trees from policies.

    Args:
        space: What may be chosen.
        vocabulary: Options by number.
        generator: Draws.
    """

    def __init__(self, space: Space, vocabulary: Sequence[str], generator: torch.Generator) -> None:
        self.space, self.vocabulary, self.generator = space, vocabulary, generator

    def draw(self, policy: Policy, count: int, fair: float = 0.0) -> Episodes:
        """Return ``count`` trees.

        Args:
            policy: What the controllers would do.
            count: Number of trees.
            fair: A block on level ``n`` is left whole with probability ``fair·(N - n)/N``,
                whatever the policy (section VII-A, "exploration with fair chances").
        """
        plain = policy.detach()
        trees: list[dict[TypePath, BlockChoice]] = [{} for _ in range(count)]
        kinds = range(self.space.types)
        grown: list[tuple[int, TypePath]] = [
            (tree, (kind,)) for tree in range(count) for kind in kinds
        ]
        nodes: list[tuple[int, TypePath]] = []
        taken: list[Actions] = []
        for level in range(self.space.levels):
            if not grown:
                break
            levels = self.space.levels
            actions = self._decide(plain, level, grown, fair * (levels - level - 1) / levels)
            choices = self._choices(level, actions)
            for (tree, path), choice in zip(grown, choices, strict=True):
                trees[tree][path] = choice
            taken.append(actions)
            nodes += grown
            pairs = zip(grown, choices, strict=True)
            whole = [node for node, choice in pairs if choice.cut is None]
            grown = [(tree, (*path, kind)) for tree, path in whole for kind in kinds]
        return Episodes(tuple(trees), tuple(nodes), taken[0].joined(*taken[1:]), policy)

    def _decide(
        self, policy: Policy, level: int, nodes: Sequence[tuple[int, TypePath]], forced: float
    ) -> Actions:
        """Decide at nodes of one level, of which a share is forced to be left whole."""
        states = torch.tensor([level * self.space.types + path[-1] for _, path in nodes])
        positions = self._sample(policy.positions[states])
        free = torch.rand(len(nodes), generator=self.generator) >= forced
        whole = len(self.space.blocks[level].cuts)
        positions = torch.where(free, positions, whole)
        rows = policy.options[states, positions]  # (M, L, V)
        options = self._sample(rows.flatten(0, 1)).view(rows.shape[:-1])
        return Actions(states, positions, free, options)

    def _sample(self, log_probabilities: Tensor) -> Tensor:
        probabilities = log_probabilities.exp()
        return torch.multinomial(probabilities, 1, generator=self.generator).squeeze(-1)

    def _choices(self, level: int, actions: Actions) -> list[BlockChoice]:
        """Return decisions in words."""
        block = self.space.blocks[level]
        pairs = zip(actions.positions.tolist(), actions.options.tolist(), strict=True)
        found = []
        for position, options in pairs:
            cut = block.positions[position]
            count = block.slot_count(cut)
            found.append(BlockChoice(cut, tuple(self.vocabulary[n] for n in options[:count])))
        return found

    def actions_of(self, tree: Tree) -> Actions:
        """Return the decisions that make a tree, node by node in its order."""
        slots = max(1, *(len(block.slots) for block in self.space.blocks))
        number = {option: index for index, option in enumerate(self.vocabulary)}
        rows = [[number[option] for option in choice.options] for choice in tree.values()]
        return Actions(
            torch.tensor([(len(path) - 1) * self.space.types + path[-1] for path in tree]),
            torch.tensor(
                [
                    self.space.blocks[len(path) - 1].positions.index(choice.cut)
                    for path, choice in tree.items()
                ]
            ),
            torch.ones(len(tree), dtype=torch.bool),
            torch.tensor([row + [0] * (slots - len(row)) for row in rows]),
        )
