"""Choosers: pure functions from an `Observation` to a child of a fork.

A chooser keeps no memory and reads no clock, so the runtime and the emulator share it.
"""

from typing import Literal

from pydantic import Field

from hybridge.errors import PlanError
from hybridge.plan.observation import Choice, Observation
from hybridge.plan.tensors import Frozen


class ScoreThreshold(Frozen):
    """Keep where ``score <= threshold``, send where it is above (selective query, section 2).

    Child 0 is what happens to inputs that are kept, child 1 to those that are sent.
    """

    kind: Literal["score_threshold"] = "score_threshold"
    threshold: float = Field(default=0.0, allow_inf_nan=True)

    def choose(self, seen: Observation) -> Choice:
        """Choose a child; raises `PlanError` where no program above the fork gave a score."""
        if seen.score is None:
            raise PlanError("a score_threshold fork needs a program with a 'score' output above it")
        if seen.score > self.threshold:
            return Choice(1, "score above threshold")
        return Choice(0, "score within threshold")


Chooser = ScoreThreshold
"""Every chooser that a plan on disk may name, told apart by its ``kind``."""
