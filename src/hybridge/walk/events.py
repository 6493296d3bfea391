"""What a walk asks of the world, and what the world tells it. Time arrives in events."""

from dataclasses import dataclass

from hybridge.plan.plan import Path, Step


@dataclass(frozen=True, slots=True)
class Run:
    """Run ``step``, which stands at ``path``, on the edge."""

    step: Step
    path: Path


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the cloud for ``step``, which stands at ``path``, within ``left_ms`` (None: no limit).

    What it is fed crosses in ``codec``; the reply is expected after ``expected_ms``, if anything is
    known. ``ticket`` is the breaker's, where one let it pass.
    """

    step: Step
    path: Path
    left_ms: float | None
    codec: str
    expected_ms: float | None = None
    ticket: int | None = None


@dataclass(frozen=True, slots=True)
class Ran:
    """An edge program ended at ``now_ms``; ``score`` is its router score, if it has one."""

    now_ms: float
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """The cloud answered at ``now_ms``, having spent ``cloud_ms`` of its own."""

    now_ms: float
    payload_bytes: int
    cloud_ms: float
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The cloud did not answer; known at ``now_ms``, after ``payload_bytes`` were sent.

    ``asked`` is whether anything of the message left the device, ``late`` whether it failed for
    want of time, ``cloud_failed`` whether link or cloud are to blame rather than the device.
    ``retry_after_ms`` is how long the cloud wants to be left alone, if it refused.
    """

    now_ms: float
    payload_bytes: int
    why: str
    asked: bool = True
    late: bool = False
    cloud_failed: bool = True
    retry_after_ms: float = 0.0


Request = Run | Ask
Event = Ran | Told | Failed
