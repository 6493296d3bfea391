"""The whole front of accuracy against cost in one search: NSGA-II by pymoo (Deb et al. 2002)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol

import numpy as np
from pydantic import Field
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.crossover import Crossover
from pymoo.core.duplicate import ElementwiseDuplicateElimination
from pymoo.core.mutation import Mutation
from pymoo.core.problem import Problem as PymooProblem
from pymoo.core.sampling import Sampling
from pymoo.core.termination import NoTermination

from hybridge.design.search.evolve import Breeder, Thing, Trial, first_promising
from hybridge.design.search.problem import Measure
from hybridge.plan.tensors import Frozen

Things = np.ndarray[Any, np.dtype[np.object_]]


class FrontBreeder(Breeder[Thing], Protocol[Thing]):
    """Draws and changes candidates, and tells what they are good for."""

    def cross(self, one: Thing, other: Thing, rng: np.random.Generator) -> Thing:
        """Return a candidate that has each choice from one or the other, as likely."""

    def objectives(self, trial: Trial[Thing], measures: Any) -> tuple[float, float]:
        """Return a candidate's accuracy, and its cost."""


@dataclass(frozen=True, slots=True)
class FrontPoint(Generic[Thing]):
    """A candidate that no other one beats in both.

    Attributes:
        candidate: Which.
        accuracy: The higher the better.
        cost: The lower the better.
    """

    candidate: Thing
    accuracy: float
    cost: float


class FrontSettings(Frozen):
    """How a front is searched.

    Attributes:
        generations: Times that the population has children.
        population: Candidates kept, and children of each generation.
        mutation: How likely each choice is drawn anew in a child.
    """

    generations: int = Field(default=30, ge=0)
    population: int = Field(default=100, gt=1)
    mutation: float = Field(default=0.1, gt=0, le=1)


class Front(Generic[Thing]):
    """Searches candidates of which none is worse in accuracy and in cost than another.

    All are screened; at the end the last population, and what the screening left unbeaten, are
    measured in full. A candidate over the problem's limits is worse than all that are not.

    Args:
        breeder: Draws and changes candidates, and tells their accuracy and cost.
        seed: Of all draws.
        settings: How.
    """

    def __init__(
        self, breeder: FrontBreeder[Thing], seed: int, settings: FrontSettings | None = None
    ) -> None:
        self.settings = settings or FrontSettings()
        self.done = False
        self._breeder = breeder
        self._generation = 0
        self._screened: list[FrontPoint[Thing]] = []
        self._full: list[FrontPoint[Thing]] = []
        self._confirming: list[Trial[Thing]] = []
        self._nsga = _nsga(breeder, seed, self.settings)
        self._asked = self._nsga.ask()

    @property
    def points(self) -> tuple[FrontPoint[Thing], ...]:
        """The front of all that was measured in full, the cheapest first."""
        return unbeaten(self._full)

    def ask(self) -> list[Trial[Thing]]:
        """Return the next population to screen, or what is to be measured in full."""
        if self._confirming:
            return self._confirming
        return [Trial(each, 0) for each in self._asked.get("X")[:, 0]]

    def tell(
        self,
        candidates: Sequence[Trial[Thing]],
        scores: Sequence[float],
        measures: Mapping[Any, Measure],
    ) -> None:
        """Take in scores, of which minus infinity is over a limit, and what they are made of.

        Raises:
            InfeasibleError: Nothing that was drawn is within the limits.
        """
        found = [
            FrontPoint(trial.candidate, *self._breeder.objectives(trial, measures))
            for trial in candidates
        ]
        allowed = [score > float("-inf") for score in scores]
        within = [point for point, ok in zip(found, allowed, strict=True) if ok]
        if self._confirming:
            self._full, self.done = within, True
        else:
            self._screened += within
            self._advance(found, allowed)
        if self.done and not self._full:
            raise self._breeder.infeasible()

    def _advance(self, found: list[FrontPoint[Thing]], allowed: list[bool]) -> None:
        """Give the scores to NSGA-II, and see what is to be asked next."""
        self._asked.set("F", np.array([(-point.accuracy, point.cost) for point in found]))
        self._asked.set("G", np.array([[-1.0 if ok else 1.0] for ok in allowed]))
        self._nsga.tell(infills=self._asked)
        self._generation += 1
        if self._generation <= self.settings.generations:
            self._asked = self._nsga.ask()
            if self._asked is not None and len(self._asked):
                return
        if self._breeder.top == 0:
            self._full, self.done = self._screened, True
            return
        last = self._nsga.pop.get("X")[:, 0].tolist()
        chosen = dict.fromkeys([*(point.candidate for point in unbeaten(self._screened)), *last])
        self._confirming = [Trial(candidate, self._breeder.top) for candidate in chosen]


