"""Composed networks: a library's units under a composition, with statistics of their own.

Letters: ``n`` calibration images, ``N`` images, ``B`` batch, ``K`` classes.
"""

import copy
from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, fx, nn

from hybridge.design.modeltree.choices import KEEP, Composition
from hybridge.design.modeltree.library import Library
from hybridge.design.train.norm import recalibrate

Activations = tuple[Tensor, ...]


def is_original(composition: Composition, index: int) -> bool:
    """Return whether a unit and all before it are the network's own."""
    return all(option == KEEP for option in composition[: index + 1])


def compose(
    library: Library, composition: Composition, calibration: Tensor
) -> list[fx.GraphModule]:
    """Return the units of a composed network, copies whose statistics are their own.

    What is the network's own keeps its statistics; every other unit gets those of what precedes it.

    Args:
        library: Whose units.
        composition: What becomes of each.
        calibration: Training images as pixels ``(n, H, W, C)``.
    """
    found, seen = [], calibration
    for index, unit in enumerate(library.units(composition)):
        seen = advance(unit, seen, original=is_original(composition, index))
        found.append(copy.deepcopy(unit))
    return found


def advance(unit: nn.Module, calibration: Tensor, *, original: bool) -> Tensor:
    """Return what a unit gives for calibration images, after recalibrating it."""
    if original:
        return run(unit, calibration)
    return recalibrate(unit, calibration)


@torch.no_grad()
def run(module: nn.Module, inputs: Tensor, batch_size: int = 500) -> Tensor:
    """Return what ``module`` gives for ``inputs`` ``(N, ...)``, a batch at a time."""
    module.eval()
    return torch.cat([module(part) for part in torch.split(inputs, batch_size)])


class PrefixRunner:
    """Runs compositions over the same images, and keeps what recent prefixes of blocks gave.

    Args:
        library: Whose units; their statistics change as compositions are run.
        calibration: Training images as pixels ``(n, H, W, C)``.
        images: What is to be answered, as pixels ``(N, H, W, C)``.
        kept_bytes: Most memory for what is kept.
    """

    def __init__(
        self, library: Library, calibration: Tensor, images: Tensor, kept_bytes: int = 4 << 30
    ) -> None:
        self._library = library
        self._start: Activations = (calibration, images)
        self._kept_bytes = kept_bytes
        self._kept: OrderedDict[Composition, Activations] = OrderedDict()

    def logits(self, composition: Composition) -> Tensor:
        """Return the logits ``(N, K)`` of a composed network."""
        return self._run(composition, len(self._library.sliced.block_starts))[1]

    def _run(self, composition: Composition, blocks: int) -> Activations:
        """Return what the first blocks give for both sets of images."""
        if blocks == 0:
            return self._start
        units = self._library.sliced.block_units(blocks - 1)
        key = composition[: units.stop]
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        calibration, images = self._run(composition, blocks - 1)
        for index in units:
            tuned = not is_original(composition, index)
            unit = self._library.unit(index, composition[index], tuned)
            calibration = advance(unit, calibration, original=not tuned)
            images = run(unit, images)
        found = calibration, images
        if units.stop < len(composition):
            self._keep(key, found)
        return found

    def _keep(self, key: Composition, found: Activations) -> None:
        self._kept[key] = found
        while sum(map(_bytes, self._kept.values())) > self._kept_bytes and len(self._kept) > 1:
            self._kept.popitem(last=False)


def _bytes(activations: Activations) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in activations)


Encode = Callable[[Tensor], tuple[Tensor, Tensor]]
"""What crosses a link: from a tensor ``(B, ...)`` to what arrives, and the bytes ``(B,)``."""


def answer(
    units: Sequence[nn.Module], pixels: Tensor, cut: int | None, encode: Encode
) -> tuple[Tensor, Tensor | None]:
    """Return what a composed network answers where it is cut, and what crosses the cut.

    Args:
        units: Of `compose`.
        pixels: Images ``(N, H, W, C)``.
        cut: The unit before which the network goes on in the cloud, or None.
        encode: What the link makes of a tensor.

    Returns:
        Logits ``(N, K)``, and encoded bytes ``(N,)``; None where nothing is sent.
    """
    if cut is None:
        return run(nn.Sequential(*units), pixels), None
    logits, sizes = [], []
    for part in torch.split(pixels, 500):
        crossing = run(nn.Sequential(*units[:cut]), part) if cut else part
        arrived, payload_bytes = encode(crossing)
        logits.append(run(nn.Sequential(*units[cut:]), arrived))
        sizes.append(payload_bytes)
    return torch.cat(logits), torch.cat(sizes)
