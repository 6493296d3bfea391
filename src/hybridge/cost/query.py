"""What a selective query costs at every coverage."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from hybridge.cost.device import Device
from hybridge.cost.estimate import Estimate, estimate_of
from hybridge.cost.operating import Costs, Floats, UnitCost
from hybridge.cost.price import Prices, compute_ms, energy_mj
from hybridge.cost.reach import check_share, selective_query
from hybridge.cost.spending import Amounts, Priced, Spending, sending_ms
from hybridge.errors import ConfigError, PlanError
from hybridge.links.link import Link
from hybridge.plan.layers import Layer
from hybridge.plan.plan import Plan

#: Fewer multiply-accumulates than this are millions that somebody forgot to write.
_LEAST_MACS = 1000


@dataclass(frozen=True, slots=True)
class QueryPrice:
    """Price of each way through a selective query, for one input or for each of ``N``.

    Attributes:
        device: The edge device.
        kept: What an input spends that is kept.
        sent: What an input spends that is sent.
    """

    device: Device
    kept: Spending
    sent: Spending

    def costs(self) -> Costs:
        """Return the unit costs from which operating points are computed."""
        energy = None
        if self.device.power is not None:
            energy = _unit(self._energy_mj(self.kept), self._energy_mj(self.sent))
        return Costs(
            macs=_unit(self.kept.macs, self.sent.macs),
            payload_bytes=_unit(self.kept.payload_bytes, self.sent.payload_bytes),
            latency_ms=_unit(self.kept.latency_ms, self.sent.latency_ms),
            energy_mj=energy,
        )

    def at(self, coverage: float) -> Estimate:
        """Return the expected cost at a ``coverage``, any input being as likely sent as another.

        Raises `ConfigError` where it is no share.
        """
        check_share("coverage", coverage)
        spent = self.kept.mean(coverage) + self.sent.mean(1 - coverage)
        return estimate_of(spent, coverage, self.device)

    def _energy_mj(self, spent: Spending) -> Floats:
        edge_ms, sending, waiting_ms = np.broadcast_arrays(
            spent.edge_ms, spent.sending_ms, spent.waiting_ms
        )
        return energy_mj(self.device, edge_ms, sending, waiting_ms)


def _unit(kept: Amounts, sent: Amounts) -> UnitCost:
    return UnitCost(float(kept), sent - kept)


def price_query(
    plan: Plan, prices: Prices, link: Link, payload_bytes: float | np.ndarray[Any, Any]
) -> QueryPrice:
    """Price a selective query.

    Args:
        plan: One fork, by score: what is kept is answered at once, what is sent asks the cloud.
        prices: What its programs take.
        link: What lies between.
        payload_bytes: Encoded size of what is sent: one number, or ``(N,)``.

    Raises:
        PlanError: The plan is another tree.
    """
    query = selective_query(plan)
    if query is None or any(path == query.kept for path, _ in plan.steps()):
        raise PlanError(
            "expected a plan with one fork by score, an answer at once for what is kept, and one "
            "cloud step for what is sent; this plan is another"
        )
    priced = Priced(plan, prices, link, {(query.sent, query.codec): payload_bytes})
    return QueryPrice(prices.device, priced.to_leaf(query.kept), priced.to_leaf(query.sent))


def price_parts(
    device: Device,
    cloud: Device,
    link: Link,
    *,
    edge_macs: float = 0,
    cloud_macs: float = 0,
    payload_bytes: float = 0,
    edge_ms: float | None = None,
    cloud_ms: float | None = None,
) -> QueryPrice:
    """Price a selective query of which only totals are known, as in the paper's tables 4 and 11.

    Args:
        device: Profile of the edge device.
        cloud: Profile of the server.
        link: What lies between.
        edge_macs: Multiply-accumulates of base and router; 0 for the cloud alone.
        cloud_macs: Multiply-accumulates of the global; 0 for the device alone.
        payload_bytes: Encoded size of what is sent.
        edge_ms: Time of base and router; None prices their MACs by the device's profile.
        cloud_ms: Time of the global; None prices its MACs by the server's profile.

    Raises:
        ConfigError: A number is negative or none, a count of MACs is below 1,000, or a profile
            has no time per MAC that fits every class of layers.
    """
    check_amount("payload_bytes", payload_bytes)
    kept = Spending(edge_macs=edge_macs, edge_ms=_time_ms("edge", edge_macs, edge_ms, device))
    asked = Spending(
        cloud_macs=cloud_macs,
        cloud_ms=_time_ms("cloud", cloud_macs, cloud_ms, cloud),
        payload_bytes=payload_bytes,
        sending_ms=sending_ms(link, payload_bytes),
        round_trip_ms=link.rtt_ms,
    )
    return QueryPrice(device, kept, kept + asked)


def _time_ms(place: str, macs: float, time_ms: float | None, device: Device) -> float:
    check_amount(f"{place}_macs", macs)
    if 0 < macs < _LEAST_MACS:
        raise ConfigError(
            f"{place}_macs: {macs:g} multiply-accumulates are no network; "
            f"for millions write {macs:g}M, or {macs:g}e6"
        )
    if time_ms is not None:
        return check_amount(f"{place}_ms", time_ms)
    if macs == 0:
        return 0.0
    if not any(speed.kind == "any" and speed.ns_per_mac for speed in device.speeds):
        raise ConfigError(
            f"device {device.name!r} has a speed for each class of layers, and no time per MAC for "
            f"a whole network; give {place}_ms"
        )
    whole = Layer(name="whole", kind="any", macs=round(macs), parameters=0, output_bytes=0)
    return compute_ms([whole], device)


def check_amount(name: str, value: float) -> float:
    """Return a value; raises `ConfigError` unless it is a finite number of at least 0."""
    if not 0 <= value < math.inf:
        raise ConfigError(f"expected a finite {name} of at least 0, got {value:g}")
    return value
