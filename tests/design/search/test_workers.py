import pickle
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


class FakePool:
    """Hands parts to actors in turn, and gives the answers of every two the later one first."""

    def __init__(self, actors):
        self.actors = actors

    def map_unordered(self, call, parts):
        answers = [call(self.actors[n % len(self.actors)], part) for n, part in enumerate(parts)]
        return iter(sorted(answers, key=lambda answer: answer[0] ^ 1))


class FakeTaskError(Exception):
    """What Ray raises here for an error there."""

    def __init__(self, cause):
        super().__init__("Traceback of another process")
        self.cause = cause


class FakeRay:
    """As much of Ray as is used, in this process; a value sent is a copy."""

    util = SimpleNamespace(ActorPool=FakePool)
    exceptions = SimpleNamespace(RayTaskError=FakeTaskError)

    def __init__(self):
        self.begun, self.killed, self.running = [], [], False

    def is_initialized(self):
        return self.running

    def init(self, **options):
        self.begun.append(options)
        self.running = True

    def shutdown(self):
        self.running = False

    def put(self, value):
        return pickle.loads(pickle.dumps(value))

    def kill(self, actor):
        self.killed.append(actor)

    def remote(self, **options):
        def made(kind):
            def new(*args):
                worker = kind(*args)
                return SimpleNamespace(measure=SimpleNamespace(remote=worker.measure))

            return SimpleNamespace(remote=new)

        return made


def test_workers_elsewhere_find_what_this_process_finds(monkeypatch):
    ray = FakeRay()
    monkeypatch.setattr(workers, "_ray", lambda: ray)
    here, there = Digits(), Digits()
    expected = search(here, Evolution(here, 0, SETTINGS), AnyOf(()))
    with RayWorkers(2, threads=1) as elsewhere:
        found = search(there, Evolution(there, 0, SETTINGS), AnyOf(()), workers=elsewhere)
    assert found.best == expected.best
    assert [row.score for row in found.history] == [row.score for row in expected.history]
    assert there.measured == []  # all of it was done by copies
    assert ray.begun[0]["num_cpus"] == 2
    assert len(ray.killed) == 2
    assert not ray.running


class Failing:
    def measure(self, part):
        raise FakeTaskError(ConfigError(f"no {part}"))


def test_an_error_of_a_worker_is_told_in_its_own_words(monkeypatch):
    monkeypatch.setattr(workers, "_ray", FakeRay)
    with RayWorkers(2) as elsewhere, pytest.raises(ConfigError, match=r"^no part$"):
        list(elsewhere.measure(Failing(), ["part"]))


@pytest.mark.parametrize("error", [ConfigError("x is wrong"), MissingExtraError("onnx", "export")])
def test_an_error_comes_from_another_process_as_it_was(error):
    there = pickle.loads(pickle.dumps(error))
    assert type(there) is type(error)
    assert str(there) == str(error)


def test_a_cluster_that_is_named_is_joined(monkeypatch):
    ray = FakeRay()
    monkeypatch.setattr(workers, "_ray", lambda: ray)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    RayWorkers(2).close()
    assert ray.begun[0]["address"] == "10.0.0.1:6379"
    assert "num_cpus" not in ray.begun[0]


def test_without_ray_its_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"hybridge\[ray\]"):
        RayWorkers(2)


def test_a_ray_that_does_not_start_is_an_error_to_mend(monkeypatch):
    def init(**options):
        raise RuntimeError("timed out")

    ray = SimpleNamespace(is_initialized=lambda: False, init=init)
    monkeypatch.setattr(workers, "_ray", lambda: ray)
    with pytest.raises(ConfigError, match="did not start at local: timed out"):
        RayWorkers(2, threads=2)


@pytest.mark.parametrize(("count", "threads"), [(0, 1), (1, 0)])
def test_workers_without_workers_are_refused(count, threads):
    with pytest.raises(ConfigError, match="expected 1 worker or more"):
        RayWorkers(count, threads)
