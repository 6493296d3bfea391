"""When a search ends: after so many candidates, evaluations, seconds, or without a gain.

A budget tells how far it is used up, in [0, 1]; a search ends at 1. Budgets are joined with
`AnyOf` and `AllOf`.
"""

from dataclasses import dataclass
from typing import Protocol

from pydantic import Field

from hybridge.plan.tensors import Frozen


@dataclass(frozen=True, slots=True)
class Spent:
    """What a search has taken so far.

    Attributes:
        candidates: Candidates scored.
        evaluations: Distinct parts measured.
        seconds: Own computing, and the measuring of each part.
        stale_candidates: Candidates since the best score last rose.
    """

    candidates: int = 0
    evaluations: int = 0
    seconds: float = 0.0
    stale_candidates: int = 0


class Budget(Protocol):
    """Says how much of what a search may take is gone."""

    def progress(self, spent: Spent) -> float:
        """Return the share that is used up, from 0 to 1; at 1 the search ends."""


class Candidates(Frozen):
    """Ends a search after ``limit`` candidates."""

    limit: int = Field(gt=0)

    def progress(self, spent: Spent) -> float:
        """Return the share of candidates that are scored."""
        return min(1.0, spent.candidates / self.limit)


class Evaluations(Frozen):
    """Ends a search once ``limit`` distinct parts are measured.

    The candidate at which that happens is still measured whole.
    """

    limit: int = Field(gt=0)

    def progress(self, spent: Spent) -> float:
        """Return the share of evaluations that are made."""
        return min(1.0, spent.evaluations / self.limit)


class Seconds(Frozen):
    """Ends a search after ``limit`` seconds of computing and measuring.

    Where the limit falls depends on the machine, so the result does, too.
    """

    limit: float = Field(gt=0, allow_inf_nan=False)

    def progress(self, spent: Spent) -> float:
        """Return the share of seconds that have gone by."""
        return min(1.0, spent.seconds / self.limit)


class Stagnation(Frozen):
    """Ends a search once ``limit`` candidates in a row were no better than the best before."""

    limit: int = Field(gt=0)

    def progress(self, spent: Spent) -> float:
        """Return how near the search is to being given up; falls back at every gain."""
        return min(1.0, spent.stale_candidates / self.limit)


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Ends a search as soon as one of several budgets does."""

    budgets: tuple[Budget, ...]

    def progress(self, spent: Spent) -> float:
        """Return the progress of the budget that is nearest to its end; 0 of none."""
        return max((budget.progress(spent) for budget in self.budgets), default=0.0)


@dataclass(frozen=True, slots=True)
class AllOf:
    """Ends a search once each of several budgets is used up."""

    budgets: tuple[Budget, ...]

    def progress(self, spent: Spent) -> float:
        """Return the progress of the budget that is farthest from its end; 0 of none."""
        return min((budget.progress(spent) for budget in self.budgets), default=0.0)
