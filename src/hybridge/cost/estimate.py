"""What a plan will cost on a device, over a link, before it is run."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hybridge.cost.device import Device
from hybridge.cost.price import Prices, energy_mj, price_plan
from hybridge.cost.reach import check_reach, only_leaf, payloads_of, reach_at, reach_of
from hybridge.cost.spending import Links, Payloads, Priced, Spending, mean_of
from hybridge.cost.surroundings import Around
from hybridge.errors import ConfigError
from hybridge.plan.plan import Path, Plan
from hybridge.plan.rehearsal import Rehearsal, leaf_of_each


@dataclass(frozen=True, slots=True)
class Estimate:
    """Expected cost of one input.

    Attributes:
        coverage: Share of inputs that are answered without the cloud.
        edge_macs: Multiply-accumulates on the edge.
        cloud_macs: Multiply-accumulates in the cloud.
        payload_bytes: Encoded bytes sent.
        edge_ms: Time on the device.
        link_ms: Time of sending and of the round trip.
        cloud_ms: Time in the cloud.
        edge_mj: The device's energy for computing, or None where its power is not known.
        link_mj: Its energy for sending and for waiting for the round trip, or None likewise.
        cloud_mj: Its energy for waiting for the cloud, or None likewise.
    """

    coverage: float
    edge_macs: float
    cloud_macs: float
    payload_bytes: float
    edge_ms: float
    link_ms: float
    cloud_ms: float
    edge_mj: float | None
    link_mj: float | None
    cloud_mj: float | None

    @property
    def macs(self) -> float:
        """Multiply-accumulates, wherever they run (selective query, eq. 2)."""
        return self.edge_macs + self.cloud_macs

    @property
    def latency_ms(self) -> float:
        """Latency: the times on the way are one after another."""
        return self.edge_ms + self.link_ms + self.cloud_ms

    @property
    def energy_mj(self) -> float | None:
        """The device's energy, or None where its power is not known."""
        if self.edge_mj is None or self.link_mj is None or self.cloud_mj is None:
            return None
        return self.edge_mj + self.link_mj + self.cloud_mj


def estimate(
    plan: Plan,
    prices: Prices,
    link_at: Links,
    reach: Mapping[Path, float],
    payload_bytes: Payloads,
) -> Estimate:
    """Return the expected cost of one input of any plan.

    The time on the way to a leaf is the sum of what its steps take: programs, and for each cloud
    step a transfer. Programs need layers, and no files, so candidates are priced like bundles.

    Args:
        plan: The plan.
        prices: What its programs take; see `price_plan`.
        link_at: One link, or the link that a cloud step at a path meets: a model tree prices each
            branch at its own bandwidth.
        reach: Share of inputs that reach each leaf; see `reach_of` and `reach_at`.
        payload_bytes: Encoded bytes that cloud steps send: one number for all, or by path and
            codec, each a number or ``(n,)``; see `payloads_of`.

    Raises:
        ConfigError: The shares do not fit the plan, a program has no price, or what a step sends
            is not known, or no size.
        PlanError: Two cloud steps follow one another with no fork between.
    """
    check_reach(plan, reach)
    asking = [path for path, _ in plan.steps("cloud")]
    coverage = sum(
        share
        for leaf, share in reach.items()
        if not any(leaf[: len(path)] == path for path in asking)
    )
    spent = Priced(plan, prices, link_at, payload_bytes).expected(reach)
    return estimate_of(spent, coverage, prices.device)


def estimate_around(
    plan: Plan,
    rehearsal: Rehearsal | None,
    around: Around,
    coverage: float | None = None,
    payload_bytes: float | None = None,
) -> Estimate:
    """Return the expected cost of one input of a bundle's plan.

    Forks by bandwidth see the link's own.

    Args:
        plan: The plan.
        rehearsal: Says what scores choosers see, and what is sent; None where both are given.
        around: Profiles that price the plan.
        coverage: Share of inputs kept, any as likely as another; None for what the plan's own
            choosers keep of the rehearsal. Only a selective query takes one.
        payload_bytes: Encoded bytes of what is sent; None for the rehearsal's.

    Raises:
        ConfigError: The coverage does not fit the plan, or what the rehearsal would say is
            neither rehearsed nor given.
    """
    leaves: Sequence[Path] | None = None
    if coverage is not None:
        reach = reach_at(plan, coverage)
    elif rehearsal is not None:
        leaves = leaf_of_each(plan, rehearsal, around.link.bandwidth_bps)
        reach = reach_of(leaves)
    else:
        reach = {only_leaf(plan, around.link.bandwidth_bps): 1.0}
    sizes: Payloads = {} if rehearsal is None else payloads_of(rehearsal, leaves)
    prices = price_plan(plan, around.device, around.cloud)
    return estimate(
        plan, prices, around.link, reach, sizes if payload_bytes is None else payload_bytes
    )


def estimate_of(spent: Spending, coverage: float, device: Device) -> Estimate:
    """Return mean spending as an estimate, with the ``device``'s energy.

    Raises `ConfigError` where an amount is too large for a number.
    """

    def energy(edge_ms: float = 0, sending_ms: float = 0, waiting_ms: float = 0) -> float | None:
        if device.power is None:
            return None
        return energy_mj(device, edge_ms, sending_ms, waiting_ms)

    amounts = {name: mean_of(amount) for name, amount in spent.amounts()}
    sending_ms, round_trip_ms = amounts.pop("sending_ms"), amounts.pop("round_trip_ms")
    found = Estimate(
        coverage=coverage,
        **amounts,
        link_ms=sending_ms + round_trip_ms,
        edge_mj=energy(edge_ms=amounts["edge_ms"]),
        link_mj=energy(sending_ms=sending_ms, waiting_ms=round_trip_ms),
        cloud_mj=energy(waiting_ms=amounts["cloud_ms"]),
    )
    for name in ("payload_bytes", "macs", "latency_ms", "energy_mj"):
        if not math.isfinite(getattr(found, name) or 0):
            raise ConfigError(f"expected amounts that can be priced, got too large: {name}")
    return found
