"""What a device's profile says of a base and its router: nobody measured it."""

from hybridge.cost.device import Device
from hybridge.cost.price import compute_ms, energy_mj
from hybridge.design.export.edge_program import EdgeProgram
from hybridge.errors import ConfigError
from hybridge.plan.layers import Layer
from hybridge.plan.tensors import Frozen

_BASE = "base."


class ByProfile(Frozen):
    """Time and energy of an image by a profile, MACs times a rate and a power; not measured.

    Attributes:
        device: Whose profile it is.
        power_mw: What it draws while it computes; None where the profile does not know.
        base_ms: Of the base alone.
        base_mj: Likewise; None without a power.
        with_router_ms: Of base and router; None without a router.
        with_router_mj: Likewise; None without a power.
    """

    device: str
    power_mw: float | None
    base_ms: float
    base_mj: float | None
    with_router_ms: float | None
    with_router_mj: float | None


def base_layers(edge: EdgeProgram) -> list[Layer]:
    """Return the layers of the base."""
    return [layer for layer in edge.program.layers if layer.name.startswith(_BASE)]


def with_router(base: list[Layer], router_macs: int) -> list[Layer]:
    """Return the layers of a base and of its router, as that is in integers."""
    counts = {"macs": router_macs, "parameters": router_macs}
    return [*base, Layer(name="router", kind="linear", output_bytes=2, **counts)]


def by_profile(edge: EdgeProgram, router_macs: int | None, device: Device) -> ByProfile | None:
    """Return what a profile says; None where it or the bundle does not know of the base's layers.

    Args:
        edge: Base and router in floating point.
        router_macs: Of the router in integers, or None.
        device: Whose profile prices.
    """
    base = base_layers(edge)
    try:
        base_ms = compute_ms(base, device)
        both_ms = (
            None if router_macs is None else compute_ms(with_router(base, router_macs), device)
        )
    except ConfigError:  # a kind of layers that the profile has no speed for
        return None
    if not base:
        return None
    power = device.power

    def mj(ms: float | None) -> float | None:
        return None if ms is None or power is None else energy_mj(device, ms, 0.0, 0.0)

    return ByProfile(
        device=device.name,
        power_mw=None if power is None else power.active_mw.value,
        base_ms=base_ms,
        base_mj=mj(base_ms),
        with_router_ms=both_ms,
        with_router_mj=mj(both_ms),
    )