def unbeaten(points: Iterable[FrontPoint[Thing]]) -> tuple[FrontPoint[Thing], ...]:
    """Return the points that no other beats, the cheapest first; the first of equals."""
    found: list[FrontPoint[Thing]] = []
    for point in sorted(points, key=lambda each: (each.cost, -each.accuracy)):
        if not found or point.accuracy > found[-1].accuracy:
            found.append(point)
    return tuple(found)


def _nsga(breeder: FrontBreeder[Any], seed: int, settings: FrontSettings) -> NSGA2:
    algorithm = NSGA2(
        pop_size=settings.population,
        sampling=_Draw(breeder),
        crossover=_Cross(breeder),
        mutation=_Mutate(breeder, settings.mutation),
        eliminate_duplicates=_Same(),
    )
    # Two objectives, and whether it is within the limits.
    problem = PymooProblem(n_var=1, n_obj=2, n_ieq_constr=1, vtype=object)
    algorithm.setup(problem, seed=seed, termination=NoTermination())
    return algorithm


def _column(things: Sequence[Any]) -> Things:
    """Return candidates as pymoo has them: one variable each, ``(n, 1)``."""
    column = np.empty((len(things), 1), dtype=object)
    column[:, 0] = things
    return column


class _Draw(Sampling):  # type: ignore[misc]
    """Draws the first population at random, but for the smallest candidate, which begins it."""

    def __init__(self, breeder: FrontBreeder[Any]) -> None:
        super().__init__()
        self._breeder = breeder

    def _do(self, problem: Any, n_samples: int, *args: Any, random_state: Any, **_: Any) -> Things:
        # Where hardly anything is within the limits, the smallest is what there is to start from.
        drawn = [first_promising(self._breeder, lambda _: self._breeder.draw(random_state, 1.0))]
        drawn += [
            first_promising(self._breeder, lambda thrift: self._breeder.draw(random_state, thrift))
            for _ in range(n_samples - 1)
        ]
        return _column([one for one in drawn if one is not None])


class _Cross(Crossover):  # type: ignore[misc]
    """Gives a child choices of both parents."""

    def __init__(self, breeder: FrontBreeder[Any]) -> None:
        super().__init__(n_parents=2, n_offsprings=2)
        self._breeder = breeder

    def _do(self, problem: Any, X: Things, *args: Any, random_state: Any, **_: Any) -> Things:
        children = np.empty_like(X)
        for number, (one, other) in enumerate(zip(*X[:, :, 0], strict=True)):
            for child in range(2):
                children[child, number, 0] = self._breeder.cross(one, other, random_state)
        return children


class _Mutate(Mutation):  # type: ignore[misc]
    """Draws choices anew, until the candidate is promising where that can be."""

    def __init__(self, breeder: FrontBreeder[Any], probability: float) -> None:
        super().__init__()
        self._breeder, self._probability = breeder, probability

    def _do(self, problem: Any, X: Things, *args: Any, random_state: Any, **_: Any) -> Things:
        return _column([self._mutated(one, random_state) for one in X[:, 0]])

    def _mutated(self, one: Any, rng: np.random.Generator) -> Any:
        found = first_promising(
            self._breeder, lambda _: self._breeder.mutate(one, self._probability, rng)
        )
        return one if found is None else found


class _Same(ElementwiseDuplicateElimination):  # type: ignore[misc]
    """Knows a candidate that was there before."""

    def is_equal(self, a: Any, b: Any) -> bool:
        return bool(a.X[0] == b.X[0])
