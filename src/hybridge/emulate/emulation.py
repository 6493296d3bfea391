"""What an emulation came to.

Letters: ``R`` requests.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from hybridge.cost.operating import Bools, Floats
from hybridge.cost.reward import Reward


@dataclass(frozen=True, eq=False)
class Emulation:
    """What became of ``R`` requests; every array is ``(R,)``, in the order in which they came.

    Attributes:
        latency_ms: From a request's arrival to its answer, or to the failure that left none.
        edge_ms: Of this, from being ready for an edge program to its end, queueing included.
        link_ms: Of this, from asking to the reply, queueing included, less the cloud's own time.
        cloud_ms: Of this, the cloud's own time.
        payload_bytes: Encoded bytes sent, failed attempts included.
        asked: Whether a message left the device.
        failed: Whether the cloud was wanted and did not answer in time.
        answered: Whether there was an answer.
        right: Whether there was one, and it was right.
        energy_mj: What the device spent; queueing is charged to those that are served meanwhile.
            None where the device's power is not known.
    """

    latency_ms: Floats
    edge_ms: Floats
    link_ms: Floats
    cloud_ms: Floats
    payload_bytes: Floats
    asked: Bools
    failed: Bools
    answered: Bools
    right: Bools
    energy_mj: Floats | None

    def __len__(self) -> int:
        return len(self.latency_ms)

    def summary(self, reward: Reward) -> "Summary":
        """Return the figures of all requests together."""
        p50, p95, p99 = np.quantile(self.latency_ms, (0.5, 0.95, 0.99)).tolist()
        latency_ms, accuracy = float(self.latency_ms.mean()), float(self.right.mean())
        return Summary(
            requests=len(self),
            accuracy=accuracy,
            query_rate=float(self.asked.mean()),
            latency_ms=latency_ms,
            p50_ms=p50,
            p95_ms=p95,
            p99_ms=p99,
            payload_bytes=float(self.payload_bytes.mean()),
            energy_mj=None if self.energy_mj is None else float(self.energy_mj.mean()),
            reward=reward.of(latency_ms, accuracy),
            timeouts=int(self.failed.sum()),
            unanswered=int((~self.answered).sum()),
        )


@dataclass(frozen=True, slots=True)
class Summary:
    """The figures of an emulation.

    Attributes:
        requests: How many there were.
        accuracy: Share answered right.
        query_rate: Share of which a message left the device.
        latency_ms: Mean latency; ``p50_ms``, ``p95_ms`` and ``p99_ms`` are its quantiles.
        p50_ms: Median latency.
        p95_ms: Latency that 95 % do not exceed.
        p99_ms: Latency that 99 % do not exceed.
        payload_bytes: Mean encoded bytes sent.
        energy_mj: The device's mean energy, or None where its power is not known.
        reward: Of mean latency and accuracy (model tree, eq. 7).
        timeouts: Requests that wanted the cloud and heard nothing from it in time.
        unanswered: Requests that got no answer at all.
    """

    requests: int
    accuracy: float
    query_rate: float
    latency_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    payload_bytes: float
    energy_mj: float | None
    reward: float
    timeouts: int
    unanswered: int


def pooled(emulations: Sequence[Emulation]) -> Emulation:
    """Return the requests of several emulations as one."""

    def joined(name: str) -> Any:
        arrays = [getattr(each, name) for each in emulations]
        return None if any(array is None for array in arrays) else np.concatenate(arrays)

    return Emulation(**{field.name: joined(field.name) for field in fields(Emulation)})
