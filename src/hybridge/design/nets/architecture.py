"""Architectures of elastic families, written as ``KERNELS | EXPANSIONS | DEPTHS``.

A network of a family has stages of blocks. Each block has a slot, with a kernel and an expansion;
each stage has a depth, the number of its first slots that are used. What stands in the slots
beyond it changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from hybridge.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Architecture:
    """A choice for every slot and stage of a family.

    Attributes:
        kernels: Side of each slot's depthwise kernel, stage after stage.
        expansions: Middle channels of each slot, as a multiple of what it reads.
        depths: Blocks of each stage.
    """

    kernels: tuple[int, ...]
    expansions: tuple[int, ...]
    depths: tuple[int, ...]

    def __str__(self) -> str:
        parts = (self.kernels, self.expansions, self.depths)
        return " | ".join("".join(map(str, part)) for part in parts)

    @property
    def slots_per_stage(self) -> int:
        """Slots of each stage."""
        return len(self.kernels) // len(self.depths)

    def blocks(self, stage: int) -> tuple[tuple[int, int], ...]:
        """Return kernel and expansion of every block that a stage has."""
        first = stage * self.slots_per_stage
        used = slice(first, first + self.depths[stage])
        return tuple(zip(self.kernels[used], self.expansions[used], strict=True))


@dataclass(frozen=True, slots=True)
class Space:
    """The architectures of a family.

    Attributes:
        stages: Number of stages.
        kernels: Sides a kernel may have, ascending.
        expansions: Multiples that middle channels may be, ascending.
        depths: Blocks a stage may have, ascending; the last is the number of slots.
    """

    stages: int
    kernels: tuple[int, ...]
    expansions: tuple[int, ...]
    depths: tuple[int, ...]

    @property
    def slots_per_stage(self) -> int:
        """Slots of each stage."""
        return max(self.depths)

    @property
    def slots(self) -> int:
        """Slots of all stages."""
        return self.stages * self.slots_per_stage

    @property
    def smallest(self) -> Architecture:
        """The architecture of least choices."""
        return self._uniform(self.kernels[0], self.expansions[0], self.depths[0])

    @property
    def largest(self) -> Architecture:
        """The architecture of most choices, which every other one is a part of."""
        return self._uniform(self.kernels[-1], self.expansions[-1], self.depths[-1])

    def _uniform(self, kernel: int, expansion: int, depth: int) -> Architecture:
        slots = self.slots
        return Architecture((kernel,) * slots, (expansion,) * slots, (depth,) * self.stages)

    def parse(self, text: str) -> Architecture:
        """Read an architecture as it is written: ``KERNELS | EXPANSIONS | DEPTHS``.

        Raises:
            ConfigError: It is not of this space; names the part, the position and the digit.
        """
        parts = [part.strip() for part in text.split("|")]
        if len(parts) != 3:
            raise ConfigError(
                f"expected an architecture 'KERNELS | EXPANSIONS | DEPTHS', such as "
                f"'{self.smallest}', got {text!r}"
            )
        digits = [
            _digits(part, what, count, allowed)
            for part, (what, count, allowed) in zip(parts, self._fields(), strict=True)
        ]
        return Architecture(*digits)

    def check(self, architecture: Architecture) -> None:
        """Raise `ConfigError` where an architecture is not of this space."""
        self.parse(str(architecture))

    def _fields(self) -> tuple[tuple[str, int, tuple[int, ...]], ...]:
        return (
            ("kernels", self.slots, self.kernels),
            ("expansions", self.slots, self.expansions),
            ("depths", self.stages, self.depths),
        )

    def canonical(self, architecture: Architecture) -> Architecture:
        """Return the same network with the smallest choices in the slots that are not used."""
        return self.filled(architecture, self.smallest)

    def filled(self, architecture: Architecture, other: Architecture) -> Architecture:
        """Return the same network with the choices of ``other`` in the slots that are not used."""
        kernels, expansions = list(architecture.kernels), list(architecture.expansions)
        unused = (
            stage * self.slots_per_stage + slot
            for stage, slot in product(range(self.stages), range(self.slots_per_stage))
            if slot >= architecture.depths[stage]
        )
        for slot in unused:
            kernels[slot], expansions[slot] = other.kernels[slot], other.expansions[slot]
        return replace(architecture, kernels=tuple(kernels), expansions=tuple(expansions))

    def random(self, rng: np.random.Generator) -> Architecture:
        """Draw every choice evenly."""
        return Architecture(*(_draw(rng, allowed, count) for _, count, allowed in self._fields()))

    def mix(
        self, one: Architecture, other: Architecture, share: float, rng: np.random.Generator
    ) -> Architecture:
        """Return an architecture that has each choice from ``other`` with probability ``share``."""
        return Architecture(
            _mix(one.kernels, other.kernels, share, rng),
            _mix(one.expansions, other.expansions, share, rng),
            _mix(one.depths, other.depths, share, rng),
        )


def _digits(text: str, what: str, count: int, allowed: tuple[int, ...]) -> tuple[int, ...]:
    choices = ", ".join(map(str, allowed))
    for position, character in enumerate(text, start=1):
        if character not in map(str, allowed):
            raise ConfigError(
                f"{what} {text!r}: expected digits among {choices}, got {character!r} at "
                f"position {position}"
            )
    if len(text) != count:
        raise ConfigError(f"{what} {text!r}: expected {count} digits, got {len(text)}")
    return tuple(map(int, text))


def _draw(rng: np.random.Generator, allowed: Sequence[int], count: int) -> tuple[int, ...]:
    return tuple(int(allowed[index]) for index in rng.integers(len(allowed), size=count))


def _mix(
    old: tuple[int, ...], fresh: tuple[int, ...], probability: float, rng: np.random.Generator
) -> tuple[int, ...]:
    changed = rng.random(len(old)) < probability
    return tuple(
        new if change else kept for kept, new, change in zip(old, fresh, changed, strict=True)
    )
