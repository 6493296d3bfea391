import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_problem import tiny_space

from hybridge.design.modeltree.branches import branch_of, tree_by_first_type, tree_of_blocks
from hybridge.design.modeltree.choices import (
    KEEP,
    BlockChoice,
    branch_to,
    leaves,
    parse_tree,
    plain_tree,
)
from hybridge.design.modeltree.drawn import Random, RandomSettings
from hybridge.design.modeltree.problem import TreeProblem
from hybridge.errors import ConfigError

SPACE = tiny_space()
FIRST, SECOND, THIRD = SPACE.blocks
WHOLE = BlockChoice(None, (KEEP, KEEP))


def drawn_tree(seed):
    problem = TreeProblem(SPACE, (), None, None)
    return Random(problem, seed, RandomSettings()).ask()[0]


trees = st.builds(drawn_tree, st.integers(0, 10_000))


def test_a_block_offers_every_cut_with_what_stands_before_it():
    choices = list(FIRST.choices())
    assert len(choices) == len(set(choices))
    assert [sum(c.cut == cut for c in choices) for cut in (0, 1, 2, None)] == [1, 2, 2, 6]
    for choice in choices:
        FIRST.check(choice)


def test_what_narrows_the_next_unit_is_no_option_just_before_a_cut():
    assert SECOND.allowed(0, None) == (KEEP, "C1", "W1")
    assert SECOND.allowed(0, 1) == (KEEP, "C1")
    with pytest.raises(ConfigError, match="'c' cannot become 'W1' here; it may become keep, C1"):
        SECOND.check(BlockChoice(1, ("W1",)))


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (BlockChoice(2, (KEEP, KEEP)), r"a cut before one of the units \[0, 1\] or none, got 2"),
        (BlockChoice(None, (KEEP,)), "an option for each of 2 layers, got 1"),
        (BlockChoice(None, (KEEP, "F1")), "'d' cannot become 'F1'"),
    ],
)
def test_a_choice_that_is_none_is_refused(choice, message):
    with pytest.raises(ConfigError, match=message):
        SECOND.check(choice)


@given(trees)
def test_a_tree_survives_its_file(tree):
    SPACE.check(tree)
    assert parse_tree(json.loads(json.dumps(plain_tree(tree)))) == tree


@given(trees)
def test_every_branch_ends_and_keeps_what_follows_a_cut(tree):
    for path in leaves(SPACE, tree):
        branch = branch_to(tree, path)
        composition = SPACE.composition(branch)
        count = sum(len(choice.options) for choice in branch)
        assert len(composition) == len(SPACE.slots)
        assert set(composition[count:]) <= {KEEP}


def test_a_tree_with_a_block_missing_or_too_many_is_refused():
    whole = dict(SPACE.tree_of([WHOLE] * 3))
    with pytest.raises(ConfigError, match=r"no block at \(1, 0\)"):
        SPACE.check({path: choice for path, choice in whole.items() if path[:2] != (1, 0)})
    with pytest.raises(ConfigError, match=r"blocks at \[\(0, 0\)"):
        SPACE.check({**whole, (0,): BlockChoice(0, ())})


@pytest.mark.parametrize("plain", [[{"types": [0]}], [{"types": "x", "cut": 0, "options": []}]])
def test_a_file_that_holds_no_tree_is_refused(plain):
    with pytest.raises(ConfigError, match="expected a tree's"):
        parse_tree(plain)


@given(trees, trees)
def test_branches_make_trees(one, other):
    branches = [branch_of(one), branch_of(other)]
    first = tree_by_first_type(SPACE, branches)
    SPACE.check(first)
    assert [branch_to(first, (k,) * len(branches[k])) for k in (0, 1)] == branches
    blocks = tree_of_blocks(SPACE, branches)
    SPACE.check(blocks)
    assert branch_of(blocks) == branches[0]


def test_a_block_of_a_branch_that_was_cut_comes_from_the_branch_that_went_on():
    cut, whole = (BlockChoice(1, ("C1",)),), (WHOLE, WHOLE, BlockChoice(1, ("C2",)))
    tree = tree_of_blocks(SPACE, [cut, whole])
    assert tree[0,] == cut[0]
    assert tree[1, 0] == whole[1]
    assert tree[1, 0, 1] == whole[2]
