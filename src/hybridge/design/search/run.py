"""The loop of every search: ask, measure what is new, score, tell."""

import time
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic

from hybridge.design.search.algorithm import Algorithm, Proposal
from hybridge.design.search.budget import Budget, Spent
from hybridge.design.search.problem import Measured, Part, Problem
from hybridge.errors import ConfigError
from hybridge.progress import gauge


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """Where a search stood after a candidate.

    Attributes:
        candidates: Candidates so far.
        evaluations: Distinct parts that this search needed measures of so far.
        seconds: Own computing so far, and the measuring of those parts, once each, even where
            another search had measured them before.
        score: Best score so far.
    """

    candidates: int
    evaluations: int
    seconds: float
    score: float


@dataclass(frozen=True, slots=True)
class SearchResult(Generic[Proposal]):
    """What a search found.

    Attributes:
        best: Candidate with the highest score; the first of equals.
        score: Its score.
        history: A row for every candidate, in order.
    """

    best: Proposal
    score: float
    history: tuple[HistoryRow, ...]


def search(
    problem: Problem[Proposal, Part],
    algorithm: Algorithm[Proposal, Part],
    budget: Budget,
    memo: MutableMapping[Part, Measured] | None = None,
    *,
    what: str = "searching",
) -> SearchResult[Proposal]:
    """Run an algorithm until its budget is used up or it is done.

    A search is a deterministic function of the algorithm's seed and of the measures, unless its
    budget counts seconds. One that was interrupted is run again: where the problem keeps its
    measures on disk, it is soon back to where it was.

    Args:
        problem: Says what candidates are made of, measures and scores.
        algorithm: Fresh; proposes candidates.
        budget: Looked at after every candidate; the first is always scored.
        memo: Measures of parts, which several searches may share; filled in place.
        what: What is being done, for the progress bar.

    Raises:
        ConfigError: The algorithm proposes nothing at all.
    """
    with gauge(what) as show:
        loop = _Loop(problem, {} if memo is None else memo, budget, show)
        while not algorithm.done:
            with loop.timed():
                candidates = algorithm.ask()
            scores: list[float] = []
            for candidate in candidates:
                scores.append(loop.take(candidate))
                if loop.show() >= 1.0:
                    return loop.result()
            if not candidates:
                break
            with loop.timed():
                algorithm.tell(candidates, scores, loop.measures)
    return loop.result()


class _Loop(Generic[Proposal, Part]):
    """Measures and scores candidates, and keeps the books."""

    def __init__(
        self,
        problem: Problem[Proposal, Part],
        memo: MutableMapping[Part, Measured],
        budget: Budget,
        draw: Callable[[float, str], None],
    ) -> None:
        self.problem, self.memo, self.budget, self.draw = problem, memo, budget, draw
        self.measures: dict[Part, float] = {}
        self.seconds = 0.0
        self.best: Sequence[Proposal] = ()
        self.score = float("-inf")
        self.history: list[HistoryRow] = []
        self._stale_candidates = 0

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Charge the time of what is done within."""
        began = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - began

    def take(self, candidate: Proposal) -> float:
        """Measure what is new of a candidate, and return its score."""
        with self.timed():
            parts = self.problem.parts(candidate)
        for part in parts:
            self._measure(part)
        with self.timed():
            score = self.problem.score(candidate, self.measures)
        self._stale_candidates += 1
        if not self.best or score > self.score:
            self.best, self.score, self._stale_candidates = (candidate,), score, 0
        self.history.append(
            HistoryRow(len(self.history) + 1, len(self.measures), self.seconds, self.score)
        )
        return score

    def _measure(self, part: Part) -> None:
        if part in self.measures:
            return
        if part not in self.memo:
            self.memo[part] = self.problem.measure(part)
        self.measures[part] = self.memo[part].value
        self.seconds += self.memo[part].seconds
        self.show()

    def show(self) -> float:
        """Draw and return how much of the budget is used up."""
        progress = self.budget.progress(
            Spent(len(self.history), len(self.measures), self.seconds, self._stale_candidates)
        )
        self.draw(progress, f"best {self.score:.2f}" if self.best else "")
        return progress

    def result(self) -> SearchResult[Proposal]:
        if not self.best:
            raise ConfigError("the search has nothing to propose; is its space empty?")
        return SearchResult(self.best[0], self.score, tuple(self.history))
