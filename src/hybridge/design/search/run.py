"""The loop of every search: ask, measure what is new, score, tell."""

import time
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic

from hybridge.design.search.algorithm import Algorithm, Proposal
from hybridge.design.search.budget import Budget, Spent
from hybridge.design.search.problem import Measure, Measured, Part, Problem
from hybridge.design.search.workers import InProcess, Workers
from hybridge.errors import ConfigError, InfeasibleError
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
class Tally:
    """What a search took, and what it was spared.

    Attributes:
        candidates: Candidates scored.
        evaluations: Distinct parts measured.
        afresh_evaluations: Parts to measure if no candidate knew of another.
        scoring_seconds: Own computing: asking, scoring and telling.
        measuring_seconds: Measuring of the distinct parts.
        afresh_measuring_seconds: Measuring of the parts if no candidate knew of another.
    """

    candidates: int = 0
    evaluations: int = 0
    afresh_evaluations: int = 0
    scoring_seconds: float = 0.0
    measuring_seconds: float = 0.0
    afresh_measuring_seconds: float = 0.0

    @property
    def candidates_per_second(self) -> float:
        """Candidates scored in a second, once their parts are measured."""
        return self.candidates / max(self.scoring_seconds, 1e-9)

    @property
    def times_faster(self) -> float:
        """How many times as long it would take to evaluate every candidate afresh."""
        own = self.scoring_seconds
        return (own + self.afresh_measuring_seconds) / max(own + self.measuring_seconds, 1e-9)


@dataclass(frozen=True, slots=True)
class SearchResult(Generic[Proposal]):
    """What a search found.

    Attributes:
        best: Candidate with the highest score among those that count; the first of equals.
        score: Its score.
        history: A row for every candidate, in order.
        tally: What it took.
    """

    best: Proposal
    score: float
    history: tuple[HistoryRow, ...]
    tally: Tally = Tally()


def search(
    problem: Problem[Proposal, Part, Measure],
    algorithm: Algorithm[Proposal, Part, Measure],
    budget: Budget,
    memo: MutableMapping[Part, Measured[Measure]] | None = None,
    *,
    counts: Callable[[Proposal], bool] = lambda candidate: True,
    workers: Workers | None = None,
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
        counts: Whether a candidate is scored in full, and so may be the best; what is only
            screened is not.
        workers: Measure the new parts of what is asked together; this process where left out.
        what: What is being done, for the progress bar.

    Raises:
        ConfigError: The algorithm proposes nothing at all.
        InfeasibleError: Every candidate that counts scores minus infinity.
    """
    with gauge(what) as show:
        known = {} if memo is None else memo
        loop = _Loop(problem, known, budget, show, counts, workers or InProcess())
        while not algorithm.done:
            with loop.timed():
                candidates = algorithm.ask()
            loop.begin(candidates)
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


class _Loop(Generic[Proposal, Part, Measure]):
    """Measures and scores candidates, and keeps the books."""

    def __init__(
        self,
        problem: Problem[Proposal, Part, Measure],
        memo: MutableMapping[Part, Measured[Measure]],
        budget: Budget,
        draw: Callable[[float, str], None],
        counts: Callable[[Proposal], bool],
        workers: Workers,
    ) -> None:
        self.problem, self.memo, self.budget, self.draw = problem, memo, budget, draw
        self.counts, self.workers = counts, workers
        self.measures: dict[Part, Measure] = {}
        self.best: Sequence[Proposal] = ()
        self.score = float("-inf")
        self.history: list[HistoryRow] = []
        self._stale_candidates = 0
        self._parts: Iterator[tuple[Part, ...]] = iter(())
        self._arriving: Iterator[Measured[Measure]] = iter(())
        self._own_s = self._measuring_s = self._afresh_s = 0.0
        self._afresh_evaluations = 0

    @property
    def seconds(self) -> float:
        return self._own_s + self._measuring_s

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Charge the time of what is done within."""
        began = time.perf_counter()
        yield
        self._own_s += time.perf_counter() - began

    def begin(self, candidates: Sequence[Proposal]) -> None:
        """Hand all that is new of the candidates to the workers; `take` them in this order."""
        with self.timed():
            parts = [self.problem.parts(candidate) for candidate in candidates]
        self._parts = iter(parts)
        new = dict.fromkeys(part for each in parts for part in each if part not in self.memo)
        self._arriving = self.workers.measure(self.problem, list(new)) if new else iter(())

    def take(self, candidate: Proposal) -> float:
        """Wait for what is new of a candidate, and return its score."""
        parts = next(self._parts)
        for part in parts:
            self._take_in(part)
        self._afresh_evaluations += len(parts)
        self._afresh_s += sum(self.memo[part].seconds for part in parts)
        with self.timed():
            score = self.problem.score(candidate, self.measures)
        if self.counts(candidate):
            self._stale_candidates += 1
            if score > self.score:
                self.best, self.score, self._stale_candidates = (candidate,), score, 0
        self.history.append(
            HistoryRow(len(self.history) + 1, len(self.measures), self.seconds, self.score)
        )
        return score

    def _take_in(self, part: Part) -> None:
        if part in self.measures:
            return
        if part not in self.memo:
            self.memo[part] = next(self._arriving)
        self.measures[part] = self.memo[part].value
        self._measuring_s += self.memo[part].seconds
        self.show()

    def show(self) -> float:
        """Draw and return how much of the budget is used up."""
        progress = self.budget.progress(
            Spent(len(self.history), len(self.measures), self.seconds, self._stale_candidates)
        )
        self.draw(progress, f"best {self.score:.2f}" if self.best else "")
        return progress

    def result(self) -> SearchResult[Proposal]:
        if not self.best and self.history:
            raise InfeasibleError(
                f"none of the {len(self.history)} candidates of the search is allowed; search "
                "longer, or allow more"
            )
        if not self.best:
            raise ConfigError("the search has nothing to propose; is its space empty?")
        tally = Tally(
            len(self.history),
            len(self.measures),
            self._afresh_evaluations,
            self._own_s,
            self._measuring_s,
            self._afresh_s,
        )
        return SearchResult(self.best[0], self.score, tuple(self.history), tally)
