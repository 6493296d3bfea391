"""Choosers: pure functions from an `Observation` to a child of a fork.

A chooser keeps no memory and reads no clock, so the runtime and the emulator share it.
"""

import math
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from hybridge.errors import PlanError
from hybridge.plan.observation import Choice, Observation
from hybridge.plan.tensors import Frozen


def _not_nan(threshold: float) -> float:
    if math.isnan(threshold):
        raise ValueError("a threshold must be a number or an infinity, got nan")
    return threshold


class ScoreThreshold(Frozen):
    """Keep where ``score <= threshold``, send elsewhere (selective query, section 2).

    Child 0 is what happens to inputs that are kept, child 1 to those that are sent.
    """

    kind: Literal["score_threshold"] = "score_threshold"
    threshold: Annotated[float, AfterValidator(_not_nan)] = 0.0

    def choose(self, seen: Observation) -> Choice:
        """Choose a child; raises `PlanError` where no program above the fork gave a score."""
        if seen.score is None:
            raise PlanError("a score_threshold fork needs a program with a 'score' output above it")
        if seen.score <= self.threshold:
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

    def choose(self, seen: Observation) -> Choice:
        """Choose the child, whatever is ``seen``."""
        return Choice(self.child, "always")

    def describe(self, child: int) -> str:
        """Return in a few words what leads to ``child``."""
        return "always" if child == self.child else "never"


Chooser = Annotated[ScoreThreshold | Always, Field(discriminator="kind")]
"""Every chooser that a plan on disk may name, told apart by its ``kind``."""
