"""Devices and powers from publications, each number with its source.

A publication gives whole networks' times, so one time per MAC serves every class of layer, and
what a device takes beyond its MACs is contained in it.
"""

from hybridge.cost.device import (
    Device,
    Memory,
    Power,
    Sourced,
    Speed,
    assumption,
    devices,
    powers,
)

_MODEL_TREE = "model-tree paper"
_QUERY = "selective-query paper"
_IN_THE_RATE = assumption(
    0, "contained in the time per MAC, which is whole networks' time over MACs"
)
_KIB, _MIB = 1024, 1024**2


def _one_rate(ns_per_mac: Sourced) -> tuple[Speed, ...]:
    return (Speed(kind="any", ns_per_mac=ns_per_mac),)


def _same_for_all(active_mw: Sourced) -> Power:
    """Return the paper's simpler form: the active power for the whole latency."""
    return Power(
        active_mw=active_mw,
        transmit_mw=assumption(active_mw.value, f"{_QUERY} charges it while sending, too"),
        idle_mw=assumption(active_mw.value, f"{_QUERY} charges it while waiting, too"),
    )


powers.add(
    "paper",
    _same_for_all(
        Sourced(value=250, source=f"{_QUERY}, tables 4 and 11: 2.5 V x 100 mA, the whole latency")
    ),
)
powers.add(
    "paper-table-9",
    _same_for_all(
        Sourced(
            value=438,
            source=f"{_QUERY}, table 9: 111.2 mJ in 253.68 ms, 113.4 mJ in 259.51 ms",
        )
    ),
)
powers.add(
    "phone",
    Power(
        active_mw=assumption(2500, "a phone's big cores at full load, less its display"),
        transmit_mw=assumption(1700, "an LTE uplink at 1 Mbit/s (Huang et al., MobiSys 2012)"),
        idle_mw=assumption(1000, "the LTE radio's tail after sending (Huang et al., MobiSys 2012)"),
    ),
)

_STM32_MEMORY = Memory(
    sram_bytes=Sourced(value=320 * _KIB, source=f"{_QUERY}, appendix B.4: 320 KB of SRAM"),
    flash_bytes=Sourced(value=1 * _MIB, source=f"{_QUERY}, appendix B.4: 1 MB of flash"),
)

_PHONE_NS_PER_MAC = 0.29
# Of the nine pairs of rows in table IV that differ in the device alone: surgery, branch and tree
# in each of three scenes.
_TX2_OVER_PHONE = 1.43

for _device in (
    Device(
        name="xiaomi-mi6x",
        about="Xiaomi Mi 6X, a phone of 2018, on its CPU",
        speeds=_one_rate(
            Sourced(
                value=_PHONE_NS_PER_MAC,
                source=f"{_MODEL_TREE}, table I: VGG19 and three ResNets at 224 x 224",
            )
        ),
        overhead_ms=_IN_THE_RATE,
        power=powers.get("phone"),
    ),
    Device(
        name="stm32f746",
        about="STM32F746, a Cortex-M7 at 216 MHz, with TensorFlow Lite for Microcontrollers",
        speeds=_one_rate(
            Sourced(
                value=253.68 / 12.79,
                source=f"{_QUERY}, appendix B.4: MCUNet through TFLM, 12.79 M MACs in 253.68 ms",
            )
        ),
        overhead_ms=_IN_THE_RATE,
        memory=_STM32_MEMORY,
        power=powers.get("paper"),
    ),
    Device(
        name="stm32f746-tinyengine",
        about="STM32F746, a Cortex-M7 at 216 MHz, with TinyEngine",
        speeds=_one_rate(
            Sourced(
                value=(1075 - 197) / (82 - 12.8),
                source=f"{_QUERY}, table 4: 12.8 M MACs in 197 ms, 82 M in 1,075 ms",
            )
        ),
        overhead_ms=Sourced(
            value=197 - 12.8 * (1075 - 197) / (82 - 12.8),
            source=f"{_QUERY}, table 4: what the line through its two networks leaves at 0 MACs",
        ),
        memory=_STM32_MEMORY,
        power=powers.get("paper"),
    ),
    Device(
        name="galaxy-note8",
        about="Samsung Galaxy Note8, a phone of 2017, on its CPU",
        speeds=_one_rate(
            Sourced(value=65 / 215, source=f"{_QUERY}, table 11: 215 M MACs in 65 ms")
        ),
        overhead_ms=_IN_THE_RATE,
        power=powers.get("phone"),
    ),
    Device(
        name="jetson-tx2",
        about="NVIDIA Jetson TX2, as slow as the model-tree paper found it",
        speeds=_one_rate(
            assumption(
                _PHONE_NS_PER_MAC * _TX2_OVER_PHONE,
                f"{_MODEL_TREE}, table IV: VGG11 takes 1.16 to 1.69 times as long as on the phone "
                "in the same scene and by the same method, at the median 1.43; so 1.43 x "
                "xiaomi-mi6x, as its GPU's peak (0.003 ns) would contradict the paper",
            )
        ),
        overhead_ms=_IN_THE_RATE,
        power=Power(
            active_mw=assumption(7500, "the module's own limit in its mode of least power"),
            transmit_mw=assumption(5000, "two thirds of that: its CPU works, its GPU does not"),
            idle_mw=assumption(3000, "the module with its clocks at rest"),
        ),
    ),
    Device(
        name="v100",
        about="NVIDIA V100, through the stack of the once-for-all networks' authors",
        speeds=_one_rate(
            Sourced(value=25 / 595, source=f"{_QUERY}, table 11, mobile rows: 595 M MACs in 25 ms")
        ),
        overhead_ms=_IN_THE_RATE,
    ),
    Device(
        name="gtx1080ti",
        about="NVIDIA GTX 1080 Ti, the model-tree paper's server, one image at a time",
        speeds=_one_rate(
            assumption(
                1e-3 / (5.67 * 0.3),
                "its peak of 5.67 T MACs a second (11.3 TFLOPS, data sheet) used to 30 %",
            )
        ),
        overhead_ms=assumption(2, "starting some 100 kernels, and copying input and answer"),
    ),
):
    devices.add(_device.name, _device)
