"""What the edge runtime gives back."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from hybridge.plan.plan import Place


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer.

    Attributes:
        label: The class, or None where the plan abstains.
        class_name: Its name, or None where it has none.
        probabilities: ``(C,)`` float64.
        source: Who answered: ``cloud`` where the cloud contributed.
        reason: Why it was answered there, in a few words.
        score: Router score, or None where no program gave one.
        latency_ms: From the request until the last program or reply was done.
        edge_ms: Time in edge programs, decoding the image included.
        link_ms: Time asking the cloud, less its own time.
        cloud_ms: The cloud's own time, as it reports it.
        bytes_sent: Encoded bytes of what left the device, failed attempts included, and without
            what protocols add.
        wanted: Whether the plan sent the input to the cloud, be it asked or not.
        asked: Whether a message left the device.
        abstained: Whether the label is withheld.
        failure: Why the cloud's answer is missing, or None.
    """

    label: int | None
    class_name: str | None
    probabilities: np.ndarray[Any, np.dtype[np.float64]]
    source: Place
    reason: str
    score: float | None
    latency_ms: float
    edge_ms: float
    link_ms: float
    cloud_ms: float
    bytes_sent: int
    wanted: bool
    asked: bool
    abstained: bool
    failure: str | None
