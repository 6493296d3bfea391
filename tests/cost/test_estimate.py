"""The latency and energy tables of the selective-query paper (4 and 11), from presets."""

import numpy as np
import pytest

from hybridge.cost.device import Device, Speed, assumption, devices
from hybridge.cost.estimate import price_query
from hybridge.cost.operating import measure_at
from hybridge.links.link import Link, links
from hybridge.plan.layers import Layer


def network(macs_m):
    layer = Layer(
        name="x", kind="conv", kernel=3, macs=round(macs_m * 1e6), parameters=1, output_bytes=4
    )
    return [layer]


def mcu(payload_bytes=150_000):
    """Tables 4 and 11: 150 KB at 1 Mbit/s; the cloud's time is not counted there."""
    nothing = assumption(0, "not counted")
    instant = Device(
        name="instant", speeds=(Speed(kind="any", ns_per_mac=nothing),), overhead_ms=nothing
    )
    return price_query(
        network(12.8),
        network(595),
        payload_bytes,
        device=devices.get("stm32f746-tinyengine"),
        cloud=instant,
        link=links.get("lora-1mbps"),
    )


@pytest.mark.parametrize(
    ("coverage", "latency_ms", "energy_mj", "macs_m"),
    [(1.0, 197, 49, 12.8), (0.7, 557, 139, 191), (0.6, 677, 169, 250)],
)
def test_microcontroller_table(coverage, latency_ms, energy_mj, macs_m):
    estimate = mcu().at(coverage)
    assert estimate.latency_ms == pytest.approx(latency_ms, abs=1)
    assert estimate.energy_mj == pytest.approx(energy_mj, abs=1)
    assert estimate.macs / 1e6 == pytest.approx(macs_m, abs=1)


def test_phone_table():
    """152 KB over LTE in 180 ms, 25 ms in the cloud, 65 ms on the phone."""
    price = price_query(
        network(215),
        network(595),
        152_000,
        device=devices.get("galaxy-note8"),
        cloud=devices.get("v100"),
        link=links.get("lte"),
    )
    kept, half, sent = price.at(1), price.at(0.7), price.at(0)
    assert kept.latency_ms == pytest.approx(65)
    assert half.edge_ms + half.link_ms == pytest.approx(119)
    assert sent.link_ms + sent.cloud_ms == pytest.approx(205)
    assert half.macs / 1e6 == pytest.approx(393.5)


def test_energy_counts_each_part_at_its_own_power():
    device = devices.get("galaxy-note8")
    price = price_query(
        network(215),
        network(595),
        100_000,
        device=device,
        cloud=devices.get("v100"),
        link=Link(bandwidth_bps=8e6, rtt_ms=75),
    )
    power = device.power
    expected_uj = (
        65 * power.active_mw.value + 100 * power.transmit_mw.value + 100 * power.idle_mw.value
    )
    assert price.at(0).energy_mj == pytest.approx(expected_uj / 1000)


def test_a_device_without_powers_has_no_energy():
    v100 = devices.get("v100")
    price = price_query(
        network(1), network(2), 10, device=v100, cloud=v100, link=Link(bandwidth_bps=1e6, rtt_ms=1)
    )
    assert price.at(0.5).energy_mj is None
    assert price.costs().energy_mj is None


def test_an_estimate_is_the_operating_point_where_all_inputs_cost_the_same():
    score, right = np.array([0.0, 1.0, 2.0, 3.0]), np.ones(4, np.bool_)
    point, estimate = measure_at(1.5, score, right, right, mcu().costs()), mcu().at(0.5)
    for name in ("macs", "payload_bytes", "latency_ms", "energy_mj"):
        assert getattr(point, name) == pytest.approx(getattr(estimate, name))


def test_sizes_may_differ_from_input_to_input():
    sizes = np.array([100_000, 200_000, 100_000])
    price = mcu(sizes)
    assert price.costs().latency_ms.cloud.tolist() == pytest.approx([800, 1600, 800])
    assert price.at(0).payload_bytes == pytest.approx(400_000 / 3)
