"""What a side of a pair can be: a subnet of a supernet, or one network that is given.

Letters: ``n`` images.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from hybridge.design.search.problem import Measured
from hybridge.design.supernet.costs import FamilyCosts, Footprint
from hybridge.design.supernet.evaluate import Answers, Evaluator
from hybridge.design.supernet.judge import Subnet
from hybridge.design.supernet.supernet import Supernet
from hybridge.errors import ConfigError

Labels = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, slots=True)
class Given:
    """A network that is not searched.

    Attributes:
        name: What it is called.
    """

    name: str

    def __str__(self) -> str:
        return self.name


Network = Subnet | Given


class Side(Protocol):
    """Draws, evaluates and counts the networks of one side of a pair.

    Attributes:
        name: Tells the side's networks from another's; two sides that are one object share theirs.
        smallest: The network of least choices.
        largest: The network of most choices.
        rungs: Number of rungs that networks are evaluated at.
    """

    name: str
    smallest: Network
    largest: Network
    rungs: int

    def draw(self, rng: np.random.Generator, thrift: float = 0.0) -> Network:
        """Draw every choice evenly; or take the smallest with probability ``thrift``."""

    def mutate(self, network: Network, probability: float, rng: np.random.Generator) -> Network:
        """Return a network of which every choice was drawn anew with a probability."""

    def cross(self, one: Network, other: Network, rng: np.random.Generator) -> Network:
        """Return a network that has each choice from either one, as likely as from the other."""

    def measure(self, network: Network, rung: int) -> Measured[Answers]:
        """Return what a network answers."""

    def labels(self, rung: int) -> Labels:
        """Return what is right, ``(n,)``."""

    def footprint(self, network: Network) -> Footprint:
        """Return what a network takes."""


class Subnets:
    """All subnets of a supernet, at some resolutions.

    Args:
        evaluator: Evaluates them.
        resolutions: Heights and widths, in pixels; None for those of the family that are not above
            the images'.
        name: Tells this supernet's subnets from another's.

    Raises:
        ConfigError: There is no resolution, or one is above the images'.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        resolutions: Sequence[int] | None = None,
        name: str = "supernet",
    ) -> None:
        family, side = evaluator.family, evaluator.images.resolution
        if resolutions is None:
            resolutions = [each for each in family.resolutions if each <= side] or [side]
        if not resolutions or max(resolutions) > side or min(resolutions) < 1:
            raise ConfigError(
                f"expected resolutions from 1 to {side}, the images' own, got {list(resolutions)}"
            )
        supernet = evaluator.network.network
        assert isinstance(supernet, Supernet)
        self.name, self.rungs = name, len(evaluator.rungs)
        self._evaluator = evaluator
        self._space, self._resolutions = family.space, tuple(sorted(resolutions))
        self._costs = FamilyCosts(family, supernet.class_count, supernet.channels)
        self.smallest: Network = Subnet(self._space.smallest, self._resolutions[0])
        self.largest: Network = Subnet(self._space.largest, self._resolutions[-1])

    def draw(self, rng: np.random.Generator, thrift: float = 0.0) -> Network:
        """Draw every choice evenly; or take the smallest with probability ``thrift``."""
        drawn = Subnet(self._space.random(rng), self._resolution(rng))
        return self._mix(drawn, _subnet(self.smallest), thrift, rng)

    def mutate(self, network: Network, probability: float, rng: np.random.Generator) -> Network:
        """Return a network of which every choice was drawn anew with a probability.

        A block that was not there before, and is by a new depth, is drawn anew too.
        """
        old = _subnet(network)
        filled = self._space.filled(old.architecture, self._space.random(rng))
        drawn = Subnet(self._space.random(rng), self._resolution(rng))
        return self._mix(Subnet(filled, old.resolution), drawn, probability, rng)

    def cross(self, one: Network, other: Network, rng: np.random.Generator) -> Network:
        """Return a network that has each choice from either one, as likely as from the other."""
        first, second = _subnet(one), _subnet(other)
        return self._mix(self._filled(first, second), self._filled(second, first), 0.5, rng)

    def _filled(self, subnet: Subnet, other: Subnet) -> Subnet:
        filled = self._space.filled(subnet.architecture, other.architecture)
        return Subnet(filled, subnet.resolution)

    def _resolution(self, rng: np.random.Generator) -> int:
        return self._resolutions[int(rng.integers(len(self._resolutions)))]

    def _mix(self, one: Subnet, other: Subnet, share: float, rng: np.random.Generator) -> Subnet:
        mixed = self._space.mix(one.architecture, other.architecture, share, rng)
        resolution = other.resolution if rng.random() < share else one.resolution
        return Subnet(self._space.canonical(mixed), resolution)

    def measure(self, network: Network, rung: int) -> Measured[Answers]:
        """Return what a subnet answers."""
        return self._evaluator.measure(_subnet(network), rung)

    def labels(self, rung: int) -> Labels:
        """Return what is right, ``(n,)``."""
        return self._evaluator.labels(rung)

    def footprint(self, network: Network) -> Footprint:
        """Return what a subnet takes."""
        subnet = _subnet(network)
        return self._costs.footprint(subnet.architecture, subnet.resolution)


def _subnet(network: Network) -> Subnet:
    assert isinstance(network, Subnet), f"{network} is no subnet"
    return network


class GivenNetwork:
    """One network, whose answers are known: a global that a base is adapted to, or a base.

    Args:
        name: What it is called.
        answers: What it answers for all validation images, ``(N,)``, as `answers_of` has it.
        footprint: What it takes.
        other: The side that is searched: its images, labels and rungs are this side's too.

    Raises:
        ConfigError: There are not as many answers as images.
    """

    def __init__(
        self,
        name: str,
        answers: Answers,
        footprint: Footprint,
        other: Side,
    ) -> None:
        images = len(other.labels(other.rungs - 1))
        if answers.shape != (images,):
            raise ConfigError(
                f"expected the answers of {name!r} to {images} images, got {answers.shape}"
            )
        self.name, self.rungs = name, other.rungs
        self.smallest: Network = Given(name)
        self.largest: Network = self.smallest
        self._answers = answers
        self._footprint, self._other = footprint, other

    def draw(self, rng: np.random.Generator, thrift: float = 0.0) -> Network:
        """Return the network."""
        return self.smallest

    def mutate(self, network: Network, probability: float, rng: np.random.Generator) -> Network:
        """Return the network."""
        return self.smallest

    def cross(self, one: Network, other: Network, rng: np.random.Generator) -> Network:
        """Return the network."""
        return self.smallest

    def measure(self, network: Network, rung: int) -> Measured[Answers]:
        """Return what it answers to the images of a rung; it takes no time."""
        return Measured(self._answers[: len(self.labels(rung))], 0.0)

    def labels(self, rung: int) -> Labels:
        """Return what is right, ``(n,)``."""
        return self._other.labels(rung)

    def footprint(self, network: Network) -> Footprint:
        """Return what it takes."""
        return self._footprint
