"""What a plan is priced for: a device, a server, and what lies between."""

from dataclasses import dataclass

from hybridge.cost.device import Device, device_named, powers
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
    """What a plan is priced for: presets by name, or ``.json`` files.

    Attributes:
        device: Profile of the edge device.
        cloud: Profile of the server.
        link: What lies between.
    """

    device: str = "xiaomi-mi6x"
    cloud: str = "v100"
    link: str = "lte"

    def look_up(self, power: str | None = None) -> Around:
        """Return what is named.

        Args:
            power: Name in `powers` of what the device draws instead of what its profile says.

        Raises:
            UnknownNameError: There is no such preset; names the nearest.
            DataError: A file cannot be read, or does not hold what it should.
        """
        device = device_named(self.device)
        if power is not None:
            device = device.model_copy(update={"power": powers.get(power)})
        return Around(device, device_named(self.cloud), link_named(self.link))
