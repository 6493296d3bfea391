"""Where every tensor of a network in C lies: one arena, planned before anything runs."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from hybridge.design.export.c_source import Call, CArray, CSource

_ALIGNMENT = 8
#: Operators whose functions read an element just before they write the one in its place.
_ELEMENTWISE = frozenset(
    {"Abs", "Clip", "Exp", "HardSigmoid", "HardSwish", "LeakyRelu", "Log", "Neg", "Relu"}
    | {"Sigmoid", "Sqrt", "Tanh", "Add", "Div", "Mul", "Sub", "Reshape", "Squeeze", "Unsqueeze"}
)


@dataclass(frozen=True)
class MemoryPlan:
    """What is run, and where its tensors lie.

    Attributes:
        calls: The nodes that the wanted outputs need, in their order.
        offsets: Where each tensor begins in the arena, in bytes, by name in C.
        arena_bytes: What all of them take.
        peak: The node at which the most bytes are alive.
        peak_bytes: How many are alive there: no plan could do with fewer.
    """

    calls: tuple[Call, ...]
    offsets: dict[str, int]
    arena_bytes: int
    peak: str
    peak_bytes: int


@dataclass(slots=True)
class _Block:
    """Tensors that share one place.

    Attributes:
        names: Their names.
        size_bytes: Of the largest, rounded up.
        first: Position of the node that first writes it.
        last: Position of the node that last reads it.
    """

    names: list[str]
    size_bytes: int
    first: int
    last: int


def plan_memory(source: CSource, outputs: Collection[str]) -> MemoryPlan:
    """Place the tensors that some outputs need; each is alive from its first write to last read.

    Inputs and outputs belong to the caller and are not in the arena. The largest block is placed
    first, at the lowest place that is free while it is alive (greedy by size, Pisarchyk and Lee
    2020).

    Args:
        source: The network.
        outputs: Names of the outputs that are wanted, by the program's names.
    """
    calls = _needed(source, {source.names[name] for name in outputs})
    blocks = _blocks(source, calls, {*source.inputs, *(source.names[name] for name in outputs)})
    offsets: dict[str, int] = {}
    placed: list[tuple[int, _Block]] = []
    for block in sorted(blocks, key=lambda block: (-block.size_bytes, block.first)):
        at = _lowest_gap(block, placed)
        placed.append((at, block))
        offsets.update(dict.fromkeys(block.names, at))
    alive = [
        sum(block.size_bytes for block in blocks if block.first <= position <= block.last)
        for position in range(len(calls))
    ]
    peak = max(range(len(calls)), key=alive.__getitem__)
    return MemoryPlan(
        calls=calls,
        offsets=offsets,
        arena_bytes=max((at + block.size_bytes for at, block in placed), default=0),
        peak=calls[peak].function,
        peak_bytes=alive[peak],
    )


def _needed(source: CSource, wanted: set[str]) -> tuple[Call, ...]:
    """Return the calls that lead to what is wanted: a base does not pay for its router."""
    kept: list[Call] = []
    for call in reversed(source.calls):
        if call.writes & wanted:
            kept.append(call)
            wanted |= set(call.reads)
    return tuple(reversed(kept))


def _blocks(source: CSource, calls: tuple[Call, ...], outside: set[str]) -> list[_Block]:
    tensors = source.tensors
    last_read = {name: at for at, call in enumerate(calls) for name in call.arguments}
    of: dict[str, _Block] = {}
    blocks: list[_Block] = []
    for at, call in enumerate(calls):
        for name in call.writes - outside:
            if (shared := _in_place(call, name, at, of, last_read, tensors)) is not None:
                shared.names.append(name)
                shared.last = last_read[name]
                of[name] = shared
                continue
            block = _Block([name], _aligned(tensors[name].size_bytes), at, last_read[name])
            of[name] = block
            blocks.append(block)
    return blocks


def _in_place(
    call: Call,
    name: str,
    at: int,
    of: Mapping[str, _Block],
    last_read: Mapping[str, int],
    tensors: Mapping[str, CArray],
) -> _Block | None:
    """Return the block of a tensor that ends at this call and may be written over, or None."""
    if call.operator not in _ELEMENTWISE or len(call.writes) != 1:
        return None
    for read in call.reads:
        if read not in of or last_read[read] != at:
            continue
        same = tensors[read].type == tensors[name].type
        if same and tensors[read].size_bytes == tensors[name].size_bytes:
            return of[read]
    return None


def _lowest_gap(block: _Block, placed: list[tuple[int, _Block]]) -> int:
    """Return the lowest offset at which nothing lies that is alive while ``block`` is."""
    at = 0
    for begin, other in sorted(placed, key=lambda pair: pair[0]):
        if other.last < block.first or block.last < other.first:
            continue
        if begin - at >= block.size_bytes:
            break
        at = max(at, begin + other.size_bytes)
    return at


def _aligned(size_bytes: int) -> int:
    return -(-size_bytes // _ALIGNMENT) * _ALIGNMENT


def entry_in_c(source: CSource, plan: MemoryPlan, name: str) -> str:
    """Return a C function that runs ``plan``, from pixels to its outputs one after the other.

    Args:
        source: The network.
        plan: What to run, and where its tensors lie.
        name: Of the function.
    """
    (pixels,) = source.inputs
    places = {pixels: pixels}
    places.update({key: f"(void *)({name}_arena + {at})" for key, at in plan.offsets.items()})
    begin = 0
    written = {key for call in plan.calls for key in call.writes}
    for output, array in source.outputs.items():
        if source.names[output] in written - plan.offsets.keys():
            places[source.names[output]] = f"(void *)(outputs + {begin})"
            begin += array.size_bytes // 4
    lines = [
        f"static uint8_t {name}_arena[{max(plan.arena_bytes, 1)}] __attribute__((aligned(8)));",
        "",
        f"void {name}(const uint8_t *pixels, float *outputs) {{",
    ]
    if pixels != "pixels":
        places[pixels] = "pixels"
    places[pixels] = f"(const void *){places[pixels]}"
    for call in plan.calls:
        arguments = ", ".join(places.get(argument, argument) for argument in call.arguments)
        lines.append(f"    {call.function}({arguments});")
    return "\n".join([*lines, "}", ""])
