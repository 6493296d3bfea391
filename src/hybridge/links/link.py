"""A link of fixed bandwidth and round trip, and what a transfer over it takes."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

from pydantic import ConfigDict

from hybridge.files import read_json_as, write_json
from hybridge.registry import Registry

_SUFFIX = ".json"


@dataclass(frozen=True, slots=True)
class Link:
    """A link as a plan's cost sees it.

    Raises `ValueError` where a number is negative or not finite, or the bandwidth is 0.

    Attributes:
        bandwidth_bps: Bits per second from the edge to the cloud; positive.
        rtt_ms: Round-trip time, which every request pays once.
        provenance: Where the numbers come from.
        message_ms: Constant part of ``f(S|W)``: what every message takes beyond sending.
        byte_ms: Linear part of ``f(S|W)``: what every byte takes beyond sending.
    """

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")

    bandwidth_bps: float
    rtt_ms: float = 0.0
    provenance: str = ""
    message_ms: float = 0.0
    byte_ms: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.bandwidth_bps < math.inf:
            raise ValueError(f"expected a positive bandwidth_bps, got {self.bandwidth_bps}")
        for name in ("rtt_ms", "message_ms", "byte_ms"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"expected {name} of 0 or more, got {getattr(self, name)}")

    def transfer_ms(self, payload_bytes: float) -> float:
        """Return the milliseconds of a transfer: ``f(S|W) + S/W + RTT`` (model tree, section V).

        Args:
            payload_bytes: Encoded size ``S`` of what is sent; an expected one need not be whole.
        """
        sending_ms = 8000 * payload_bytes / self.bandwidth_bps
        return self.handling_ms(payload_bytes) + sending_ms + self.rtt_ms

    def handling_ms(self, payload_bytes: float) -> float:
        """Return ``f(S|W)``: what a message takes beyond its sending and the round trip."""
        return self.message_ms + self.byte_ms * payload_bytes

    def save(self, path: Path) -> None:
        """Write the link as JSON."""
        write_json(path, asdict(self))


links: Registry[Link] = Registry("link")
"""Preset links, by name."""


def link_named(name: str) -> Link:
    """Return a preset, or the link in a file whose name ends with ``.json``.

    Raises:
        UnknownNameError: There is no such preset; names the nearest.
        DataError: The file cannot be read, or holds no link.
    """
    return load_link(Path(name)) if name.endswith(_SUFFIX) else links.get(name)


def load_link(path: Path) -> Link:
    """Return the link in a JSON file; raises `DataError` where there is none."""
    hint = "'hybridge links list NAME --json' prints one to compare with"
    return read_json_as(Link, path, "link", hint)


def _measured(payload_bytes: int, transfer_ms: float, rtt_ms: float, provenance: str) -> Link:
    """Return the link on which ``payload_bytes`` take ``transfer_ms``, round trip included."""
    return Link(8000 * payload_bytes / (transfer_ms - rtt_ms), rtt_ms, provenance)


def _nearer(name: str, rtt_ms: float) -> Link:
    """Return the preset ``name`` with the round trip to an edge that is near."""
    source = f"bandwidth of {name!r}; round trip to a near edge, public median"
    return Link(links.get(name).bandwidth_bps, rtt_ms, source)


_IMAGE = "selective query, section 4 (after Kang et al., 2017): 152 KB take {} ms in all; {}"

links.add(
    "wifi",
    _measured(152_000, 95, 40, _IMAGE.format(95, "round trip to a cloud, public median")),
)
links.add(
    "lte",
    _measured(152_000, 180, 80, _IMAGE.format(180, "round trip to a cloud, public median")),
)
links.add("wifi-near", _nearer("wifi", 2))
links.add("lte-near", _nearer("lte", 42))
links.add("3g", _measured(152_000, 870, 150, _IMAGE.format(870, "round trip assumed")))
links.add(
    "lora-1mbps",
    Link(1e6, 0, "selective query, table 4: 150 KB take 1,200 ms, which needs 1 Mbit/s"),
)
