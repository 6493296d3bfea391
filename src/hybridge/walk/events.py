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
    """Ask the cloud for ``step``, which stands at ``path``, within ``left_ms`` (None: no limit)."""

    step: Step
    path: Path
    left_ms: float | None


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

    ``asked`` is whether anything of the message left the device.
    """

    now_ms: float
    payload_bytes: int
    why: str
    asked: bool = True


Request = Run | Ask
Event = Ran | Told | Failed
