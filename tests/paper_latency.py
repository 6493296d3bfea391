"""The latency and energy tables of the selective-query paper (tables 4 and 11), row by row."""

from typing import NamedTuple


class Row(NamedTuple):
    """One row; times in ms, MACs in millions, energy in mJ where the paper prints it."""

    device: str
    link: str
    edge_ms: float
    link_ms: float
    cloud_ms: float
    edge_macs_m: float
    cloud_macs_m: float
    payload_bytes: int
    coverage: float
    macs_m: float
    latency_ms: float
    energy_mj: float | None = None


_MCU = ("stm32f746-tinyengine", "lora-1mbps")
_PHONE = ("galaxy-note8", "lte")

ROWS = {
    "mcu, global only": Row(*_MCU, 0, 1200, 0, 0, 595, 150_000, 0, 595, 1200, 300),
    "mcu, 12.8 M alone": Row(*_MCU, 197, 0, 0, 12.8, 0, 150_000, 1, 12.8, 197, 49),
    "mcu, 82 M alone": Row(*_MCU, 1075, 0, 0, 82, 0, 150_000, 1, 82, 1075, 269),
    "mcu, hybrid at 70 %": Row(*_MCU, 197, 1200, 0, 12.8, 595, 150_000, 0.7, 191, 557, 139),
    "mcu, hybrid at 60 %": Row(*_MCU, 197, 1200, 0, 12.8, 595, 150_000, 0.6, 250, 677, 169),
    "phone, global only": Row(*_PHONE, 0, 180, 25, 0, 595, 152_000, 0, 595, 205),
    "phone, alone": Row(*_PHONE, 65, 0, 0, 215, 0, 152_000, 1, 215, 65),
    "phone, hybrid at 70 %": Row(*_PHONE, 65, 180, 0, 215, 595, 152_000, 0.7, 393, 119),
}
