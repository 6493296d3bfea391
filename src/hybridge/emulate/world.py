"""What requests meet in virtual time: a device, a link that a trace drains, a cloud."""

import math
from dataclasses import dataclass, replace

from hybridge.cost.price import Prices
from hybridge.errors import ConfigError
from hybridge.links.link import Link
from hybridge.links.recent import SENSE_WINDOW_S, RecentBandwidth, check_window_s
from hybridge.links.trace import Trace
from hybridge.plan.plan import Plan
from hybridge.plan.rehearsal import Rehearsal
from hybridge.walk.advice import observer_of
from hybridge.walk.breaker import BreakerSettings
from hybridge.walk.observer import Observer
from hybridge.walk.threshold import Fixed, Policy

#: Longest time that anything is waited for; the runtime's own limit.
DAY_MS = 86_400_000.0

_FIXED = Fixed()
_BREAKER = BreakerSettings()


@dataclass(frozen=True, eq=False)
class World:
    """What requests meet.

    Attributes:
        prices: What programs take, and the device that computes and sends.
        trace: Bandwidth of the uplink over time, from the first request on.
        link: Its round trip and its ``f(S|W)``; bandwidth is the trace's, not the link's.
        deadline_ms: Time from a request's arrival within which to answer, or None.
        timeout_ms: How long the cloud is waited for where there is no deadline.
        sense_window_s: At a fork by bandwidth, the device knows the trace's mean over so much time
            before; see `RecentBandwidth`.
        policy: How the threshold follows link, inputs or a budget.
        codecs: That cloud steps may be asked with besides their own, each as the link is.
        breaker: When a cloud that does not answer is left alone; None always asks.

    Raises `ConfigError` where a time limit is negative or NaN, or the window no length.
    """

    prices: Prices
    trace: Trace
    link: Link
    deadline_ms: float | None = None
    timeout_ms: float = 1000.0
    sense_window_s: float = SENSE_WINDOW_S
    policy: Policy = _FIXED
    codecs: tuple[str, ...] = ()
    breaker: BreakerSettings | None = _BREAKER

    @property
    def plain(self) -> "World":
        """The same without policy and codecs of choice, for plans that know none."""
        return replace(self, policy=Fixed(), codecs=())

    def observer(self, plan: Plan, rehearsal: Rehearsal) -> Observer:
        """Return what the walks of a plan are advised by, at the beginning.

        Raises `ConfigError` where plan or rehearsal do not fit the policy or the codecs.
        """
        observer = observer_of(
            plan,
            rehearsal,
            bandwidth=RecentBandwidth(self.trace, self.sense_window_s),
            policy=self.policy,
            codecs=self.codecs,
            breaker=self.breaker,
            device=self.prices.device,
        )
        # As a runtime that stands in for the device does before its first request.
        for program, takes_ms in self.prices.edge_ms.items():
            observer.ran(program, takes_ms)
        return observer

    def __post_init__(self) -> None:
        check_window_s(self.sense_window_s)
        for name in ("deadline_ms", "timeout_ms"):
            limit_ms = getattr(self, name)
            if limit_ms is not None and not limit_ms >= 0:
                raise ConfigError(f"expected {name} of 0 or more milliseconds, got {limit_ms:g}")

    @property
    def longest_ms(self) -> float:
        """How long the cloud is waited for without a deadline: a day at most."""
        return min(self.timeout_ms, DAY_MS)

    @property
    def within_ms(self) -> float | None:
        """The deadline, a day at most; infinity is as good as None, as in the runtime."""
        if self.deadline_ms is None or self.deadline_ms == math.inf:
            return None
        return min(self.deadline_ms, DAY_MS)
