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
