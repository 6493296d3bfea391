"""Layers priced by a device: milliseconds and millijoules."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from hybridge.cost.device import Device
from hybridge.errors import ConfigError
from hybridge.plan.layers import Layer
from hybridge.plan.plan import Plan, Step

Amount = TypeVar("Amount", float, np.ndarray[Any, np.dtype[np.float64]])


def layer_ms(layer: Layer, device: Device) -> float:
    """Return the time of one layer for one input, without the program's overhead.

    Raises `ConfigError` where the device knows no speed for this class of layers.
    """
    return device.speed_of(layer).layer_ms(layer)


def compute_ms(layers: Iterable[Layer], device: Device) -> float:
    """Return the time of one program, made of these layers, for one input."""
    return device.overhead_ms.value + sum(layer_ms(layer, device) for layer in layers)


def energy_mj(device: Device, edge_ms: Amount, sending_ms: Amount, waiting_ms: Amount) -> Amount:
    """Return what the device spends: each power times the time it is drawn.

    Args:
        device: Whose power is counted; the cloud's is not.
        edge_ms: Time in which it computes.
        sending_ms: Time in which it sends.
        waiting_ms: Time in which it waits for the link's round trip and for the cloud.

    Raises:
        ConfigError: The device's power is not known.
    """
    power = device.power
    if power is None:
        raise ConfigError(
            f"expected a device whose power is known, got {device.name!r}; give its profile a power"
        )
    microjoules = (
        power.active_mw.value * edge_ms
        + power.transmit_mw.value * sending_ms
        + power.idle_mw.value * waiting_ms
    )
    return microjoules / 1000


@dataclass(frozen=True)
class Prices:
    """What the programs of a plan take, by name.

    Attributes:
        device: Whose time and power the edge's are.
        edge_ms: Time of each program that runs on the edge.
        cloud_ms: Time of each program that runs in the cloud.
    """

    device: Device
    edge_ms: Mapping[str, float]
    cloud_ms: Mapping[str, float]

    def step_ms(self, step: Step) -> float:
        """Return the time of a step's program; raises `ConfigError` where it has no price."""
        prices_ms = self.edge_ms if step.place == "edge" else self.cloud_ms
        if step.program not in prices_ms:
            raise ConfigError(
                f"program {step.program!r} has no {step.place} price; price this very plan"
            )
        return prices_ms[step.program]


def price_plan(plan: Plan, device: Device, cloud: Device) -> Prices:
    """Return the prices of ``plan`` between a ``device`` and the machine in the ``cloud``."""
    return Prices(
        device=device,
        edge_ms={p.name: compute_ms(p.layers, device) for p in plan.programs_at("edge")},
        cloud_ms={p.name: compute_ms(p.layers, cloud) for p in plan.programs_at("cloud")},
    )
