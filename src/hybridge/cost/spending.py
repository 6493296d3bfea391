"""What inputs spend on their way through a plan, step by step."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from hybridge.cost.operating import Floats
from hybridge.cost.price import Prices
from hybridge.errors import ConfigError, PlanError
from hybridge.links.link import Link
from hybridge.plan.plan import Path, Plan, Step
from hybridge.plan.rehearsal import Branch

Amounts = float | Floats
Payloads = float | Mapping[Branch, Any]
"""Encoded bytes of what cloud steps send: one number for all, or by a step's path and codec, a
number or ``(n,)`` for those inputs that reach it."""
Links = Link | Callable[[Path], Link]
"""One link, or the link that a cloud step at a path meets."""


@dataclass(frozen=True, slots=True)
class Spending:
    """What one input spends, each a number; or what each of ``N`` does, where they differ.

    Attributes:
        edge_macs: Multiply-accumulates on the edge.
        cloud_macs: Multiply-accumulates in the cloud.
        payload_bytes: Encoded bytes sent.
        edge_ms: Time of programs on the device.
        sending_ms: Time in which the device sends.
        round_trip_ms: Round trips of the link.
        cloud_ms: Time of programs in the cloud.
    """

    edge_macs: Amounts = 0.0
    cloud_macs: Amounts = 0.0
    payload_bytes: Amounts = 0.0
    edge_ms: Amounts = 0.0
    sending_ms: Amounts = 0.0
    round_trip_ms: Amounts = 0.0
    cloud_ms: Amounts = 0.0

    def __add__(self, other: "Spending") -> "Spending":
        return Spending(*(getattr(self, name) + getattr(other, name) for name in _NAMES))

    def mean(self, share: float = 1.0) -> "Spending":
        """Return the mean over inputs, times the ``share`` of all inputs that they are."""
        return Spending(*(share * mean_of(getattr(self, name)) for name in _NAMES))

    def amounts(self) -> Iterator[tuple[str, Amounts]]:
        """Yield every amount by its name."""
        for name in _NAMES:
            yield name, getattr(self, name)

    @property
    def macs(self) -> Amounts:
        """Multiply-accumulates, wherever they run (selective query, eq. 2)."""
        return self.edge_macs + self.cloud_macs

    @property
    def latency_ms(self) -> Amounts:
        """All times together."""
        return self.edge_ms + self.sending_ms + self.waiting_ms

    @property
    def waiting_ms(self) -> Amounts:
        """Time in which the device neither computes nor sends."""
        return self.round_trip_ms + self.cloud_ms


_NAMES = tuple(field.name for field in fields(Spending))


@dataclass(frozen=True)
class Priced:
    """A plan whose every step can be priced.

    Attributes:
        plan: Any plan; its programs need layers, and no files.
        prices: What its programs take.
        link: One link, or the link that a cloud step at a path meets, so that each branch of a
            model tree is priced at its own bandwidth.
        payload_bytes: What cloud steps send.

    Raises `PlanError` where two cloud steps follow one another with no fork between.
    """

    plan: Plan
    prices: Prices
    link: Links
    payload_bytes: Payloads

    def __post_init__(self) -> None:
        paths = [path for path, _ in self.plan.steps("cloud")]
        for path in paths:
            if paths.count(path) > 1:
                raise PlanError(
                    f"two cloud steps at {path} cannot be told apart; join their programs"
                )

    def to_leaf(self, leaf: Path) -> Spending:
        """Return what the inputs that end at ``leaf`` spend on the way, each or all of them.

        Raises as `expected` does.
        """
        spent = Spending()
        for path, step in self.plan.steps():
            if leaf[: len(path)] == path:
                spent += self._step(path, step)
        return spent

    def expected(self, reach: Mapping[Path, float]) -> Spending:
        """Return the mean over inputs of which a share ``reach`` ends at each leaf.

        Raises:
            ConfigError: A program has no price, or what a step sends is not known, or no size.
        """
        spent = Spending()
        for path, step in self.plan.steps():
            share = sum(share for leaf, share in reach.items() if leaf[: len(path)] == path)
            if share:
                spent += self._step(path, step).mean(share)
        return spent

    def _step(self, path: Path, step: Step) -> Spending:
        macs = float(self.plan.programs[step.program].macs)
        time_ms = self.prices.step_ms(step)
        if step.place == "edge":
            return Spending(edge_macs=macs, edge_ms=time_ms)
        link = self.link(path) if callable(self.link) else self.link
        payload_bytes = self._payload_bytes(path, step)
        return Spending(
            cloud_macs=macs,
            cloud_ms=time_ms,
            payload_bytes=payload_bytes,
            sending_ms=sending_ms(link, payload_bytes),
            round_trip_ms=link.rtt_ms,
        )

    def _payload_bytes(self, path: Path, step: Step) -> Amounts:
        sizes = self.payload_bytes
        if isinstance(sizes, Mapping):
            if (path, step.codec) not in sizes:
                raise ConfigError(
                    f"what cloud step {step.program!r} at {path} sends with codec {step.codec!r} "
                    "is not known; give its payload_bytes"
                )
            sizes = sizes[path, step.codec]
        if not np.all(np.isfinite(sizes) & np.greater_equal(sizes, 0)):
            raise ConfigError(f"expected finite payload_bytes of at least 0, got {sizes}")
        return sizes


def sending_ms(link: Link, payload_bytes: Amounts) -> Amounts:
    """Return the time of sending, without the round trip, for one size or for each of many."""
    if isinstance(payload_bytes, (int, float)):
        return link.transfer_ms(payload_bytes) - link.rtt_ms
    sizes, where = np.unique(payload_bytes, return_inverse=True)
    sending = np.array([link.transfer_ms(size) - link.rtt_ms for size in sizes.tolist()])
    return sending[where].reshape(np.shape(payload_bytes))


def mean_of(amount: Amounts) -> float:
    """Return the mean of an amount over inputs; a number is its own."""
    return amount if isinstance(amount, (int, float)) else float(np.mean(amount))
