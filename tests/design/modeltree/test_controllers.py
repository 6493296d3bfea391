import pytest
import torch
from tiny_problem import slot, tiny_space

from hybridge.design.modeltree.choices import KEEP, BlockSpace, Space
from hybridge.design.modeltree.controllers import Controllers
from hybridge.design.modeltree.episodes import Sampler

SPACE = tiny_space()
BANDWIDTHS_BPS = [1e6, 8e6]


def controllers(space=SPACE, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Controllers(space, BANDWIDTHS_BPS[: space.types], 8, generator)


def trained(seed=0):
    """Controllers that prefer something."""
    made = controllers(seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, 0, 0.5, generator=generator)
    return made


def test_only_what_is_allowed_is_likely():
    made = trained()
    policy = made()
    for level, block in enumerate(SPACE.blocks):
        for state in (2 * level, 2 * level + 1):
            positions = policy.positions[state].exp()
            assert positions[: len(block.positions)].sum().item() == pytest.approx(1, abs=1e-5)
            for position, cut in enumerate(block.positions):
                for index in range(len(block.slots)):
                    likely = policy.options[state, position, index].exp()
                    found = {o for o, p in zip(made.vocabulary, likely, strict=True) if p > 0}
                    stands = index < block.slot_count(cut)
                    assert found == (set(block.allowed(index, cut)) if stands else {KEEP})


def test_at_first_nothing_is_preferred():
    policy = controllers()()
    assert policy.positions[0].exp().tolist() == pytest.approx([0.25] * 4)
    assert policy.options[0, -1, 1].exp().max().item() == pytest.approx(1 / 3)


def test_states_are_told_apart_by_block_and_bandwidth():
    positions = trained()().positions
    assert not torch.allclose(positions[0], positions[1])
    assert not torch.allclose(positions[2], positions[4])


def test_what_is_behind_a_cut_does_not_matter_to_what_is_compressed():
    """The compression controller reads only what stays on the edge."""
    made = trained()
    before = made().options
    made._blocks.steps[:, -1] += 1.0  # The last step of whole blocks: partition alone reads it.
    assert torch.equal(made().options, before)


def test_weights_come_from_the_generator_alone():
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    one = controllers(seed=5)
    assert torch.equal(torch.random.get_rng_state(), before)
    other = controllers(seed=5)
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("fair", [0.0, 1.0])
def test_sampled_trees_are_trees_and_as_likely_as_is_said(fair):
    made = trained()
    sampler = Sampler(SPACE, made.vocabulary, torch.Generator().manual_seed(0))
    policy = made()
    episodes = sampler.draw(policy, 20, fair)
    logs = episodes.actions.log_probabilities(policy)
    assert len(episodes.trees) == 20
    assert len(logs) == len(episodes.nodes) == sum(map(len, episodes.trees))
    for tree in episodes.trees:
        SPACE.check(tree)
    if not fair:  # Then every decision is the controllers' own, and can be told from the tree.
        again = torch.cat([sampler.actions_of(t).log_probabilities(policy) for t in episodes.trees])
        assert again.sum().item() == pytest.approx(logs.sum().item(), rel=1e-4)


def test_draws_follow_the_policy():
    made = trained()
    sampler = Sampler(SPACE, made.vocabulary, torch.Generator().manual_seed(0))
    policy = made()
    trees = sampler.draw(policy, 4000).trees
    for kind in (0, 1):
        expected = policy.positions[kind].exp()
        for position, cut in enumerate(SPACE.blocks[0].positions):
            share = sum(tree[kind,].cut == cut for tree in trees) / len(trees)
            assert share == pytest.approx(expected[position].item(), abs=0.04)


def test_fair_chances_leave_early_blocks_whole():
    made = controllers()
    sampler = Sampler(SPACE, made.vocabulary, torch.Generator().manual_seed(0))
    policy = made()

    def whole(fair):
        trees = sampler.draw(policy, 1500, fair).trees
        return sum(tree[0,].cut is None for tree in trees) / len(trees)

    assert whole(0.0) == pytest.approx(1 / 4, abs=0.05)
    assert whole(1.0) == pytest.approx(2 / 3 + 1 / 3 / 4, abs=0.05)  # (N - n)/N with N = 3, n = 1


def test_a_network_without_slots_or_cuts_has_one_tree():
    made = controllers(Space((BlockSpace(((), ()), cuts=()),), types=1))
    sampler = Sampler(
        made_space := Space((BlockSpace(((), ()), cuts=()),), types=1),
        made.vocabulary,
        torch.Generator(),
    )
    (tree,) = sampler.draw(made(), 1).trees
    made_space.check(tree)


def test_blocks_of_unequal_size_fit_together():
    small = BlockSpace(((slot("a", "C1"),),), cuts=(0,))
    large = BlockSpace(tuple((slot(f"l{i}", "F1", kind="linear"),) for i in range(4)), (0, 2, 3))
    space = Space((small, large), types=2)
    made = controllers(space)
    for tree in Sampler(space, made.vocabulary, torch.Generator()).draw(made(), 30).trees:
        space.check(tree)
