import pytest
from tiny_problem import GOOD, POOR, tiny_problem

from hybridge.design.modeltree.branches import branch_of
from hybridge.design.modeltree.choices import KEEP, BlockChoice, branch_to
from hybridge.design.modeltree.grafting import Pool
from hybridge.design.modeltree.searchers import fastest_cut, searchers
from hybridge.design.search.budget import Candidates
from hybridge.design.search.run import search
from hybridge.errors import ConfigError, UnknownNameError

ENOUGH = Candidates(limit=100_000)
QUICK = {
    "exact": {},
    "reinforce": {"episodes": 16, "branch_episodes": 8},
    "random": {"episodes": 30},
    "epsilon-greedy": {"episodes": 30},
    "surgery": {},
}


def run(name, problem, seed=0, **settings):
    return search(problem, searchers.get(name)(problem, seed, settings), ENOUGH)


@pytest.mark.parametrize("name", searchers.names())
def test_every_searcher_ends_with_a_tree_and_repeats_itself(name):
    problem = tiny_problem(0, floor=0.88)
    one, again = (run(name, problem, seed=3, **QUICK[name]) for _ in range(2))
    problem.space.check(one.best)
    assert one.best == again.best
    assert [row.score for row in one.history] == [row.score for row in again.history]


@pytest.mark.parametrize("name", searchers.names())
def test_no_searcher_takes_settings_that_it_does_not_know(name):
    with pytest.raises(ConfigError, match=r"expected settings among .*; got epochs: Extra"):
        searchers.get(name)(tiny_problem(), 0, {"epochs": 3})


def test_a_misspelt_searcher_is_corrected():
    with pytest.raises(UnknownNameError, match="did you mean 'epsilon-greedy'"):
        searchers.get("epsilon_greedy")


@pytest.mark.parametrize("edge_ms", [10.0, 44.0, 70.0, 200.0])
def test_surgery_finds_the_fastest_cut_of_the_original(edge_ms):
    problem = tiny_problem(2, edge_ms=edge_ms)
    for link in (POOR, GOOD):
        under = problem.under(link)
        fastest_ms = under.latency_ms(fastest_cut(problem, link), 0)
        whole = tuple(BlockChoice(None, (KEEP,) * len(b.slots)) for b in problem.space.blocks)
        assert fastest_ms <= under.latency_ms(whole, 0)
        for level, block in enumerate(problem.space.blocks):
            for cut in block.cuts:
                options = (KEEP,) * block.slot_count(cut)
                branch = (*whole[:level], BlockChoice(cut, options))
                assert fastest_ms <= under.latency_ms(branch, 0) + 1e-9


def test_surgery_decides_once_or_for_every_request():
    problem = tiny_problem(0, edge_ms=52)
    anew, once = run("surgery", problem), run("surgery", problem, link=GOOD)
    assert branch_to(anew.best, (0,))[0].cut is None  # 1 Mbit/s: never send
    assert anew.best[1,].cut == 0  # 8 Mbit/s: send the pixels
    assert once.best == problem.space.tree_of(fastest_cut(problem, GOOD))
    assert {branch_of(once.best)} == {fastest_cut(problem, GOOD)}
    assert anew.score > once.score


def test_greedy_search_beats_chance():
    problem = tiny_problem(0)
    wins = sum(
        run("epsilon-greedy", problem, seed, episodes=200).score
        > run("random", problem, seed, episodes=200).score
        for seed in range(3)
    )
    assert wins >= 2


@pytest.mark.parametrize("name", ["random", "epsilon-greedy", "reinforce"])
def test_grafting_never_harms(name):
    problem = tiny_problem(5, edge_ms=60)
    plain, grafted = (run(name, problem, **QUICK[name], graft=graft) for graft in (False, True))
    assert grafted.score >= plain.score
    assert grafted.history[-1].evaluations == plain.history[-1].evaluations


def test_a_graft_of_all_branches_is_the_exact_tree():
    problem = tiny_problem(3, edge_ms=60)
    pool, measures = Pool(problem), {}
    blocks = [list(block.choices()) for block in problem.space.blocks]
    branches = [(a,) for a in blocks[0] if a.cut is not None]
    whole = [(a,) for a in blocks[0] if a.cut is None]
    pairs = [(*start, b) for start in whole for b in blocks[1]]
    branches += [pair for pair in pairs if pair[1].cut is not None]
    branches += [(*pair, c) for pair in pairs if pair[1].cut is None for c in blocks[2]]
    for branch in branches:
        tree = problem.space.tree_of(branch)
        measures |= {part: problem.measure(part).value for part in problem.parts(tree)}
        pool.add(tree, measures)
    assert problem.score(pool.best_tree(), measures) == pytest.approx(run("exact", problem).score)
