"""What is searched: candidates made of parts that are slow to measure and quick to add up.

A measure is whatever the problem makes of a part: an accuracy, or answers to many images.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

Candidate = TypeVar("Candidate", contravariant=True)
Part = TypeVar("Part", bound=Hashable)
Measure = TypeVar("Measure")
Value = TypeVar("Value", covariant=True)
Thing = TypeVar("Thing", contravariant=True)


@dataclass(frozen=True, slots=True)
class Measured(Generic[Value]):
    """What came of measuring a part.

    Attributes:
        value: The measure, such as an accuracy.
        seconds: What measuring it took, whether now or when it was kept.
    """

    value: Value
    seconds: float


class Measurer(Protocol[Thing, Value]):
    """Measures parts."""

    def measure(self, part: Thing) -> Measured[Value]:
        """Return the measure of a part; slow, and the same every time."""


class Problem(Protocol[Candidate, Part, Measure]):
    """Scores candidates; a part is measured once, however many candidates share it.

    Where parts can be measured more or less exactly, how exactly is a thing of the part, and of the
    candidate that asks for it: such candidates say at which rung they are asked.
    """

    def parts(self, candidate: Candidate) -> tuple[Part, ...]:
        """Return the parts that a candidate's score is made of, each once."""

    def measure(self, part: Part) -> Measured[Measure]:
        """Return the measure of a part; slow, and the same every time."""

    def score(self, candidate: Candidate, measures: Mapping[Part, Measure]) -> float:
        """Return how good a candidate is; higher is better, minus infinity is never the best.

        Args:
            candidate: What is asked for.
            measures: Of each of its parts, and of others.
        """
