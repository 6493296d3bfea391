import sys
from types import SimpleNamespace

import pytest
from digits import Digits

from hybridge.design.search import workers
from hybridge.design.search.budget import AnyOf, Candidates
from hybridge.design.search.evolve import Evolution, EvolutionSettings
from hybridge.design.search.run import search
from hybridge.design.search.workers import InProcess, RayWorkers
from hybridge.errors import ConfigError, MissingExtraError

SETTINGS = EvolutionSettings(generations=2, population=8, parents=3, survivors=4)


class Watched:
    """Workers that remember what they were handed."""

    def __init__(self):
        self.handed = []

    def measure(self, problem, parts):
        self.handed.append(list(parts))
        return InProcess().measure(problem, parts)


def test_all_that_is_new_of_what_is_asked_together_is_handed_over_at_once():
    problem, watched = Digits(), Watched()
    algorithm = Evolution(problem, 0, SETTINGS)
    search(problem, algorithm, AnyOf(()), workers=watched)
    assert len(watched.handed) == 6  # three populations, screened and then measured in full
    handed = [part for parts in watched.handed for part in parts]
    assert handed == problem.measured
    assert len(set(handed)) == len(handed)


def test_a_budget_that_ends_within_what_was_asked_measures_no_more():
    problem = Digits()
    search(problem, Evolution(problem, 0, SETTINGS), Candidates(limit=3), counts=lambda _: True)
    assert len(problem.measured) == 3


def test_without_ray_its_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"hybridge\[ray\]"):
        RayWorkers(2)


def test_a_ray_that_does_not_start_is_an_error_to_mend(monkeypatch):
    def init(**options):
        raise RuntimeError("timed out")

    ray = SimpleNamespace(is_initialized=lambda: False, init=init)
    monkeypatch.setattr(workers, "_ray", lambda: ray)
    with pytest.raises(ConfigError, match="did not start 4 processors: timed out"):
        RayWorkers(2, threads=2)


@pytest.mark.parametrize(("count", "threads"), [(0, 1), (1, 0)])
def test_workers_without_workers_are_refused(count, threads):
    with pytest.raises(ConfigError, match="expected 1 worker or more"):
        RayWorkers(count, threads)
