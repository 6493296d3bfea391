"""Device profiles: how fast a device computes and what power it draws.

Every number says where it comes from, and whether it is no more than an assumption.
"""

from collections.abc import Iterator

from pydantic import Field

from hybridge.plan.tensors import Frozen
from hybridge.registry import Registry


class Sourced(Frozen):
    """A number and where it comes from.

    Attributes:
        value: The number, in the unit that its field names.
        source: Publication, table, data sheet or measurement, in a few words.
        assumed: Whether it is an assumption rather than a measurement.
    """

    value: float = Field(ge=0)
    source: str
    assumed: bool = False


class Power(Frozen):
    """Power that a device draws, in milliwatts, by what it is doing.

    Attributes:
        active_mw: While it computes.
        transmit_mw: While it sends.
        idle_mw: While it waits for the cloud.
    """

    active_mw: Sourced
    transmit_mw: Sourced
    idle_mw: Sourced


class Device(Frozen):
    """Speed and power of one device.

    Attributes:
        name: Its name in the registry.
        ns_per_mac: Time of one multiply-accumulate, in nanoseconds.
        ns_per_mac_by_kind: The same for kinds of `Layer` that run faster or slower than that.
        overhead_ms: Time that one program takes beyond its MACs.
        power: What it draws, or None where its energy is not counted.
    """

    name: str
    ns_per_mac: Sourced
    ns_per_mac_by_kind: dict[str, Sourced] = Field(default_factory=dict)
    overhead_ms: Sourced
    power: Power | None = None

    def ns_per_mac_of(self, kind: str) -> float:
        """Return the nanoseconds of one MAC in a layer of this ``kind``."""
        return self.ns_per_mac_by_kind.get(kind, self.ns_per_mac).value

    def numbers(self) -> Iterator[tuple[str, Sourced]]:
        """Yield every number with its name, for a listing."""
        yield "ns_per_mac", self.ns_per_mac
        for kind, number in self.ns_per_mac_by_kind.items():
            yield f"ns_per_mac[{kind}]", number
        yield "overhead_ms", self.overhead_ms
        if self.power is not None:
            yield "active_mw", self.power.active_mw
            yield "transmit_mw", self.power.transmit_mw
            yield "idle_mw", self.power.idle_mw


devices: Registry[Device] = Registry("device")
"""Every device profile, by name."""


def _assumed(value: float, why: str) -> Sourced:
    return Sourced(value=value, source=why, assumed=True)


_MODEL_TREE = "model-tree paper, table I"
_QUERY = "selective-query paper"
_IN_THE_RATE = _assumed(0, "contained in the time per MAC, which is whole networks' time over MACs")

# The paper charges the active power for the whole latency (its tables 4 and 11).
_STM32_POWER = Power(
    active_mw=Sourced(value=250, source=f"{_QUERY}, table 4: 2.5 V x 100 mA"),
    transmit_mw=_assumed(250, f"{_QUERY} charges the active power while sending"),
    idle_mw=_assumed(250, f"{_QUERY} charges the active power while waiting"),
)
_PHONE_POWER = Power(
    active_mw=_assumed(2500, "a phone's big cores at full load, less its display"),
    transmit_mw=_assumed(1700, "an LTE uplink at 1 Mbit/s (Huang et al., MobiSys 2012)"),
    idle_mw=_assumed(1000, "the LTE radio's tail after sending (Huang et al., MobiSys 2012)"),
)

for _device in (
    Device(
        name="xiaomi-mi6x",
        ns_per_mac=Sourced(
            value=0.29, source=f"{_MODEL_TREE}: VGG19 and three ResNets at 224 x 224"
        ),
        overhead_ms=_IN_THE_RATE,
        power=_PHONE_POWER,
    ),
    Device(
        name="stm32f746",
        ns_per_mac=Sourced(
            value=253.68 / 12.79,
            source=f"{_QUERY}, appendix B.4: MCUNet through TFLM, 12.79 M MACs in 253.68 ms",
        ),
        overhead_ms=_IN_THE_RATE,
        power=_STM32_POWER,
    ),
    Device(
        name="stm32f746-tinyengine",
        ns_per_mac=Sourced(
            value=(1075 - 197) / (82 - 12.8),
            source=f"{_QUERY}, table 4: 12.8 M MACs in 197 ms, 82 M in 1,075 ms",
        ),
        overhead_ms=Sourced(
            value=197 - 12.8 * (1075 - 197) / (82 - 12.8),
            source=f"{_QUERY}, table 4: what the line through its two networks leaves at 0 MACs",
        ),
        power=_STM32_POWER,
    ),
    Device(
        name="galaxy-note8",
        ns_per_mac=Sourced(value=65 / 215, source=f"{_QUERY}, table 11: 215 M MACs in 65 ms"),
        overhead_ms=_IN_THE_RATE,
        power=_PHONE_POWER,
    ),
    Device(
        name="v100",
        ns_per_mac=Sourced(
            value=25 / 595, source=f"{_QUERY}, table 11, mobile rows: 595 M MACs in 25 ms"
        ),
        overhead_ms=_IN_THE_RATE,
    ),
):
    devices.add(_device.name, _device)
