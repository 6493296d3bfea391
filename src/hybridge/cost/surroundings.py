"""What a plan is priced for: a device, a server, and what lies between."""

from dataclasses import dataclass

from hybridge.cost.device import Device, devices
from hybridge.links.link import Link, link_named
from hybridge.plan.tensors import Frozen


@dataclass(frozen=True, slots=True)
class Around:
    """The profiles that `Surroundings` name.

    Attributes:
        device: The edge device.
        cloud: The server.
        link: What lies between.
    """

    device: Device
    cloud: Device
    link: Link


class Surroundings(Frozen):
    """What a plan is priced for, by the names of presets.

    Attributes:
        device: Profile of the edge device.
        cloud: Profile of the server.
        link: What lies between.
    """

    device: str = "xiaomi-mi6x"
    cloud: str = "v100"
    link: str = "lte"

    def look_up(self) -> Around:
        """Return what is named; raises `UnknownNameError` with the nearest name."""
        return Around(devices.get(self.device), devices.get(self.cloud), link_named(self.link))
