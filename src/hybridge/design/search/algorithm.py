"""What searches: an algorithm that is asked for candidates and told how good they are."""

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

from hybridge.design.search.problem import Part

Proposal = TypeVar("Proposal")
Told = TypeVar("Told", contravariant=True)


class Algorithm(Protocol[Proposal, Part, Told]):
    """Proposes candidates; `hybridge.design.search.run.search` measures and keeps the best.

    A deterministic function of its seed and of what it is told, so that a search that was
    interrupted comes to the same end when it is run again.
    """

    @property
    def done(self) -> bool:
        """Whether there is nothing left to ask."""

    def ask(self) -> Sequence[Proposal]:
        """Return the next candidates, at least one unless `done`."""

    def tell(
        self,
        candidates: Sequence[Proposal],
        scores: Sequence[float],
        measures: Mapping[Part, Told],
    ) -> None:
        """Take in how good the candidates of the last `ask` are.

        Args:
            candidates: What was asked, whole and in that order.
            scores: Of each candidate; higher is better.
            measures: Of every part that this search has measured, those of the candidates among
                them.
        """
