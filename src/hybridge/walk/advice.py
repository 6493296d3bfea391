"""The observer of a plan's walks, from its rehearsal and what is asked of it."""

from collections.abc import Sequence

from hybridge.cost.device import Device
from hybridge.cost.gain import Gains, gains
from hybridge.plan.plan import Plan
from hybridge.plan.rehearsal import Rehearsal
from hybridge.walk.breaker import Breaker, BreakerSettings
from hybridge.walk.menu import menus
from hybridge.walk.observer import Observer, SeesBandwidth
from hybridge.walk.threshold import Fixed, Policy, WorthIt, policy_at_work
from hybridge.walk.tracker import LinkTracker


def observer_of(
    plan: Plan,
    rehearsal: Rehearsal | None,
    *,
    bandwidth: SeesBandwidth | None,
    policy: Policy,
    codecs: Sequence[str],
    breaker: BreakerSettings | None,
    device: Device | None,
) -> Observer:
    """Return what walks are advised by, in the runtime and in emulation.

    Args:
        plan: What is walked.
        rehearsal: Its own, which policies and codecs read, or None.
        bandwidth: What tells forks the bandwidth; None estimates it.
        policy: Of the threshold.
        codecs: Besides the plan's own.
        breaker: When a failing cloud is left alone; None always asks.
        device: Whose energy a policy weighs.

    Raises `ConfigError` where plan or rehearsal do not fit ``policy`` or ``codecs``.
    """
    found: Gains | None = None
    if not isinstance(policy, Fixed) and rehearsal is not None:
        found = gains(plan, rehearsal)
    # What an outage leaves behind must not keep the breaker from probing.
    tries_after_s = None if breaker is None else breaker.cooldown_ms / 1e3
    return Observer(
        bandwidth=bandwidth,
        tracker=LinkTracker(tries_after_s=tries_after_s),
        breaker=None if breaker is None else Breaker(breaker),
        policy=policy_at_work(policy, found, device),
        menus=menus(plan, rehearsal, codecs) if codecs else None,
        worth=policy if isinstance(policy, WorthIt) else None,
        device=device,
    )
