import pytest
from tiny_problem import GOOD, POOR, tiny_problem

from hybridge.design.modeltree.branches import branch_of, tree_by_first_type
from hybridge.design.modeltree.exact import Exact
from hybridge.design.modeltree.reinforce import Learner, Reinforce, ReinforceSettings
from hybridge.design.modeltree.searchers import searchers
from hybridge.design.search.budget import Candidates, Evaluations
from hybridge.design.search.run import search

ENOUGH = Candidates(limit=100_000)
FEW = {"episodes": 24, "branch_episodes": 16}
EVALUATIONS = 140  # of 216 compositions


def run(name, problem, memo=None, seed=0, budget=ENOUGH, **settings):
    return search(problem, searchers.get(name)(problem, seed, settings), budget, memo)


@pytest.mark.parametrize(("edge_ms", "seeds"), [(44.0, range(5)), (60.0, range(2))])
def test_most_of_the_gap_between_surgery_and_the_exact_tree_is_closed(edge_ms, seeds):
    problem, memo = tiny_problem(3, edge_ms=edge_ms), {}
    best = run("exact", problem, memo).score
    surgery = run("surgery", problem, memo).score
    for seed in seeds:
        found = run("reinforce", problem, memo, seed, Evaluations(limit=EVALUATIONS), episodes=200)
        assert found.score <= best + 1e-9
        assert found.score - surgery >= 0.9 * (best - surgery)


def test_a_tree_is_no_worse_than_branches_nor_these_than_surgery():
    problem, memo = tiny_problem(4, edge_ms=60), {}
    tree = run("reinforce", problem, memo, **FEW).score
    branches = [branch_of(run("exact", problem.under(link), memo).best) for link in (POOR, GOOD)]
    for branch, link in zip(branches, (POOR, GOOD), strict=True):
        (cut,) = searchers.get("surgery")(problem.under(link), 0).ask()
        measures = {part: measured.value for part, measured in memo.items()}
        measures |= {part: problem.measure(part).value for part in problem.parts(cut)}
        under = problem.under(link)
        best = under.score(under.space.tree_of(branch), measures)
        assert best >= under.score(cut, measures)
    by_type = problem.score(
        tree_by_first_type(problem.space, branches),
        {
            part: problem.measure(part).value
            for branch in branches
            for part in [problem.space.composition(branch)]
        },
    )
    assert run("exact", problem, memo).score >= max(by_type, tree)


def test_a_search_is_a_function_of_its_seed():
    problem, memo = tiny_problem(2), {}
    one, same, other = (run("reinforce", problem, memo, seed, **FEW) for seed in (7, 7, 8))
    assert one.best == same.best
    assert [row.score for row in one.history] == [row.score for row in same.history]
    assert [row.score for row in one.history] != [row.score for row in other.history]


def test_the_search_begins_with_branches_and_the_trees_made_of_them():
    problem, asked = tiny_problem(1), []
    algorithm = Reinforce(problem, 0, ReinforceSettings(episodes=8, branch_episodes=8))

    class Listening:
        done = False

        def ask(self):
            asked.append(algorithm.ask())
            return asked[-1]

        def tell(self, *told):
            algorithm.tell(*told)
            self.done = algorithm.done

    search(problem, Listening(), ENOUGH)
    assert [len(batch) for batch in asked] == [1, 4, 4, 1, 4, 4, 2, 1, 4, 4]
    branches = [tree for batch in asked[:6] for tree in batch]
    for tree in branches:
        assert tree == problem.space.tree_of(branch_of(tree))
    assert branch_of(asked[6][0]) in map(branch_of, branches[:9])


def test_a_branch_is_never_worse_than_surgery():
    problem = tiny_problem(3)
    for link in problem.links:
        under, memo = problem.under(link), {}
        found = run("reinforce", under, memo, 0, episodes=8, branch_episodes=0)
        assert found.score >= run("surgery", under, memo).score


def test_controllers_learn_what_pays():
    """A later tree is worth more than an early one, drawn by the same controllers."""
    problem = tiny_problem(0)
    learner = Learner(problem, 0, ReinforceSettings(), episodes=160)
    scores = []

    class Listening:
        done = False
        ask = staticmethod(learner.ask)

        def tell(self, candidates, told, measures):
            learner.tell(candidates, told, measures)
            scores.append(sum(told) / len(told))
            self.done = learner.done

    search(problem, Listening(), ENOUGH)
    assert sum(scores[-5:]) / 5 > sum(scores[:5]) / 5 + 5


def test_an_optimal_branch_is_the_tree_under_one_type():
    problem = tiny_problem(0).under(POOR)
    memo = {}
    found = run("reinforce", problem, memo, episodes=160)
    assert len(found.best) == len(branch_of(found.best))
    assert found.score == pytest.approx(search(problem, Exact(problem), ENOUGH).score, abs=2)


def test_imitation_makes_a_tree_likelier():
    problem = tiny_problem(0)
    learner = Learner(problem, 0, ReinforceSettings(), episodes=8)
    tree = learner.ask()[0]
    actions = learner._sampler.actions_of(tree)
    before = actions.log_probabilities(learner.controllers()).sum()
    learner.imitate(tree, 5)
    assert actions.log_probabilities(learner.controllers()).sum() > before
