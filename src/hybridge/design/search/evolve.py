"""Evolution (selective query, algorithm 4), and candidates drawn at random as its first step alone.

Candidates climb rungs: all are screened on few images, and those that could become parents are
measured in full. Whether a candidate is allowed may be known only once it is screened; one that is
not is drawn anew, without being measured further.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from pydantic import Field

from hybridge.design.search.problem import Measure
from hybridge.errors import InfeasibleError
from hybridge.plan.tensors import Frozen

Thing = TypeVar("Thing", bound=Hashable)

#: Draws without measuring until a candidate is promising; the first are as random as they come.
_TRIES, _UNBIASED_TRIES = 1000, 100
#: Share of a candidate's redraws that are as random as the first draw was.
_UNBIASED_REDRAWS = 0.75


@dataclass(frozen=True, slots=True)
class Trial(Generic[Thing]):
    """A candidate, and how exactly it is asked about.

    Attributes:
        candidate: What is asked about.
        rung: 0 is the coarsest.
    """

    candidate: Thing
    rung: int


class Breeder(Protocol[Thing]):
    """Draws and changes candidates."""

    @property
    def top(self) -> int:
        """The rung that counts; 0 where there is one only."""

    def draw(self, rng: np.random.Generator, thrift: float = 0.0) -> Thing:
        """Draw every choice evenly, or take the smallest with probability ``thrift``."""

    def mutate(self, candidate: Thing, probability: float, rng: np.random.Generator) -> Thing:
        """Return a candidate of which every choice was drawn anew with a probability."""

    def promising(self, candidate: Thing) -> bool:
        """Return whether a candidate may be allowed, by what is known without measuring it."""

    def recombined(self, measures: Mapping[Any, Any], count: int) -> Sequence[Thing]:
        """Return the best candidates that can be put together from what is measured in full."""

    def infeasible(self) -> InfeasibleError:
        """Return an error that says what is feasible."""


class EvolutionSettings(Frozen):
    """How candidates evolve.

    Attributes:
        generations: Times that parents have children; 0 draws at random, and no more.
        population: Candidates drawn at first, and children of each generation.
        parents: The best so far, from which children come.
        mutation: How likely each choice is drawn anew in a child.
        survivors: Of each generation, how many are measured in full, at most: the best of the
            screening, and only those that do no worse in it than the worst of the parents did.
        redraws: Times that a candidate is drawn anew because it was screened and is not allowed.
        recombine: After each generation, also try the best candidates that can be put together
            from all that was measured in full; more than the paper does, and nothing is measured.
    """

    generations: int = Field(default=30, ge=0)
    population: int = Field(default=100, gt=0)
    parents: int = Field(default=25, gt=0)
    mutation: float = Field(default=0.1, gt=0, le=1)
    survivors: int = Field(default=25, gt=0)
    redraws: int = Field(default=20, ge=0)
    recombine: bool = False


class Evolution(Generic[Thing]):
    """Draws a population, then lets the best have children (algorithm 4).

    Each child is that of a parent picked at random; one that is not allowed is drawn anew from the
    same parent. A child that is not allowed even so is left out.

    Args:
        breeder: Draws and changes candidates.
        seed: Of all draws.
        settings: How.
    """

    def __init__(
        self, breeder: Breeder[Thing], seed: int, settings: EvolutionSettings | None = None
    ) -> None:
        self.settings = settings or EvolutionSettings()
        self.done = False
        self._breeder = breeder
        self._rng = np.random.default_rng(seed)
        self._generation = 0
        self._best: dict[Thing, float] = {}
        self._slots: list[_Slot[Thing]] = [_Slot(None)] * self.settings.population
        self._screened: dict[Thing, float] = {}
        self._passed: dict[Thing, float] = {}
        self._asked: list[_Slot[Thing]] = []
        self._recombining = False
        self._next = self._draw()

    @property
    def parents(self) -> list[tuple[Thing, float]]:
        """The best candidates measured in full, and their scores, best first."""
        ranked = sorted(self._best.items(), key=lambda each: -each[1])
        return ranked[: self.settings.parents]

    def ask(self) -> list[Trial[Thing]]:
        """Return what is drawn to be screened, or what is to be measured in full."""
        return self._next

    def tell(
        self,
        candidates: Sequence[Trial[Thing]],
        scores: Sequence[float],
        measures: Mapping[Any, Measure],
    ) -> None:
        """Take in scores; minus infinity is not allowed.

        Raises:
            InfeasibleError: Nothing that was drawn is allowed.
        """
        allowed = {
            trial.candidate: score
            for trial, score in zip(candidates, scores, strict=True)
            if score > float("-inf")
        }
        if self._asked:
            self._take_screened(candidates, allowed)
            self._next = (
                self._draw()
                or self._promote()
                or self._promote_if_none()
                or self._recombine(measures)
            )
        else:
            self._best = dict(self.parents) | allowed
            self._next = self._recombine(measures) or self._promote_if_none() or self._breed()
        while not self._next and not self.done:
            self._next = self._breed()

    def _take_screened(
        self, trials: Sequence[Trial[Thing]], allowed: Mapping[Thing, float]
    ) -> None:
        """Keep what is allowed; what is not is drawn anew, but for what was too often."""
        again = []
        for slot, trial in zip(self._asked, trials, strict=True):
            if trial.candidate in allowed:
                self._screened[trial.candidate] = allowed[trial.candidate]
            elif slot.redraws < self.settings.redraws:
                again.append(_Slot(slot.parent, slot.redraws + 1))
        self._slots, self._asked = again, []

    def _draw(self) -> list[Trial[Thing]]:
        """Return a new candidate for every open slot, to be screened."""
        slots, self._slots = self._slots, []
        drawn = [(slot, first_promising(self._breeder, partial(self._one, slot))) for slot in slots]
        found = [(slot, candidate) for slot, candidate in drawn if candidate is not None]
        self._asked = [slot for slot, _ in found]
        return [Trial(candidate, 0) for _, candidate in found]

    def _one(self, slot: "_Slot[Thing]", thrift: float) -> Thing:
        if slot.parent is not None:
            return self._breeder.mutate(slot.parent, self.settings.mutation, self._rng)
        unbiased = _UNBIASED_REDRAWS * self.settings.redraws
        late = max(0.0, slot.redraws - unbiased) / max(1.0, self.settings.redraws - unbiased)
        return self._breeder.draw(self._rng, max(thrift, late))

    def _promote(self) -> list[Trial[Thing]]:
        """Return the best of those that are screened only, to be measured in full."""
        if self._breeder.top == 0:
            self._best = dict(self.parents) | self._screened
            self._screened = {}
            return self._promote_if_none()
        floor = self._floor()
        new = [
            each
            for each, score in self._screened.items()
            if each not in self._best and score >= floor
        ]
        ranked = sorted(new, key=lambda each: -self._screened[each])
        chosen = ranked[: self.settings.survivors]
        self._passed = {each: self._passed[each] for each in self._best if each in self._passed}
        self._passed |= {each: self._screened.pop(each) for each in chosen}
        return [Trial(candidate, self._breeder.top) for candidate in chosen]

    def _floor(self) -> float:
        """Return what the worst parent had in the screening, once there are all parents."""
        parents = [candidate for candidate, _ in self.parents]
        if len(parents) < self.settings.parents:
            return float("-inf")
        # Those that were put together from what is known have not been screened.
        passed = [self._passed[each] for each in parents if each in self._passed]
        return min(passed, default=float("-inf"))

    def _promote_if_none(self) -> list[Trial[Thing]]:
        """Return further candidates to measure in full where none so far is allowed."""
        if self._best:
            return []
        trials = self._promote() if self._screened else []
        if not trials:
            raise self._breeder.infeasible()
        return trials

    def _recombine(self, measures: Mapping[Any, Any]) -> list[Trial[Thing]]:
        if not self.settings.recombine or self._recombining:
            self._recombining = False
            return []
        found = self._breeder.recombined(measures, self.settings.parents)
        trials = [Trial(one, self._breeder.top) for one in found if one not in self._best]
        self._recombining = bool(trials)
        return trials

    def _breed(self) -> list[Trial[Thing]]:
        """Return the children of the next generation, or be done."""
        if self._generation == self.settings.generations:
            self.done = True
            return []
        self._generation += 1
        self._screened = {}
        parents = [candidate for candidate, _ in self.parents]
        picks = self._rng.integers(len(parents), size=self.settings.population)
        self._slots = [_Slot(parents[pick]) for pick in picks]
        return self._draw()


def first_promising(breeder: Breeder[Thing], draw: Callable[[float], Thing]) -> Thing | None:
    """Return the first candidate drawn that may be allowed, or none of a thousand.

    Args:
        breeder: Says what may be allowed.
        draw: Draws, given how likely each choice is to be the smallest there is. What is allowed
            may be so small that it is never met by chance; so this rises to 1 after a hundred.
    """
    for number in range(1, _TRIES + 1):
        candidate = draw(max(0, number - _UNBIASED_TRIES) / (_TRIES - _UNBIASED_TRIES))
        if breeder.promising(candidate):
            return candidate
    return None


@dataclass(frozen=True, slots=True)
class _Slot(Generic[Thing]):
    """A place in the next population.

    Attributes:
        parent: Of the child that is to take it; None where it is drawn at random.
        redraws: Times that what was drawn was not allowed.
    """

    parent: Thing | None
    redraws: int = 0
