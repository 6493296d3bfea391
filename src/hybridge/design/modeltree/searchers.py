"""The searchers of model trees, by name.

::

    exact           the best tree there is
    reinforce       the paper's: controllers learn from rewards (algorithms 1 and 3)
    random          trees drawn at random
    epsilon-greedy  the best tree so far, changed here and there
    surgery         the original, cut where it is fastest
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from hybridge.design.modeltree.branches import fastest_cut, fastest_cuts
from hybridge.design.modeltree.choices import Composition, Tree
from hybridge.design.modeltree.drawn import (
    EpsilonGreedy,
    EpsilonGreedySettings,
    Random,
    RandomSettings,
)
from hybridge.design.modeltree.exact import Exact, ExactSettings
from hybridge.design.modeltree.grafting import Grafting
from hybridge.design.modeltree.problem import TreeProblem
from hybridge.design.modeltree.reinforce import Reinforce, ReinforceSettings
from hybridge.design.search.algorithm import Algorithm
from hybridge.errors import ConfigError
from hybridge.links.link import Link
from hybridge.plan.tensors import Frozen
from hybridge.registry import Registry

TreeAlgorithm = Algorithm[Tree, Composition, float]


class SurgerySettings(Frozen):
    """When surgery decides where to cut.

    Attributes:
        link: Decide once, as for this link; None to decide anew for every request, as for the type
            of bandwidth that it meets first.
    """

    link: Link | None = None


class Surgery:
    """Dynamic DNN surgery: nothing is compressed, and the cut is the fastest there is.

    Args:
        problem: What is searched.
        settings: When it decides.
    """

    def __init__(self, problem: TreeProblem, settings: SurgerySettings) -> None:
        self.problem, self.settings = problem, settings
        self.done = False

    def ask(self) -> list[Tree]:
        """Return the only tree."""
        link = self.settings.link
        if link is not None:
            return [self.problem.space.tree_of(fastest_cut(self.problem, link))]
        return [fastest_cuts(self.problem)]

    def tell(
        self,
        candidates: Sequence[Tree],
        scores: Sequence[float],
        measures: Mapping[Composition, float],
    ) -> None:
        """Be done."""
        self.done = True


@dataclass(frozen=True, slots=True)
class Searcher:
    """A way to search for trees.

    Attributes:
        settings: What it may be told, and checks it.
        make: Makes the algorithm from a problem, a seed and such settings.
    """

    settings: type[Frozen]
    make: Callable[[TreeProblem, int, Any], TreeAlgorithm]

    def __call__(
        self, problem: TreeProblem, seed: int, settings: Mapping[str, Any] | Frozen | None = None
    ) -> TreeAlgorithm:
        """Return a fresh algorithm; raises `ConfigError` for settings that it does not know."""
        return self.make(problem, seed, self.check({} if settings is None else settings))

    def check(self, settings: Mapping[str, Any] | Frozen) -> Frozen:
        """Return settings as they are understood; raises `ConfigError` where they are not."""
        try:
            return self.settings.model_validate(settings)
        except ValidationError as error:
            known = ", ".join(self.settings.model_fields)
            problems = "; ".join(
                f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()
            )
            raise ConfigError(f"expected settings among {known}; got {problems}") from error


searchers: Registry[Searcher] = Registry("searcher")
"""Ways to search for trees, by name."""


def _grafting(problem: TreeProblem, algorithm: TreeAlgorithm, graft: bool) -> TreeAlgorithm:
    return Grafting(problem, algorithm) if graft else algorithm


def _exact(problem: TreeProblem, seed: int, settings: ExactSettings) -> TreeAlgorithm:
    return Exact(problem, settings)


def _reinforce(problem: TreeProblem, seed: int, settings: ReinforceSettings) -> TreeAlgorithm:
    return _grafting(problem, Reinforce(problem, seed, settings), settings.graft)


def _random(problem: TreeProblem, seed: int, settings: RandomSettings) -> TreeAlgorithm:
    return _grafting(problem, Random(problem, seed, settings), settings.graft)


def _greedy(problem: TreeProblem, seed: int, settings: EpsilonGreedySettings) -> TreeAlgorithm:
    return _grafting(problem, EpsilonGreedy(problem, seed, settings), settings.graft)


def _surgery(problem: TreeProblem, seed: int, settings: SurgerySettings) -> TreeAlgorithm:
    return Surgery(problem, settings)


searchers.add("exact", Searcher(ExactSettings, _exact))
searchers.add("reinforce", Searcher(ReinforceSettings, _reinforce))
searchers.add("random", Searcher(RandomSettings, _random))
searchers.add("epsilon-greedy", Searcher(EpsilonGreedySettings, _greedy))
searchers.add("surgery", Searcher(SurgerySettings, _surgery))
