"""What a pair may cost: limits in one currency or several, and the arithmetic that checks them.

Every cost is linear in the query rate: ``R(o, base, global) = R_router + R(base) + rate *
R(global)`` (selective query, eq. 2, where ``rate`` is one less the coverage).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from pydantic import Field, model_validator

from hybridge.cost.estimate import estimate_of
from hybridge.cost.price import compute_ms
from hybridge.cost.spending import Spending, mean_of, sending_ms
from hybridge.cost.surroundings import Around
from hybridge.cost.target import ROUNDING
from hybridge.design.supernet.costs import Footprint
from hybridge.errors import ConfigError, InfeasibleError
from hybridge.plan.layers import Layer, total_macs
from hybridge.plan.tensors import Frozen

Amounts = Mapping[str, float]
"""By name of a limit."""


class Limits(Frozen):
    """What a pair may cost, at most; one of these is given, or several that all hold.

    Attributes:
        macs_m: Mean multiply-accumulates of an input, in millions.
        latency_ms: Its mean latency: base and router on the device, and for what is sent the link
            and the global in the cloud.
        energy_mj: Mean energy of the device.
        base_flash_bytes: Size of the base's weights in 8-bit integers.
        base_sram_bytes: The base's working memory in 8-bit integers.
    """

    macs_m: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    latency_ms: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    energy_mj: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    base_flash_bytes: int | None = Field(default=None, gt=0)
    base_sram_bytes: int | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.given:
            names = ", ".join(type(self).model_fields)
            raise ValueError(f"expected at least one of {names}; got none")
        return self

    @property
    def given(self) -> dict[str, float]:
        """Those that are given, by name."""
        return {name: float(value) for name, value in self if value is not None}


_PRICED = ("latency_ms", "energy_mj")


@dataclass(frozen=True)
class Costs:
    """Prices the networks of pairs.

    Attributes:
        limits: What a pair may cost.
        around: Device, server and link; None where neither time nor energy is limited.
        payload_bytes: Encoded bytes of what is sent; None for the global's pixels as they are.
        router: Layers of the router, which runs after the base; none leaves it out.

    Raises `ConfigError` where a limit needs a device, or its power, that is not known.
    """

    limits: Limits
    around: Around | None = None
    payload_bytes: float | None = None
    router: Sequence[Layer] = ()

    def __post_init__(self) -> None:
        for name in _PRICED:
            if name in self.limits.given and self.around is None:
                raise ConfigError(f"a limit in {name} needs a device, a server and a link")
        around = self.around
        if around and "energy_mj" in self.limits.given and around.device.power is None:
            raise ConfigError(
                f"a limit in energy_mj needs a device whose power is known, got "
                f"{around.device.name!r}"
            )

    def kept(self, base: Footprint, *, alone: bool = False) -> Amounts:
        """Return what an input costs that is kept: base and router.

        Args:
            base: What runs on the device.
            alone: Whether it has no router.
        """
        router = () if alone else self.router
        spent = Spending(edge_macs=base.macs + total_macs(router))
        if self.around is not None:
            layers = [*base.layers, *router]
            spent += Spending(edge_ms=compute_ms(layers, self.around.device))
        sizes = {"base_flash_bytes": base.int8_bytes, "base_sram_bytes": base.arena_bytes}
        return self._amounts(spent) | {
            name: float(size) for name, size in sizes.items() if name in self.limits.given
        }

    def sent(self, global_: Footprint) -> Amounts:
        """Return what an input costs beyond that where it is sent: the link, and global."""
        spent = Spending(cloud_macs=global_.macs)
        if self.around is not None:
            payload = global_.input_bytes if self.payload_bytes is None else self.payload_bytes
            spent += Spending(
                payload_bytes=payload,
                sending_ms=sending_ms(self.around.link, payload),
                round_trip_ms=self.around.link.rtt_ms,
                cloud_ms=compute_ms(global_.layers, self.around.cloud),
            )
        return self._amounts(spent)

    def _amounts(self, spent: Spending) -> dict[str, float]:
        given = self.limits.given
        amounts = {"macs_m": mean_of(spent.macs) / 1e6}
        if self.around is not None:
            priced = estimate_of(spent, 1.0, self.around.device)
            amounts |= {"latency_ms": priced.latency_ms, "energy_mj": priced.energy_mj or 0.0}
        return {name: amount for name, amount in amounts.items() if name in given}

    def allow(self, amounts: Amounts) -> bool:
        """Return whether amounts are within every limit, but for rounding."""
        given = self.limits.given
        return all(amount <= given[name] * (1 + ROUNDING) for name, amount in amounts.items())


def joined(kept: Amounts, sent: Amounts, rate: float) -> dict[str, float]:
    """Return what an input costs on the mean of which a share ``rate`` is sent (eq. 2)."""
    return {name: amount + rate * sent.get(name, 0.0) for name, amount in kept.items()}


def most_sent(limits: Limits, kept: Amounts, sent: Amounts) -> float | None:
    """Return the share of inputs that may be sent, in 0..1; none where no limit grows with it.

    Args:
        limits: What an input may cost on the mean.
        kept: What one costs that is kept.
        sent: What one costs beyond that where it is sent.
    """
    shares = [
        (limit - kept[name]) / sent[name] for name, limit in limits.given.items() if sent.get(name)
    ]
    return min(max(min(shares), 0.0), 1.0) if shares else None


def out_of_reach(limits: Limits, what: str, least: Amounts, most: Amounts) -> InfeasibleError:
    """Return an error that says what is feasible, where not even the smallest is.

    Args:
        limits: What nothing meets.
        what: What does not: a pair, or a network.
        least: What the smallest costs if nothing is sent.
        most: What the largest costs if everything is.
    """
    return InfeasibleError(
        f"no {what} is within the limits, {told(limits.given)}: the smallest costs {told(least)} "
        f"if nothing is sent, the largest {told(most)} if everything is"
    )


def told(amounts: Amounts) -> str:
    """Return amounts as a message has them: ``68.4 macs_m, 12 latency_ms``."""
    return ", ".join(f"{amount:.6g} {name}" for name, amount in amounts.items())
