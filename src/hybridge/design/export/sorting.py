"""Sorting networks: which pairs to compare and exchange, layer by layer."""

Comparators = tuple[tuple[int, int], ...]

#: Ten numbers in seven layers; there is no network of fewer.
_TEN: tuple[Comparators, ...] = (
    ((0, 1), (2, 5), (3, 6), (4, 7), (8, 9)),
    ((0, 6), (1, 8), (2, 4), (3, 9), (5, 7)),
    ((0, 2), (1, 3), (4, 5), (6, 8), (7, 9)),
    ((0, 1), (2, 7), (3, 5), (4, 6), (8, 9)),
    ((1, 2), (3, 4), (5, 6), (7, 8)),
    ((1, 3), (2, 4), (5, 7), (6, 8)),
    ((2, 3), (4, 5), (6, 7)),
)


def sorting_network(count: int, largest: int | None = None) -> tuple[Comparators, ...]:
    """Return layers of comparators ``(i, j)`` that put the larger of two numbers at ``i``.

    For ten numbers the network of least depth, seven; else Batcher's odd-even merge sort (1968).

    Args:
        count: How many numbers there are.
        largest: How many of them are to stand first and in order, behind whom the others stand as
            they come; None sorts all.
    """
    network = _TEN if count == 10 else _batcher(count)
    return network if largest is None else _needed(network, largest)


def _needed(network: tuple[Comparators, ...], largest: int) -> tuple[Comparators, ...]:
    """Return the comparators that the first numbers depend on."""
    wanted, kept = set(range(largest)), []
    for layer in reversed(network):
        layer = tuple(pair for pair in layer if wanted & {*pair})
        wanted.update(place for pair in layer for place in pair)
        kept.append(layer)
    return tuple(layer for layer in reversed(kept) if layer)


def _batcher(count: int) -> tuple[Comparators, ...]:
    layers: list[Comparators] = []
    sorted_ = 1
    while sorted_ < count:
        apart = sorted_
        while apart >= 1:
            layers.append(_merge(count, sorted_, apart))
            apart //= 2
        sorted_ *= 2
    return tuple(layer for layer in layers if layer)


def _merge(count: int, sorted_: int, apart: int) -> Comparators:
    """Return a layer that merges runs of ``sorted_`` numbers, comparing what is ``apart``."""
    return tuple(
        (low, low + apart)
        for start in range(apart % sorted_, count - apart, 2 * apart)
        for low in range(start, min(start + apart, count - apart))
        if low // (2 * sorted_) == (low + apart) // (2 * sorted_)
    )
