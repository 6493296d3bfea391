"""What a chooser may look at."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Observation:
    """What is known at a fork.

    Attributes:
        score: Newest router score (paper: ``r1 - r0``, here the logit difference), or None.
        left_ms: Time left until the deadline, or None where there is no deadline.
        bandwidth_bps: Bandwidth of the link to the cloud, in bits per second, or None where it is
            not known.
        threshold: What a score is compared with just now, or None for the plan's own.
        expected_ms: How long the cloud is expected to take, where a fork may send by score, or None
            where nothing is known.
        try_child: Where a fork by bandwidth knows none: the child to go to this once, so that
            something becomes known of the link; None to take it for the poorest.
    """

    score: float | None = None
    left_ms: float | None = None
    bandwidth_bps: float | None = None
    threshold: float | None = None
    expected_ms: float | None = None
    try_child: int | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """A child of a fork, and why it was chosen."""

    child: int
    reason: str
