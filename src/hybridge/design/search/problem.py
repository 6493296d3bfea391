"""What is searched: candidates made of parts that are slow to measure and quick to add up."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

Candidate = TypeVar("Candidate", contravariant=True)
Part = TypeVar("Part", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Measured:
    """What came of measuring a part.

    Attributes:
        value: The measure, such as an accuracy.
        seconds: What measuring it took, whether now or when it was kept.
    """

    value: float
    seconds: float


class Problem(Protocol[Candidate, Part]):
    """Scores candidates; a part is measured once, however many candidates share it."""

    def parts(self, candidate: Candidate) -> tuple[Part, ...]:
        """Return the parts that a candidate's score is made of, each once."""

    def measure(self, part: Part) -> Measured:
        """Return the measure of a part; slow, and the same every time."""

    def score(self, candidate: Candidate, measures: Mapping[Part, float]) -> float:
        """Return how good a candidate is; higher is better."""
