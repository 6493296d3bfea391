"""Choosers: pure functions from an `Observation` to a child of a fork.

A chooser keeps no memory and reads no clock, so the runtime and the emulator share it.
"""

import math
from bisect import bisect_right
from functools import cached_property
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from hybridge.errors import PlanError
from hybridge.plan.observation import Choice, Observation
from hybridge.plan.tensors import Frozen


def _not_nan(threshold: float) -> float:
    if math.isnan(threshold):
        raise ValueError("a threshold must be a number or an infinity, got nan")
    return threshold


def _rising(borders_bps: tuple[float, ...]) -> tuple[float, ...]:
    if any(low > high for low, high in pairwise(borders_bps)):
        raise ValueError(f"expected borders_bps that rise, got {list(borders_bps)}")
    return borders_bps


class ScoreThreshold(Frozen):
    """Keep where ``score <= threshold``, send elsewhere (selective query, section 2).

    Child 0 is what happens to inputs that are kept, child 1 to those that are sent.
    """

    kind: Literal["score_threshold"] = "score_threshold"
    threshold: Annotated[float, AfterValidator(_not_nan)] = 0.0

    @property
    def least_children(self) -> int:
        """How many children it may choose from."""
        return 2

    def choose(self, seen: Observation) -> Choice:
        """Choose a child; raises `PlanError` where no program above the fork gave a score."""
        if seen.score is None:
            raise PlanError("a score_threshold fork needs a program with a 'score' output above it")
        if seen.score <= (self.threshold if seen.threshold is None else seen.threshold):
            return Choice(0, "score within threshold")
        # A score that is no number speaks for nothing, least of all for the base.
        return Choice(1, "score is NaN" if math.isnan(seen.score) else "score above threshold")

    def describe(self, child: int) -> str:
        """Return in a few words what leads to ``child``."""
        threshold = f"{self.threshold:.4g}".replace("inf", "∞")
        return f"kept: score ≤ {threshold}" if child == 0 else f"sent: score > {threshold}"


class Always(Frozen):
    """Choose the same child every time: one branch of a tree, for comparison.

    Attributes:
        child: Index of the child.
    """

    kind: Literal["always"] = "always"
    child: int = Field(ge=0)

    @property
    def least_children(self) -> int:
        """How many children there must be for it to choose its own."""
        return self.child + 1

    def choose(self, seen: Observation) -> Choice:
        """Choose the child, whatever is ``seen``."""
        return Choice(self.child, "always")

    def describe(self, child: int) -> str:
        """Return in a few words what leads to ``child``."""
        return "always" if child == self.child else "never"


class ByBandwidth(Frozen):
    """Choose by the type of bandwidth that is seen, of ``K`` types (model tree, algorithm 2).

    Child ``k`` is for type ``k``, from the poorest to the best. Further children, such as a home,
    are never chosen.

    Attributes:
        borders_bps: ``(K - 1,)`` bandwidths at which one type becomes the next, rising and
            positive; see `hybridge.links.contexts.BandwidthTypes`. A bandwidth on a border is of
            the better type.
    """

    kind: Literal["bandwidth"] = "bandwidth"
    borders_bps: Annotated[
        tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...], AfterValidator(_rising)
    ]

    @property
    def least_children(self) -> int:
        """``K``: a child for each type of bandwidth."""
        return len(self.borders_bps) + 1

    def choose(self, seen: Observation) -> Choice:
        """Choose the child of the bandwidth's type; the poorest where it is not known.

        Where it is not known and the link is to be tried, the child to try it with.
        """
        bandwidth_bps = seen.bandwidth_bps
        if bandwidth_bps is None or math.isnan(bandwidth_bps):
            if seen.try_child is not None:
                return Choice(seen.try_child, "bandwidth unknown: tried")
            return Choice(0, "bandwidth unknown: taken as the poorest")
        child = bisect_right(self.borders_bps, bandwidth_bps)
        return Choice(child, self._types[child])

    def describe(self, child: int) -> str:
        """Return in a few words what leads to ``child``."""
        return self._types[child] if child < len(self._types) else "never by bandwidth"

    @cached_property
    def _types(self) -> tuple[str, ...]:
        """What each of the ``K`` types is, in words."""
        if not self.borders_bps:
            return ("any bandwidth",)
        mbps = [f"{border / 1e6:.4g}" for border in self.borders_bps]
        between = (f"{low} ≤ bandwidth < {high} Mbit/s" for low, high in pairwise(mbps))
        return (f"bandwidth < {mbps[0]} Mbit/s", *between, f"bandwidth ≥ {mbps[-1]} Mbit/s")


Chooser = Annotated[ScoreThreshold | Always | ByBandwidth, Field(discriminator="kind")]
"""Every chooser that a plan on disk may name, told apart by its ``kind``."""
