"""What a model tree chooses: where each block is cut, and what becomes of each layer before that.

A network is a row of *units*, between which it may be cut; a *slot* is a layer of a unit that may
be compressed. Units make up ``N`` blocks. A *branch* is one choice for each block from the first,
up to the block that is cut; a *tree* has a choice for every path of bandwidth types.

Letters: ``N`` blocks, ``K`` types of bandwidth.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

from hybridge.errors import ConfigError

KEEP = "keep"

TypePath = tuple[int, ...]
"""The type of bandwidth that was seen before each block, from the first one on."""
Composition = tuple[str, ...]
"""What becomes of every slot of a network: `KEEP`, or the name of an option."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A layer that may be compressed.

    Attributes:
        name: Path of its module in the network.
        kind: Class of layer, as of `hybridge.plan.layers.Layer`: ``conv``, ``linear``.
        kernel: Kernel size; 0 for a linear layer.
        stride: Stride; 0 for a linear layer.
        padding: Padding; 0 for a linear layer.
        in_channels: Channels or features that it reads.
        channels: Channels or features that it gives.
        options: What it may become, `KEEP` first.
        crossing: Those of its options that narrow what the next unit reads, so that they are out
            of place in the last unit before a cut.
    """

    name: str
    kind: str
    kernel: int
    stride: int
    padding: int
    in_channels: int
    channels: int
    options: tuple[str, ...] = (KEEP,)
    crossing: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class BlockChoice:
    """What becomes of one block.

    Attributes:
        cut: The unit of the block before which the network goes on in the cloud; None where the
            whole block runs on the edge.
        options: What becomes of each slot before the cut, in order.
    """

    cut: int | None
    options: tuple[str, ...]


Tree = Mapping[TypePath, BlockChoice]
"""A choice for every path of types that is met: ``(k,)`` for block 1 after type ``k``, and so on.

Nothing stands below a cut."""


@dataclass(frozen=True)
class BlockSpace:
    """What may become of a block.

    Attributes:
        units: The slots of each of its units, in order; a unit may have none.
        cuts: The units before which it may be cut, rising.
    """

    units: tuple[tuple[Slot, ...], ...]
    cuts: tuple[int, ...]

    @cached_property
    def slots(self) -> tuple[Slot, ...]:
        """All slots of the block, in order."""
        return tuple(slot for unit in self.units for slot in unit)

    @cached_property
    def positions(self) -> tuple[int | None, ...]:
        """Every cut that is allowed, and None for no cut, last."""
        return (*self.cuts, None)

    def slot_count(self, cut: int | None) -> int:
        """Return how many slots stand before a cut."""
        return sum(len(unit) for unit in self.units[:cut])

    def allowed(self, slot: int, cut: int | None) -> tuple[str, ...]:
        """Return what the block's ``slot``, which stands before ``cut``, may become."""
        found = self.slots[slot]
        if cut is not None and slot >= self.slot_count(cut - 1 if cut else 0):
            return tuple(option for option in found.options if option not in found.crossing)
        return found.options

    def choices(self) -> Iterator[BlockChoice]:
        """Yield every choice."""
        for cut in self.positions:
            slots = range(self.slot_count(cut))
            for options in product(*(self.allowed(slot, cut) for slot in slots)):
                yield BlockChoice(cut, options)

    def check(self, choice: BlockChoice) -> None:
        """Raise `ConfigError` unless ``choice`` is one of `choices`."""
        if choice.cut not in self.positions:
            raise ConfigError(
                f"expected a cut before one of the units {list(self.cuts)} or none, "
                f"got {choice.cut}"
            )
        count = self.slot_count(choice.cut)
        if len(choice.options) != count:
            raise ConfigError(
                f"expected an option for each of {count} layers, got {len(choice.options)}"
            )
        for index, option in enumerate(choice.options):
            if option not in self.allowed(index, choice.cut):
                raise ConfigError(
                    f"layer {self.slots[index].name!r} cannot become {option!r} here; "
                    f"it may become {', '.join(self.allowed(index, choice.cut))}"
                )


@dataclass(frozen=True)
class Space:
    """All trees over one network.

    Attributes:
        blocks: What may become of each of the ``N`` blocks.
        types: Types of bandwidth, ``K``.
    """

    blocks: tuple[BlockSpace, ...]
    types: int

    @property
    def levels(self) -> int:
        """Number of blocks, ``N``."""
        return len(self.blocks)

    @cached_property
    def slots(self) -> tuple[Slot, ...]:
        """All slots of the network, in order."""
        return tuple(slot for block in self.blocks for slot in block.slots)

    def paths(self) -> Iterator[TypePath]:
        """Yield the path of every node of the complete tree, breadth first."""
        for level in range(1, self.levels + 1):
            yield from product(range(self.types), repeat=level)

    def composition(self, branch: Sequence[BlockChoice]) -> Composition:
        """Return what becomes of every slot; what follows a cut is kept."""
        options = [option for choice in branch for option in choice.options]
        return (*options, *[KEEP] * (len(self.slots) - len(options)))

    def tree_of(self, branch: Sequence[BlockChoice]) -> Tree:
        """Return the tree that takes one branch, whatever the bandwidth."""
        return {path: branch[len(path) - 1] for path in self.paths() if len(path) <= len(branch)}

    def check(self, tree: Tree) -> None:
        """Raise `ConfigError` unless ``tree`` has a right choice where one is met, and no other."""
        met = set()
        for path in self.paths():
            if all(tree[path[:level]].cut is None for level in range(1, len(path))):
                if path not in tree:
                    raise ConfigError(f"the tree has no block at {path}")
                self.blocks[len(path) - 1].check(tree[path])
                met.add(path)
        if extra := sorted(set(tree) - met):
            raise ConfigError(f"the tree has blocks at {extra}, where it is never")


def branch_to(tree: Tree, path: TypePath) -> tuple[BlockChoice, ...]:
    """Return the choices on the way to a node, its own last."""
    return tuple(tree[path[: level + 1]] for level in range(len(path)))


def leaves(space: Space, tree: Tree) -> list[TypePath]:
    """Return the paths at which branches end: in a cut, or with the last block."""
    return [
        path for path, choice in tree.items() if choice.cut is not None or len(path) == space.levels
    ]


def plain_tree(tree: Tree) -> list[dict[str, Any]]:
    """Return a tree as plain data, for a file."""
    return [
        {"types": list(path), "cut": choice.cut, "options": list(choice.options)}
        for path, choice in sorted(tree.items())
    ]


def parse_tree(plain: Sequence[Mapping[str, Any]]) -> dict[TypePath, BlockChoice]:
    """Return the tree that `plain_tree` wrote; raises `ConfigError` where it is none."""
    try:
        return {
            tuple(map(int, node["types"])): BlockChoice(node["cut"], tuple(node["options"]))
            for node in plain
        }
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"expected a tree's 'types', 'cut' and 'options', got {error}") from error
