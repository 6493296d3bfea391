import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays as hypothesis_arrays
from hypothesis.strategies import floats, integers
from tiny_family import FAMILY, evaluator, of_macs, problem

from hybridge.design.search.budget import AnyOf
from hybridge.design.search.evolve import Evolution, EvolutionSettings, Trial
from hybridge.design.search.front import Front, FrontSettings
from hybridge.design.search.run import search
from hybridge.design.search.workers import RayWorkers
from hybridge.design.store import Store
from hybridge.design.supernet.evaluate import ANSWER
from hybridge.design.supernet.limits import Costs, Limits
from hybridge.design.supernet.pairs import Pair, PairProblem, Part
from hybridge.design.supernet.sides import Given, GivenNetwork, Subnets
from hybridge.errors import ConfigError, InfeasibleError
from hybridge.plan.layers import Layer

SETTINGS = EvolutionSettings(generations=2, population=5, parents=2, survivors=3)
LABELS = np.array([0, 1, 2, 3])


def answers(labels, margins=0.0):
    """What a network answers, and how sure it is."""
    made = np.empty(len(labels), ANSWER)
    made["label"], made["margin"] = labels, margins
    return made


class Answering(GivenNetwork):
    """A side of one network, with labels of its own."""

    def __init__(self, name, labels, macs_m, rungs=1, margins=0.0):
        self.name, self.rungs = name, rungs
        self.smallest = self.largest = Given(name)
        self._answers, self._footprint = answers(labels, margins), of_macs(macs_m)

    def labels(self, rung):
        return LABELS


