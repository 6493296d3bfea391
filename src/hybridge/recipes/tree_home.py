"""What a tree does on the edge where the cloud does not answer, by what a search has measured."""

from collections.abc import Mapping, Sequence
from itertools import product

from hybridge.design.modeltree.choices import BlockChoice, Composition
from hybridge.design.modeltree.make_plan import keep_all
from hybridge.design.modeltree.problem import TreeProblem
from hybridge.design.search.problem import Measured


class BestHome:
    """What to do on the edge where the cloud does not answer: the best that is known by then."""

    def __init__(self, problem: TreeProblem, memo: Mapping[Composition, Measured[float]]) -> None:
        self._problem = problem
        self._memo = memo

    def __call__(self, branch: Sequence[BlockChoice]) -> tuple[BlockChoice, ...]:
        """Return the blocks that are left, with the highest reward of what was measured.

        Where nothing was, all that is left is kept.
        """
        space = self._problem.space
        wholes = [
            [choice for choice in block.choices() if choice.cut is None]
            for block in space.blocks[len(branch) :]
        ]
        known = [rest for rest in product(*wholes) if self._key(branch, rest) in self._memo]
        if not known:
            return keep_all(space, branch)
        return max(known, key=lambda rest: self._worth(branch, rest))

    def _key(self, branch: Sequence[BlockChoice], rest: Sequence[BlockChoice]) -> Composition:
        return self._problem.space.composition((*branch, *rest))

    def _worth(self, branch: Sequence[BlockChoice], rest: Sequence[BlockChoice]) -> float:
        latency_ms = self._problem.latency_ms((*branch, *rest), 0)
        return self._problem.worth(latency_ms, self._memo[self._key(branch, rest)].value)
