"""What became of one request."""

from dataclasses import dataclass

from hybridge.plan.plan import Leaf, Path, Place


@dataclass(frozen=True, slots=True)
class Decision:
    """The course of one walk: where it ended, why, and what it cost.

    Attributes:
        path: Child taken at every fork.
        leaf: Where the walk ended; its ``combine`` makes the answer.
        source: Place whose program answered: ``cloud`` where a cloud step contributed.
        reason: Why the walk ended there, in a few words; names the failure after a fall-back.
        score: Newest router score seen, or None.
        latency_ms: From the start of the walk to its end.
        edge_ms: Time spent in edge programs.
        link_ms: Time spent asking, less the cloud's own time.
        cloud_ms: Time the cloud reported for itself.
        payload_bytes: Encoded bytes of what left the device, failed attempts included, and
            without what protocols add.
        wanted: Whether the plan sent the input to the cloud, be it asked or not.
        asked: Whether a message left the device.
        failure: Why the cloud's answer is missing, or None.
        threshold: What the newest score was compared with, where a policy moved it, or None.
        bandwidth_bps: Bandwidth as it was known at the last fork, or None.
        expected_ms: How long the cloud was expected to take when it was asked, or at the last fork
            by score where it was not, or None where nothing was known.
        codec: What the last message was encoded with, or None where none was wanted.
        deadline_ms: Time within which to answer, or None.
        breaker: Whether the cloud was left alone when the walk ended: ``closed``, ``open`` or
            ``half-open``, or None where nothing watches over that.
    """

    path: Path
    leaf: Leaf
    source: Place
    reason: str
    score: float | None
    latency_ms: float
    edge_ms: float
    link_ms: float
    cloud_ms: float
    payload_bytes: int
    wanted: bool
    asked: bool
    failure: str | None
    threshold: float | None = None
    bandwidth_bps: float | None = None
    expected_ms: float | None = None
    codec: str | None = None
    deadline_ms: float | None = None
    breaker: str | None = None