def measured(problem, pair, rung=0):
    trial = Trial(pair, rung)
    return trial, {part: problem.measure(part).value for part in problem.parts(trial)}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Where several tests keep what subnets answer."""
    return tmp_path_factory.mktemp("answers")


def evolve(problem, settings=SETTINGS, seed=0, **options):
    algorithm = Evolution(problem, seed, settings)
    memo = {}
    found = search(
        problem,
        algorithm,
        AnyOf(()),
        memo,
        counts=lambda trial: trial.rung == problem.top,
        **options,
    )
    point = problem.point(found.best, {part: each.value for part, each in memo.items()})
    return found, algorithm, point


def test_the_agreement_oracle_sends_what_the_two_disagree_on():
    """Base is right on 0 and 1; global on 0, 2 and 3: they disagree on three of four."""
    base, global_ = Answering("b", [0, 1, 1, 1], 10), Answering("g", [0, 0, 2, 3], 100)
    pairs = PairProblem(base, global_, Costs(Limits(macs_m=85)))
    point = pairs.point(*measured(pairs, pairs.smallest))
    assert point.query_rate == 0.75
    assert (point.base_accuracy, point.accuracy) == (0.5, 0.75)
    assert point.costs["macs_m"] == pytest.approx(10 + 0.75 * 100)
    assert pairs.score(*measured(pairs, pairs.smallest)) == pytest.approx(0.75)


def test_by_confidence_what_the_base_is_least_sure_of_is_sent_as_the_limit_allows():
    """Base is right on 0 and 1; global on 0, 2 and 3; base is surest of 3, which is wrong."""
    base = Answering("b", [0, 1, 1, 1], 10, margins=[0.4, 0.3, 0.1, 0.9])
    global_ = Answering("g", [0, 0, 2, 3], 100)
    for macs_m, sent, right in (
        (10, 0, 0.5),
        (34, 0, 0.5),
        (35, 1, 0.75),
        (60, 2, 0.5),
        (500, 4, 0.75),
    ):
        pairs = PairProblem(base, global_, Costs(Limits(macs_m=macs_m)), "confidence")
        point = pairs.point(*measured(pairs, pairs.smallest))
        assert (point.query_rate, point.accuracy, point.base_accuracy) == (sent / 4, right, 0.5)
        assert point.costs["macs_m"] == pytest.approx(10 + sent / 4 * 100)
        assert pairs.score(*measured(pairs, pairs.smallest)) == pytest.approx(right)
    by_bytes = PairProblem(base, global_, Costs(Limits(base_flash_bytes=1000)), "confidence")
    point = by_bytes.point(*measured(by_bytes, by_bytes.smallest))
    assert (point.query_rate, point.accuracy) == (0.75, 0.5)  # as much as the oracle


@given(
    labels=hypothesis_arrays(np.int32, (2, 12), elements=integers(0, 3)),
    margins=hypothesis_arrays(np.float32, 12, elements=floats(0, 1, width=32)),
    limit=floats(10, 200),
)
def test_by_confidence_a_pair_never_costs_more_than_its_limit(labels, margins, limit):
    class Twelve(Answering):
        def labels(self, rung):
            return np.arange(12) % 4

    sides = Twelve("b", labels[0], 10, margins=margins), Twelve("g", labels[1], 100)
    pairs = PairProblem(*sides, Costs(Limits(macs_m=limit)), "confidence")
    trial, measures = measured(pairs, pairs.smallest)
    point = pairs.point(trial, measures)
    assert pairs.costs.allow(point.costs)
    assert point.query_rate == 1 or point.costs["macs_m"] > limit - 100 / 12 - 1e-3
    oracle = pairs.point(trial, measures, "agreement")
    label_oracle = ((labels == np.arange(12) % 4).any(axis=0)).mean()
    assert max(point.accuracy, oracle.accuracy) <= label_oracle


def test_a_pair_by_confidence_is_searched_within_its_budget(kept):
    side = Subnets(evaluator(kept))
    found, _, point = evolve(PairProblem(side, side, Costs(Limits(macs_m=0.08)), "confidence"))
    assert found.score == pytest.approx(point.accuracy)
    assert point.costs["macs_m"] <= 0.08


def test_a_pair_over_its_limit_is_not_allowed():
    base, global_ = Answering("b", [0, 1, 1, 1], 10), Answering("g", [0, 0, 2, 3], 100)
    pairs = PairProblem(base, global_, Costs(Limits(macs_m=84)))
    assert pairs.promising(pairs.smallest)  # if they agreed
    assert pairs.score(*measured(pairs, pairs.smallest)) == float("-inf")


def test_the_router_counts_beside_a_base_and_not_for_one_network():
    router = [Layer(name="r", kind="linear", macs=1_000_000, parameters=1, output_bytes=8)]
    base, global_ = Answering("b", LABELS, 10), Answering("g", LABELS, 100)
    costs = Costs(Limits(macs_m=85), router=router)
    pairs, alone = PairProblem(base, global_, costs), PairProblem(base, None, costs)
    assert pairs.point(*measured(pairs, pairs.smallest)).costs["macs_m"] == pytest.approx(11)
    assert alone.point(*measured(alone, alone.smallest)).costs["macs_m"] == pytest.approx(10)


def test_sides_that_do_not_fit_are_refused():
    base, costs = Answering("b", LABELS, 10), Costs(Limits(macs_m=85))
    with pytest.raises(ConfigError, match="two names for two sides, got 'b' twice"):
        PairProblem(base, Answering("b", LABELS, 1), costs)
    with pytest.raises(ConfigError, match="the same images at every rung"):
        PairProblem(base, Answering("g", LABELS, 1, rungs=2), costs)
    with pytest.raises(ConfigError, match=r"answers of 'g' to 4 images, got \(3,\)"):
        GivenNetwork("g", answers(LABELS[:3]), of_macs(1), base)


def test_a_budget_below_the_smallest_says_what_is_feasible(kept):
    with pytest.raises(InfeasibleError, match=r"0.01 macs_m.*smallest costs 0.027.*largest 0.3"):
        problem(kept, macs_m=0.01)


def test_a_budget_just_above_the_smallest_is_met(kept):
    pairs = problem(kept, macs_m=0.05)
    found, _, point = evolve(pairs)
    assert pairs.base.footprint(found.best.candidate.base).macs < 0.04e6
    assert found.best.candidate.global_ != found.best.candidate.base
    assert point.costs["macs_m"] <= 0.05


def test_a_budget_that_the_smallest_just_misses_says_what_disagreement_costs(kept):
    """0.0277 is above the smallest pair that sends nothing, and below any that sends a little."""
    with pytest.raises(InfeasibleError, match=r"that was evaluated.*agree too seldom") as caught:
        evolve(problem(kept, macs_m=0.0277))
    assert "costs 0.027648 macs_m if nothing is sent and 0.055296" in str(caught.value)


def test_one_network_twice_is_no_pair(kept):
    pairs, rng = problem(kept, macs_m=1), np.random.default_rng(0)
    for network in (pairs.base.smallest, pairs.base.draw(rng)):
        twice = Pair(network, network)
        assert not pairs.promising(twice)
        assert pairs.score(*measured(pairs, twice)) == float("-inf")
        part = Part(pairs.base.name, network, 1)
        assert pairs.recombined({part: pairs.measure(part).value}, 3) == []
    drawn = [pairs.draw(rng, 1.0) for _ in range(20)]
    assert {pair.base for pair in drawn} == {pairs.base.smallest}
    assert sum(pair.global_ != pair.base for pair in drawn) >= 18


def test_among_pairs_as_often_right_the_one_that_sends_less_is_better():
    """Bytes of the base do not grow with what is sent."""
    near, far = Answering("b", [0, 1, 1, 3], 10), Answering("b", [0, 1, 1, 1], 10)
    costs, global_ = Costs(Limits(base_flash_bytes=1000)), Answering("g", [0, 0, 2, 3], 100)
    scores = []
    for base in (near, far):
        pairs = PairProblem(base, global_, costs)
        scores.append(pairs.score(*measured(pairs, pairs.smallest)))
    assert scores[0] > scores[1]
    assert scores == pytest.approx([0.75, 0.75])


def test_a_pair_of_one_supernet_is_searched_within_its_budget(kept):
    pairs = problem(kept)
    found, algorithm, point = evolve(pairs)
    assert found.score == pytest.approx(point.accuracy)
    assert point.costs["macs_m"] <= 0.08
    assert found.tally.afresh_evaluations > found.tally.evaluations
    for pair, score in algorithm.parents:
        assert score <= found.score
        for subnet in (pair.base, pair.global_):
            assert FAMILY.space.canonical(subnet.architecture) == subnet.architecture
            assert subnet.resolution in FAMILY.resolutions


def test_two_supernets_each_give_one_side(kept):
    first, second = evaluator(kept), evaluator(kept, seed=1)
    sides = Subnets(first, (8,), "small"), Subnets(second, (12,), "large")
    found, _, _ = evolve(PairProblem(*sides, Costs(Limits(macs_m=0.1))))
    pair = found.best.candidate
    assert (pair.base.resolution, pair.global_.resolution) == (8, 12)


def test_a_base_is_adapted_to_a_given_global(kept):
    side = Subnets(evaluator(kept))
    labels = np.random.default_rng(0).integers(4, size=48)
    given = GivenNetwork("teacher", answers(labels), of_macs(0.1), side)
    adapted = PairProblem(side, given, Costs(Limits(macs_m=0.15)))
    found, _, point = evolve(adapted)
    assert found.best.candidate.global_ == Given("teacher")
    assert point.accuracy == (labels == side.labels(1)).mean()
    hopeless = GivenNetwork("huge", answers(labels), of_macs(100), side)
    with pytest.raises(InfeasibleError, match="if everything is"):
        evolve(PairProblem(side, hopeless, Costs(Limits(macs_m=0.15))))


def test_one_network_is_searched_by_its_own_accuracy(kept):
    side = Subnets(evaluator(kept))
    found, _, point = evolve(PairProblem(side, None, Costs(Limits(macs_m=0.08))))
    assert found.best.candidate.global_ is None
    assert point.query_rate == 0
    assert point.accuracy == point.base_accuracy == found.score
    assert side.footprint(found.best.candidate.base).macs <= 0.08e6


def test_memory_limits_the_base_and_not_the_global(kept):
    pairs = problem(kept, macs_m=0.3, base_sram_bytes=1600)
    rng = np.random.default_rng(0)
    drawn = [pairs.draw(rng) for _ in range(40)]
    small = {pairs.base.footprint(pair.base).arena_bytes <= 1600 for pair in drawn}
    assert small == {True, False}
    for pair in drawn:
        fits = pairs.base.footprint(pair.base).arena_bytes <= 1600
        assert pairs.promising(pair) == fits


def test_a_mutation_changes_about_a_tenth_of_the_choices(kept):
    pairs, rng = problem(kept), np.random.default_rng(0)
    resolutions = [pairs.mutate(pairs.largest, 0.1, rng).base.resolution for _ in range(400)]
    assert resolutions.count(8) == pytest.approx(
        400 * 0.1 / 2, abs=15
    )  # half are drawn as they were


def test_an_interrupted_search_comes_to_the_same_end(kept, tmp_path, monkeypatch):
    expected = evolve(problem(kept))
    keep, evaluated = Store.keep, []

    def breaking(self, key, compute):
        def counted():
            if len(evaluated) == 12:
                raise KeyboardInterrupt
            evaluated.append(key)
            return compute()

        return keep(self, key, counted)

    monkeypatch.setattr(Store, "keep", breaking)
    with pytest.raises(KeyboardInterrupt):
        evolve(problem(tmp_path))
    monkeypatch.setattr(Store, "keep", keep)
    found = evolve(problem(tmp_path))
    assert found[0].best == expected[0].best
    assert found[1].parents == expected[1].parents
    assert [row.score for row in found[0].history] == [row.score for row in expected[0].history]


def test_a_problem_answers_the_same_in_another_process(kept, tmp_path):
    pairs = problem(tmp_path)
    there = pickle.loads(pickle.dumps(pairs))  # as Ray sends it
    part = Part(pairs.base.name, pairs.base.draw(np.random.default_rng(0)), 1)
    sent = pickle.loads(pickle.dumps(part))
    assert sent == part
    np.testing.assert_array_equal(there.measure(sent).value, problem(kept).measure(part).value)


@pytest.mark.slow
def test_two_workers_of_ray_find_what_one_process_finds(kept, tmp_path):
    pytest.importorskip("ray")
    expected = evolve(problem(kept))
    with RayWorkers(2) as workers:
        found = evolve(problem(tmp_path), workers=workers)
    assert found[0].best == expected[0].best
    assert found[1].parents == expected[1].parents
    assert [row.score for row in found[0].history] == [row.score for row in expected[0].history]


def test_recombining_finds_the_best_pair_of_all_that_were_evaluated(kept):
    pairs, rng = problem(kept), np.random.default_rng(0)
    networks = [pairs.base.draw(rng) for _ in range(8)]
    measures = {
        part: pairs.measure(part).value
        for part in (Part(pairs.base.name, network, 1) for network in networks)
    }
    every = [Pair(base, global_) for base in networks for global_ in networks]
    best = max(pairs.score(Trial(pair, 1), measures) for pair in every)
    found = pairs.recombined(measures, 3)
    assert pairs.score(Trial(found[0], 1), measures) == best > 0
    assert len({pair.global_ for pair in found}) == len(found) == 3
    assert all(pairs.score(Trial(pair, 1), measures) > 0 for pair in found)
    assert pairs.recombined({}, 3) == []


def test_recombining_in_a_search_measures_nothing(kept):
    settings = SETTINGS.model_copy(update={"recombine": True})
    found, _, _ = evolve(problem(kept), settings)
    plain, _, _ = evolve(problem(kept))
    assert found.score >= plain.score


def test_the_whole_front_is_found_in_one_search(kept):
    pairs = problem(kept, macs_m=0.3)
    front = Front(pairs, 0, FrontSettings(generations=1, population=6))
    found = search(pairs, front, AnyOf(()), counts=lambda trial: trial.rung == pairs.top)
    costs = [point.cost for point in front.points]
    assert costs == sorted(costs)
    assert front.points[-1].accuracy == pytest.approx(found.score)
    for point in front.points:
        trial, measures = measured(pairs, point.candidate, pairs.top)
        assert pairs.objectives(trial, measures) == (point.accuracy, point.cost)
