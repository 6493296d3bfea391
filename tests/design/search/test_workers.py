import pytest
from digits import Digits

from hybridge.design.search.budget import AnyOf, Candidates
from hybridge.design.search.evolve import Evolution, EvolutionSettings
from hybridge.design.search.run import search
from hybridge.design.search.workers import InProcess, RayWorkers
from hybridge.errors import ConfigError

SETTINGS = EvolutionSettings(generations=2, population=8, parents=3, survivors=4)


class Watched:
    """Workers that remember what they were handed."""

    def __init__(self):
        self.handed = []

    def measure(self, problem, parts):
        self.handed.append(list(parts))
        return InProcess().measure(problem, parts)


def test_all_that_is_new_of_what_is_asked_together_is_handed_over_at_once():
    problem, workers = Digits(), Watched()
    algorithm = Evolution(problem, 0, SETTINGS)
    search(problem, algorithm, AnyOf(()), workers=workers)
    assert len(workers.handed) == 6  # three populations, screened and then measured in full
    handed = [part for parts in workers.handed for part in parts]
    assert handed == problem.measured
    assert len(set(handed)) == len(handed)


def test_a_budget_that_ends_within_what_was_asked_measures_no_more():
    problem = Digits()
    search(problem, Evolution(problem, 0, SETTINGS), Candidates(limit=3), counts=lambda _: True)
    assert len(problem.measured) == 3


@pytest.mark.parametrize(("count", "threads"), [(0, 1), (1, 0)])
def test_workers_without_workers_are_refused(count, threads):
    with pytest.raises(ConfigError, match="expected 1 worker or more"):
        RayWorkers(count, threads)
