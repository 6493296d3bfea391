"""The space of a search: which options each unit has, and where the network may be cut."""

from collections.abc import Iterable, Mapping, Sequence
from math import prod

from torch import nn

from hybridge.design.modeltree.choices import KEEP, BlockSpace, Composition, Slot, Space
from hybridge.design.modeltree.sliced import SlicedNetwork
from hybridge.design.modeltree.variants import UnitOption, unit_options

Options = Mapping[int, tuple[UnitOption, ...]]
"""What each unit may become, besides being kept."""


def all_options(
    sliced: SlicedNetwork, patterns: Sequence[str] = ("*",)
) -> dict[int, tuple[UnitOption, ...]]:
    """Return every option of every unit.

    The last unit of a block keeps its width: the next block may run elsewhere.

    Args:
        sliced: The network.
        patterns: Names of options that are wanted, ``*`` for any letters.
    """
    lasts = {sliced.block_units(block)[-1] for block in range(len(sliced.block_starts))}
    return {
        index: tuple(
            option
            for option in unit_options(sliced, index, patterns)
            if not (option.crossing and index in lasts)
        )
        for index in range(len(sliced.units))
    }


def make_space(
    sliced: SlicedNetwork, options: Options, sizes: Mapping[str, float], types: int
) -> Space:
    """Return the space of trees over a network.

    A cut that ships more than the encoded input is no choice.

    Args:
        sliced: The network.
        options: What each unit may become.
        sizes: Mean encoded bytes of the input and of every node, by name.
        types: Types of bandwidth.
    """
    cuts = legal_cuts(sliced, sizes)
    blocks = []
    for block in range(len(sliced.block_starts)):
        indices = sliced.block_units(block)
        blocks.append(
            BlockSpace(
                units=tuple((_slot(sliced, index, options.get(index, ())),) for index in indices),
                cuts=tuple(index - indices.start for index in indices if index in cuts),
            )
        )
    return Space(tuple(blocks), types)


def legal_cuts(sliced: SlicedNetwork, sizes: Mapping[str, float]) -> tuple[int, ...]:
    """Return the units before which less crosses than the encoded input, and the first."""
    most = sizes["input"]
    return (
        0,
        *(
            index
            for index in range(1, len(sliced.units))
            if sizes[sliced.units[index - 1].last] < most
        ),
    )


def alone(sliced: SlicedNetwork, index: int, option: str) -> Composition:
    """Return the composition in which one unit is compressed, and no other."""
    return tuple(option if at == index else KEEP for at in range(len(sliced.units)))


def limited(
    sliced: SlicedNetwork, options: Options, gains: Mapping[tuple[int, str], float], most: int
) -> dict[int, tuple[UnitOption, ...]]:
    """Return the best options of each block, so that it has no more than ``most`` variants.

    First the best option of each unit, the best of them first; then further ones.

    Args:
        sliced: The network.
        options: What each unit may become.
        gains: What each option is worth by itself, by unit and name.
        most: Variants of a block, the original counted.
    """
    found: dict[int, tuple[UnitOption, ...]] = {index: () for index in options}
    for block in range(len(sliced.block_starts)):
        units = [index for index in sliced.block_units(block) if index in options]
        ranked = sorted(
            (
                (gains[index, option.name], index, option)
                for index in units
                for option in options[index]
            ),
            key=lambda each: (-each[0], each[1], each[2].name),
        )
        first = [each for each in ranked if _is_first(each, ranked)]
        for _, index, option in (*first, *(each for each in ranked if each not in first)):
            counts = [len(found[unit]) + 1 + (unit == index) for unit in units]
            if prod(counts) <= most:
                found[index] = (*found[index], option)
    return found


def _is_first(
    each: tuple[float, int, UnitOption], ranked: Iterable[tuple[float, int, UnitOption]]
) -> bool:
    return each is next(other for other in ranked if other[1] == each[1])


def _slot(sliced: SlicedNetwork, index: int, options: Iterable[UnitOption]) -> Slot:
    options = tuple(options)
    main = max(
        (place.path for place in sliced.layers[index]), key=lambda path: sliced.graph[path].macs
    )
    layer = sliced.network.get_submodule(main)
    crossing = frozenset(option.name for option in options if option.crossing)
    names = (KEEP, *(option.name for option in options))
    if isinstance(layer, nn.Conv2d):
        return Slot(
            *(main, "conv", int(layer.kernel_size[0]), int(layer.stride[0])),
            int(layer.padding[0]),
            *(layer.in_channels, layer.out_channels, names, crossing),
        )
    assert isinstance(layer, nn.Linear)
    return Slot(*(main, "linear", 0, 0, 0, layer.in_features, layer.out_features, names, crossing))
