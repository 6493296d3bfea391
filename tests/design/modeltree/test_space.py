"""The space of a search: where the network may be cut, and which options are searched."""

from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_library import NAMES, tiny_sliced

from hybridge.design.modeltree.choices import KEEP
from hybridge.design.modeltree.space import all_options, alone, legal_cuts, limited, make_space

SLICED = {name: tiny_sliced(name) for name in NAMES}
OPTIONS = {name: all_options(sliced) for name, sliced in SLICED.items()}
NODES = {name: ["input", *(node.name for node in s.graph.nodes)] for name, s in SLICED.items()}


def sizes_of(name, draw=lambda _: 1.0):
    return {node: draw(node) for node in NODES[name]}


@given(st.sampled_from(NAMES), st.randoms(use_true_random=False))
def test_no_cut_ships_more_than_the_input(name, random) -> None:
    sliced = SLICED[name]
    sizes = sizes_of(name, lambda _: random.uniform(1, 100))
    space = make_space(sliced, {}, sizes, types=2)
    for block, found in enumerate(space.blocks):
        start = sliced.block_units(block).start
        for cut in found.cuts:
            first = start + cut
            assert first == 0 or sizes[sliced.units[first - 1].last] < sizes["input"]
    assert sum(len(block.cuts) for block in space.blocks) == len(legal_cuts(sliced, sizes))
    assert 0 in space.blocks[0].cuts


@pytest.mark.parametrize("name", NAMES)
def test_what_narrows_the_next_unit_is_never_last_in_a_block(name) -> None:
    sliced = SLICED[name]
    options = OPTIONS[name]
    sizes = {**sizes_of(name), "input": 2.0}
    space = make_space(sliced, options, sizes, types=2)
    for block, found in enumerate(space.blocks):
        last = sliced.block_units(block)[-1]
        assert not any(option.crossing for option in options[last])
        for choice in found.choices():
            if choice.options:
                slot = found.slots[len(choice.options) - 1]
                assert choice.options[-1] not in slot.crossing


def test_a_slot_says_what_its_layer_is() -> None:
    sliced = SLICED["small_cnn"]
    options = all_options(sliced, ("C1-1", "W1-0.5", "F1-0.5"))
    conv, *_, head = make_space(sliced, options, sizes_of("small_cnn"), types=1).slots
    assert (conv.name, conv.kind, conv.kernel, conv.stride) == ("network.features.0", "conv", 3, 1)
    assert (conv.in_channels, conv.channels, conv.padding) == (1, 16, 1)
    assert conv.options == (KEEP, "C1-1", "W1-0.5")
    assert conv.crossing == {"W1-0.5"}
    assert (head.kind, head.in_channels, head.channels) == ("linear", 64, 3)


@given(st.sampled_from(NAMES), st.integers(2, 12), st.randoms(use_true_random=False))
def test_no_block_has_more_variants_than_asked_for(name, most, random) -> None:
    sliced, options = SLICED[name], OPTIONS[name]
    gains = {
        (index, option.name): random.random() for index, each in options.items() for option in each
    }
    found = limited(sliced, options, gains, most)
    for block in range(len(sliced.block_starts)):
        units = sliced.block_units(block)
        assert prod(1 + len(found[index]) for index in units) <= most
        best = max(units, key=lambda i: max((gains[i, o.name] for o in options[i]), default=0))
        # The best option of all is always among them.
        assert max(options[best], key=lambda o: gains[best, o.name]) in found[best]


def test_one_unit_alone() -> None:
    assert alone(SLICED["small_cnn"], 2, "C1-1") == (KEEP, KEEP, "C1-1", KEEP, KEEP)
