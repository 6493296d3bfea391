"""Evolution on candidates that are vectors of digits: the higher their sum, the better."""

import pytest
from digits import Digits

from hybridge.design.search.budget import AnyOf
from hybridge.design.search.evolve import Evolution, EvolutionSettings
from hybridge.design.search.run import search
from hybridge.errors import InfeasibleError

ENDLESS = AnyOf(())
SETTINGS = EvolutionSettings(generations=6, population=12, parents=4, survivors=6, redraws=5)


def run(problem, settings=SETTINGS, seed=0):
    algorithm = Evolution(problem, seed, settings)
    found = search(problem, algorithm, ENDLESS, counts=lambda trial: trial.rung == problem.top)
    return found, algorithm


def test_children_become_better_than_what_is_drawn_at_random():
    evolved, _ = run(Digits())
    same_number = SETTINGS.model_copy(update={"generations": 0, "population": 84})
    drawn, _ = run(Digits(), same_number)
    assert evolved.score > drawn.score


def test_the_same_seed_finds_the_same():
    first, other = run(Digits(), seed=1), run(Digits(), seed=1)
    assert first[0].best == other[0].best
    assert first[1].parents == other[1].parents
    assert run(Digits(), seed=2)[0].best != first[0].best


def test_all_are_screened_and_only_the_best_are_measured_in_full():
    problem = Digits()
    found, algorithm = run(problem)
    screened = [part for part, rung in problem.measured if rung == 0]
    full = [part for part, rung in problem.measured if rung == 1]
    assert 0 < len(full) <= 7 * SETTINGS.survivors
    assert set(full) <= set(screened)
    assert found.best.rung == 1
    assert found.score == sum(found.best.candidate) == algorithm.parents[0][1]
    assert len(algorithm.parents) == SETTINGS.parents


def test_what_has_been_measured_in_full_takes_no_survivors_place():
    problem = Digits()
    evolution = Evolution(problem, 0, SETTINGS.model_copy(update={"parents": 20, "survivors": 3}))
    first = [trial.candidate for trial in evolution.ask()]
    evolution._best = dict.fromkeys(sorted(first, key=sum)[-3:], 40.0)
    known = set(evolution._best)
    evolution.tell(evolution.ask(), [float(sum(each)) for each in first], {})
    assert len(evolution.ask()) == 3
    assert not known & {trial.candidate for trial in evolution.ask()}


def test_what_is_screened_worse_than_every_parent_is_not_measured_in_full():
    problem = Digits()
    settings = SETTINGS.model_copy(update={"mutation": 1.0, "survivors": 12})
    run(problem, settings)
    full = [part for part, rung in problem.measured if rung == 1]
    parents = sorted(map(sum, full[:12]))[-4:]
    # A digit's parity is the error of the screening.
    assert all(sum(part) >= parents[0] - 1 for part in full[12:])
    assert 0 < len(full) - 12 < 6 * 6


def test_what_is_drawn_anew_is_as_random_as_the_first_until_the_last_times():
    thrifts = []

    class Watched(Digits):
        def draw(self, rng, thrift=0.0):
            thrifts.append(thrift)
            return super().draw(rng, thrift)

    run(Watched(most=0, tells=False), SETTINGS.model_copy(update={"redraws": 8}))
    rounds = [set(thrifts[start : start + 12]) for start in range(0, 9 * 12, 12)]
    assert rounds[:7] == [{0.0}] * 7
    assert (rounds[7], rounds[8]) == ({0.5}, {1.0})


def test_a_problem_of_one_rung_is_measured_once():
    problem = Digits(top=0)
    found, _ = run(problem)
    assert {rung for _, rung in problem.measured} == {0}
    assert found.score == sum(found.best.candidate)


def test_what_is_known_not_to_be_allowed_is_not_measured():
    problem = Digits(most=20)
    found, _ = run(problem)
    assert all(sum(part) <= 20 for part, _ in problem.measured)
    assert problem.drawn > len(problem.measured)
    assert found.score <= 20


def test_what_turns_out_not_to_be_allowed_is_drawn_anew():
    problem = Digits(most=25, tells=False)
    found, algorithm = run(problem)
    screened = [part for part, rung in problem.measured if rung == 0]
    assert any(sum(part) > 25 for part in screened)
    assert 15 < found.score <= 25
    assert all(score <= 25 for _, score in algorithm.parents)


def test_a_limit_that_chance_never_meets_is_met_by_drawing_small():
    found, _ = run(Digits(most=1))
    assert found.score in (0, 1)
    found, _ = run(Digits(most=0, tells=False))
    assert found.score == 0


def test_nothing_allowed_is_an_error_that_says_what_is():
    with pytest.raises(InfeasibleError, match="sums from 0"):
        run(Digits(most=-1, tells=False))


def test_what_is_known_is_recombined_where_that_is_wished():
    plain, mixed = Digits(), Digits()
    run(plain)
    found, algorithm = run(mixed, SETTINGS.model_copy(update={"recombine": True}))
    candidates = [candidate for candidate, _ in algorithm.parents]
    assert any(each[:4] == each[4:] for each in candidates)
    assert found.score >= 60


def test_what_is_known_is_recombined_with_one_rung_too():
    _, algorithm = run(Digits(top=0), SETTINGS.model_copy(update={"recombine": True}))
    assert any(each[:4] == each[4:] for each, _ in algorithm.parents)


def test_scores_are_told_in_numbers_of_what_was_spared():
    found, _ = run(Digits())
    tally = found.tally
    assert tally.candidates == len(found.history)
    assert tally.evaluations == found.history[-1].evaluations <= tally.afresh_evaluations
    assert tally.measuring_seconds == pytest.approx(tally.evaluations)
    assert tally.afresh_measuring_seconds == pytest.approx(tally.candidates)
    assert tally.candidates_per_second > 0
    assert tally.times_faster >= 1
