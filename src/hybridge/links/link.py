"""A link of fixed bandwidth and round trip, and what a transfer over it takes."""

from dataclasses import dataclass

from hybridge.registry import Registry


@dataclass(frozen=True, slots=True)
class Link:
    """A link as a plan's cost sees it.

    Attributes:
        bandwidth_bps: Bits per second from the edge to the cloud; positive.
        rtt_ms: Round-trip time, which every request pays once.
        provenance: Where the numbers come from.
        message_ms: Constant part of ``f(S|W)``: what every message takes beyond sending.
        byte_ms: Linear part of ``f(S|W)``: what every byte takes beyond sending.
    """

    bandwidth_bps: float
    rtt_ms: float = 0.0
    provenance: str = ""
    message_ms: float = 0.0
    byte_ms: float = 0.0

    def __post_init__(self) -> None:
        if not self.bandwidth_bps > 0 or not self.rtt_ms >= 0:
            raise ValueError(
                f"expected a positive bandwidth_bps and an rtt_ms of at least 0, "
                f"got {self.bandwidth_bps} and {self.rtt_ms}"
            )

    def transfer_ms(self, payload_bytes: int) -> float:
        """Return the milliseconds of a transfer: ``f(S|W) + S/W + RTT`` (model tree, section V).

        Args:
            payload_bytes: Encoded size ``S`` of what is sent.
        """
        sending_ms = 8000 * payload_bytes / self.bandwidth_bps
        return self.handling_ms(payload_bytes) + sending_ms + self.rtt_ms

    def handling_ms(self, payload_bytes: int) -> float:
        """Return ``f(S|W)``: what a message takes beyond its sending and the round trip."""
        return self.message_ms + self.byte_ms * payload_bytes


links: Registry[Link] = Registry("link")
"""Preset links, by name."""


def link_named(name: str) -> Link:
    """Return the preset called ``name``; raises `UnknownNameError` with the nearest name."""
    return links.get(name)


def _measured(payload_bytes: int, transfer_ms: float, rtt_ms: float, provenance: str) -> Link:
    """Return the link on which ``payload_bytes`` take ``transfer_ms``, round trip included."""
    return Link(8000 * payload_bytes / (transfer_ms - rtt_ms), rtt_ms, provenance)


_IMAGE = "selective query, section 4 (after Kang et al., 2017): 152 KB take {} ms in all; {}"

links.add(
    "wifi",
    _measured(152_000, 95, 40, _IMAGE.format(95, "round trip to a cloud, public median")),
)
links.add(
    "lte",
    _measured(152_000, 180, 80, _IMAGE.format(180, "round trip to a cloud, public median")),
)
links.add("3g", _measured(152_000, 870, 150, _IMAGE.format(870, "round trip assumed")))
links.add(
    "lora-1mbps",
    Link(1e6, 0, "selective query, table 4: 150 KB take 1,200 ms, which needs 1 Mbit/s"),
)
