import numpy as np
import pytest

from hybridge import progress
from hybridge.design.search.budget import AnyOf, Candidates, Evaluations, Seconds, Stagnation
from hybridge.design.search.problem import Measured
from hybridge.design.search.run import search
from hybridge.design.store import Store
from hybridge.errors import ConfigError
from hybridge.hashing import hash_json

ENOUGH = Candidates(limit=1000)


class Sums:
    """Candidates are tuples of numbers, scored by the sum of their parts' squares."""

    def __init__(self):
        self.measured = []

    def parts(self, candidate):
        return tuple(dict.fromkeys(candidate))

    def measure(self, part):
        self.measured.append(part)
        return Measured(float(part * part), seconds=10.0)

    def score(self, candidate, measures):
        return sum(measures[part] for part in candidate)


class KeptSums(Sums):
    """The same, kept on disk; breaks off after so many measures."""

    def __init__(self, folder, breaks_after):
        super().__init__()
        self.store, self.breaks_after = Store(folder), breaks_after

    def measure(self, part):
        def compute():
            if len(self.measured) >= self.breaks_after:
                raise KeyboardInterrupt
            return {"value": np.array(super(KeptSums, self).measure(part).value)}

        return Measured(float(self.store.keep(hash_json(part), compute)["value"]), 10.0)


class Listed:
    """Asks for what it is given, batch by batch."""

    def __init__(self, *batches):
        self.batches, self.told = list(batches), []

    @property
    def done(self):
        return len(self.told) == len(self.batches)

    def ask(self):
        return self.batches[len(self.told)]

    def tell(self, candidates, scores, measures):
        self.told.append((candidates, scores, dict(measures)))


class Climbing:
    """Goes from the best pair so far by a random step."""

    done = False

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.best, self.score = (0, 0), -1.0

    def ask(self):
        steps = self.random.integers(-2, 3, (3, 2))
        return [(self.best[0] + int(a), self.best[1] + int(b)) for a, b in steps]

    def tell(self, candidates, scores, measures):
        for candidate, score in zip(candidates, scores, strict=True):
            if score > self.score:
                self.best, self.score = candidate, score


def test_a_part_is_measured_once_and_the_best_is_kept():
    problem = Sums()
    algorithm = Listed([(1, 2), (2, 3)], [(3, 3), (1, 1)])
    found = search(problem, algorithm, ENOUGH)
    assert (found.best, found.score) == ((3, 3), 18.0)
    assert problem.measured == [1, 2, 3]
    assert [(row.candidates, row.evaluations, row.score) for row in found.history] == [
        (1, 2, 5.0),
        (2, 3, 13.0),
        (3, 3, 18.0),
        (4, 3, 18.0),
    ]
    assert algorithm.told[0][1] == [5.0, 13.0]
    assert algorithm.told[0][2] == {1: 1.0, 2: 4.0, 3: 9.0}


def test_a_warm_memo_saves_measuring_but_is_charged_for():
    problem, memo = Sums(), {}
    batches = [(1, 2)], [(2, 3)]
    cold = search(problem, Listed(*batches), ENOUGH, memo)
    warm = search(problem, Listed(*batches), ENOUGH, memo)
    assert len(problem.measured) == 3
    for row in (cold.history, warm.history):
        assert [entry.evaluations for entry in row] == [2, 3]
        assert row[0].seconds == pytest.approx(20, abs=1)
        assert row[1].seconds == pytest.approx(30, abs=1)


@pytest.mark.parametrize(
    ("budget", "candidates"),
    [
        (Candidates(limit=2), 2),
        (Evaluations(limit=4), 3),
        (Seconds(limit=15), 1),
        (Stagnation(limit=1), 4),
        (AnyOf((Stagnation(limit=1), Evaluations(limit=3))), 2),
    ],
)
def test_a_search_ends_with_its_budget_even_within_a_batch(budget, candidates):
    algorithm = Listed([(1, 2), (2, 3), (3, 4), (1, 1), (9, 9)])
    assert len(search(Sums(), algorithm, budget).history) == candidates
    assert algorithm.told == []


def test_nothing_to_search_is_an_error():
    with pytest.raises(ConfigError, match="nothing to propose"):
        search(Sums(), Listed(), ENOUGH)
    with pytest.raises(ConfigError, match="nothing to propose"):
        search(Sums(), Listed([]), ENOUGH)


def test_an_interrupted_search_comes_to_the_same_end(tmp_path):
    budget = Candidates(limit=60)
    expected = search(Sums(), Climbing(seed=3), budget)
    with pytest.raises(KeyboardInterrupt):
        search(KeptSums(tmp_path, breaks_after=5), Climbing(seed=3), budget)
    again = KeptSums(tmp_path, breaks_after=1000)
    found = search(again, Climbing(seed=3), budget)
    assert (found.best, found.score) == (expected.best, expected.score)
    assert [row.evaluations for row in found.history] == [
        row.evaluations for row in expected.history
    ]
    assert len(again.measured) == found.history[-1].evaluations - 5


def test_who_watches_sees_the_best_reward(monkeypatch, capsys):
    notes = []

    class Terminal:
        def isatty(self):
            return True

    class Bar(progress.Progress):
        def update(self, task, **changes):
            notes.append((changes["completed"], changes["description"]))
            super().update(task, **changes)

    monkeypatch.setattr(progress.sys, "stderr", Terminal())
    monkeypatch.setattr(progress, "Progress", Bar)
    search(Sums(), Listed([(1, 2), (2, 3)]), Candidates(limit=2), what="summing")
    assert (0.5, "summing: best 5.00") in notes
    assert notes[-1] == (1.0, "summing: best 13.00")
