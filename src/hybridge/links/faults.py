"""What goes wrong on a link, and when: by a schedule that a seed repeats exactly."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

FaultKind = Literal["drop", "refuse", "delay", "reset"]


@dataclass(frozen=True, slots=True)
class Fault:
    """What befalls a message.

    Attributes:
        kind: ``drop``: it is lost, and nobody says so. ``refuse``: no connection is made.
            ``delay``: it comes ``delay_ms`` late. ``reset``: the connection breaks once the
            message has crossed.
        probability: Share of the messages in the interval that it befalls.
        begins_s: When the interval begins.
        ends_s: When it ends.
        delay_ms: Lateness of a delayed message.
    """

    kind: FaultKind
    probability: float = 1.0
    begins_s: float = 0.0
    ends_s: float = math.inf
    delay_ms: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1 or not self.begins_s <= self.ends_s:
            raise ValueError(
                "expected a probability in [0, 1] and begins_s <= ends_s, "
                f"got {self.probability} and [{self.begins_s}, {self.ends_s}]"
            )
        if not self.delay_ms >= 0 or (self.delay_ms > 0) != (self.kind == "delay"):
            raise ValueError(
                f"expected a positive delay_ms for a delay and none for others, "
                f"got {self.delay_ms} for {self.kind!r}"
            )


class FaultSchedule:
    """Decides, message by message, which fault it meets.

    Args:
        faults: What may happen; the first that does, counts.
        seed: Same seed and same number of messages, same draws, whatever their times.
    """

    def __init__(self, faults: Sequence[Fault], seed: int) -> None:
        self.faults = tuple(faults)
        self._rng = np.random.default_rng(seed)

    def draw(self, at_s: float) -> Fault | None:
        """Return what befalls the next message, offered at ``at_s``, or None."""
        # One draw for every fault, in its interval or not, keeps later messages' draws the same.
        draws = self._rng.random(len(self.faults))
        for fault, draw in zip(self.faults, draws, strict=True):
            if fault.begins_s <= at_s < fault.ends_s and draw < fault.probability:
                return fault
        return None
