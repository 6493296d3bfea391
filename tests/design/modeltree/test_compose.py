"""Composed networks: the original where all is kept, the same however they are put together."""

import pytest
import torch
from tiny_library import pixels_of
from torch import Tensor, nn

from hybridge.codecs.codec import codec_named
from hybridge.design.compress.prune import shrink
from hybridge.design.modeltree.choices import KEEP, Composition
from hybridge.design.modeltree.compose import PrefixRunner, answer, compose, run
from hybridge.design.modeltree.costs import block_module
from hybridge.design.modeltree.library import Library, norms
from hybridge.errors import ConfigError


def kept(library: Library) -> Composition:
    return (KEEP,) * len(library.sliced.units)


def compressed(library: Library) -> list[Composition]:
    """Some of all sorts: one unit, neighbours, all of them."""
    options = list(library.options.values())
    return [
        tuple(each[-1] if index == 1 else KEEP for index, each in enumerate(options)),
        tuple(each[-1] if index in (0, 1) else KEEP for index, each in enumerate(options)),
        tuple(each[1] for each in options),
        tuple(each[-1] for each in options),
    ]


def statistics(library: Library) -> Tensor:
    return pixels_of(library.sliced.geometry, 20, seed=3)


def images(library: Library) -> Tensor:
    return pixels_of(library.sliced.geometry, 9, seed=4)


def test_what_keeps_everything_is_the_original_bit_for_bit(library: Library) -> None:
    units = compose(library, kept(library), statistics(library))
    found = run(nn.Sequential(*units), images(library))
    assert torch.equal(found, run(library.sliced.network, images(library)))


def test_the_original_is_left_alone(library: Library) -> None:
    before = {k: v.clone() for k, v in library.sliced.network.state_dict().items()}
    for composition in compressed(library):
        compose(library, composition, statistics(library))
    after = library.sliced.network.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_running_by_prefix_is_composing_afresh(library: Library) -> None:
    runner = PrefixRunner(library, statistics(library), images(library))
    compositions = [kept(library), *compressed(library), kept(library), *compressed(library)]
    for composition in compositions:
        units = compose(library, composition, statistics(library))
        expected = run(nn.Sequential(*units), images(library))
        torch.testing.assert_close(runner.logits(composition), expected, atol=1e-5, rtol=1e-5)


def test_a_runner_without_room_gives_the_same(library: Library) -> None:
    roomy = PrefixRunner(library, statistics(library), images(library))
    narrow = PrefixRunner(library, statistics(library), images(library), kept_bytes=1)
    for composition in [*compressed(library), *reversed(compressed(library))]:
        assert torch.equal(narrow.logits(composition), roomy.logits(composition))


def test_statistics_are_those_of_what_a_unit_reads(library: Library) -> None:
    composition = compressed(library)[-1]
    units = compose(library, composition, statistics(library))
    read: dict[nn.Module, Tensor] = {}
    for norm in norms(units):
        norm.register_forward_pre_hook(lambda module, args: read.update({module: args[0]}))
    run(nn.Sequential(*units), statistics(library))
    assert read
    for norm, maps in read.items():
        assert isinstance(norm, nn.BatchNorm2d)
        # Later norms were given what a batch divided by its own, biased variance gives.
        spread = maps.var((0, 2, 3))
        off = (norm.running_mean - maps.mean((0, 2, 3))) / (spread.sqrt() + 1e-3)
        assert off.abs().max() < 0.02
        torch.testing.assert_close(norm.running_var, spread, atol=0, rtol=0.05)


def test_units_before_the_first_compressed_one_are_the_network_s_own(library: Library) -> None:
    units = compose(library, compressed(library)[0], statistics(library))
    own = run(library.sliced.modules[0], images(library))
    assert torch.equal(run(units[0], images(library)), own)


def test_a_narrow_block_computes_the_same(library: Library) -> None:
    sliced = library.sliced
    for composition in compressed(library):
        units = compose(library, composition, statistics(library))
        seen = images(library)
        for block in range(len(sliced.block_starts)):
            inside = [units[index] for index in sliced.block_units(block)]
            narrow = block_module(inside, sliced.example(sliced.block_units(block).start))
            expected = run(nn.Sequential(*inside), seen)
            torch.testing.assert_close(run(narrow, seen), expected, atol=1e-4, rtol=1e-4)
            seen = expected


def test_pruning_makes_a_block_narrow(chain: Library) -> None:
    units = chain.units(("W1-0.5", *[KEEP] * 4))[:2]
    narrow = shrink(nn.Sequential(*units), chain.sliced.example(0))
    widths = [m.out_channels for m in narrow.modules() if isinstance(m, nn.Conv2d)]
    assert widths == [8, 32]


def test_an_answer_passes_the_link_at_the_cut(chain: Library) -> None:
    units = compose(chain, compressed(chain)[0], statistics(chain))
    codec = codec_named("fp16")

    def encode(tensor: Tensor) -> tuple[Tensor, Tensor]:
        encoded = codec.encode(tensor.numpy())
        arrived = torch.from_numpy(codec.decode(encoded, 10**6).copy())
        return arrived, torch.tensor([len(each) for each in encoded.payload])

    logits, sizes = answer(units, images(chain), 2, encode)
    crossing = run(nn.Sequential(*units[:2]), images(chain))
    expected = run(nn.Sequential(*units[2:]), crossing.half().float())
    torch.testing.assert_close(logits, expected, atol=1e-6, rtol=1e-6)
    assert sizes is not None
    assert sizes.tolist() == [2 * crossing[0].numel()] * 9
    assert answer(units, images(chain), None, encode)[1] is None


def test_a_variant_that_is_not_there_is_refused(chain: Library) -> None:
    with pytest.raises(ConfigError, match=r"no 'F1-0\.5' of 'permute'; it has keep, C1-1"):
        chain.network(("F1-0.5", *[KEEP] * 4))
