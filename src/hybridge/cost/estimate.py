"""What a selective query will cost on a device, over a link, before it is run."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from hybridge.cost.device import Device
from hybridge.cost.operating import Costs, Floats, UnitCost
from hybridge.cost.price import compute_ms, energy_mj
from hybridge.links.link import Link
from hybridge.plan.layers import Layer, total_macs


@dataclass(frozen=True, slots=True)
class Estimate:
    """Expected cost of one input at a coverage.

    Attributes:
        coverage: Share of inputs that are kept.
        edge_macs: Multiply-accumulates of router and base.
        cloud_macs: Expected multiply-accumulates in the cloud.
        payload_bytes: Expected encoded bytes sent.
        edge_ms: Time on the device.
        link_ms: Expected time of sending and of the round trip.
        cloud_ms: Expected time in the cloud.
        energy_mj: The device's expected energy, or None where its power is not known.
    """

    coverage: float
    edge_macs: float
    cloud_macs: float
    payload_bytes: float
    edge_ms: float
    link_ms: float
    cloud_ms: float
    energy_mj: float | None

    @property
    def macs(self) -> float:
        """Expected multiply-accumulates, wherever they run (selective query, eq. 2)."""
        return self.edge_macs + self.cloud_macs

    @property
    def latency_ms(self) -> float:
        """Expected latency."""
        return self.edge_ms + self.link_ms + self.cloud_ms


@dataclass(frozen=True, slots=True)
class QueryPrice:
    """Price of each part of a selective query, for one input.

    Attributes:
        device: The edge device.
        edge_macs: Multiply-accumulates of router and base.
        cloud_macs: Multiply-accumulates of the global.
        payload_bytes: Encoded size of what is sent: one number, or ``(N,)``.
        edge_ms: Time of router and base on the device.
        sending_ms: Time in which the device sends, like ``payload_bytes``.
        round_trip_ms: Round trip of the link.
        cloud_ms: Time of the global in the cloud.
    """

    device: Device
    edge_macs: int
    cloud_macs: int
    payload_bytes: float | Floats
    edge_ms: float
    sending_ms: float | Floats
    round_trip_ms: float
    cloud_ms: float

    def costs(self) -> Costs:
        """Return the unit costs from which operating points are computed."""
        sending_ms = np.asarray(self.sending_ms, np.float64)
        waiting_ms = np.full_like(sending_ms, self.round_trip_ms + self.cloud_ms)
        energy = None
        if self.device.power is not None:
            energy = UnitCost(
                energy_mj(self.device, self.edge_ms, 0.0, 0.0),
                energy_mj(self.device, np.zeros_like(sending_ms), sending_ms, waiting_ms),
            )
        return Costs(
            macs=UnitCost(self.edge_macs, self.cloud_macs),
            payload_bytes=UnitCost(0.0, self.payload_bytes),
            latency_ms=UnitCost(self.edge_ms, sending_ms + waiting_ms),
            energy_mj=energy,
        )

    def at(self, coverage: float) -> Estimate:
        """Return the expected cost at a ``coverage``, any input being as likely sent as another."""
        sent, energy = 1 - coverage, self.costs().energy_mj
        return Estimate(
            coverage=coverage,
            edge_macs=self.edge_macs,
            cloud_macs=sent * self.cloud_macs,
            payload_bytes=sent * float(np.mean(self.payload_bytes)),
            edge_ms=self.edge_ms,
            link_ms=sent * (float(np.mean(self.sending_ms)) + self.round_trip_ms),
            cloud_ms=sent * self.cloud_ms,
            energy_mj=None if energy is None else energy.at(coverage),
        )


def price_query(
    edge_layers: Iterable[Layer],
    cloud_layers: Iterable[Layer],
    payload_bytes: float | np.ndarray[Any, Any],
    *,
    device: Device,
    cloud: Device,
    link: Link,
) -> QueryPrice:
    """Price a selective query from its programs' layers.

    Args:
        edge_layers: Layers of the edge's program: base and router.
        cloud_layers: Layers of the cloud's program: the global.
        payload_bytes: Encoded size of what is sent: one number, or ``(N,)``.
        device: Profile of the edge device.
        cloud: Profile of the cloud's machine.
        link: What lies between.
    """
    edge_layers, cloud_layers = tuple(edge_layers), tuple(cloud_layers)
    sizes, where = np.unique(payload_bytes, return_inverse=True)
    sending_ms = np.array([link.transfer_ms(round(size)) - link.rtt_ms for size in sizes])
    return QueryPrice(
        device=device,
        edge_macs=total_macs(edge_layers),
        cloud_macs=total_macs(cloud_layers),
        payload_bytes=payload_bytes,
        edge_ms=compute_ms(edge_layers, device),
        sending_ms=sending_ms[where].reshape(np.shape(payload_bytes)),
        round_trip_ms=link.rtt_ms,
        cloud_ms=compute_ms(cloud_layers, cloud),
    )
