import pytest

from hybridge.cost.device import devices
from hybridge.cost.price import compute_ms, energy_mj, layer_ms
from hybridge.errors import ConfigError, UnknownNameError
from hybridge.plan.layers import Layer


def layer(macs, kind="conv"):
    return Layer(name="x", kind=kind, kernel=3, macs=macs, parameters=1, output_bytes=4)


@pytest.mark.parametrize(
    ("device", "macs_m", "published_ms"),
    [
        ("stm32f746", 12.79, 253.68),
        ("stm32f746-tinyengine", 12.8, 197),
        ("stm32f746-tinyengine", 82, 1075),
        ("galaxy-note8", 215, 65),
        ("v100", 595, 25),
    ],
)
def test_presets_reproduce_the_times_they_were_taken_from(device, macs_m, published_ms):
    time_ms = compute_ms([layer(round(macs_m * 1e6))], devices.get(device))
    assert time_ms == pytest.approx(published_ms, rel=1e-6)


def test_phone_predicts_a_network_within_an_eighth():
    """ResNet-101 has 7.8 G MACs at 224 x 224; the paper measured 2,238.79 ms."""
    time_ms = compute_ms([layer(7_801_000_000)], devices.get("xiaomi-mi6x"))
    assert time_ms == pytest.approx(2238.79, rel=0.125)


@pytest.mark.parametrize("name", list(devices))
def test_every_number_has_a_source_and_profiles_travel_as_json(name):
    device = devices.get(name)
    assert all(number.source for _, number in device.numbers())
    assert type(device).model_validate_json(device.model_dump_json()) == device


def test_powers_nobody_measured_are_marked_as_assumed():
    power = devices.get("galaxy-note8").power
    assert power.active_mw.assumed
    assert power.transmit_mw.assumed
    assert not devices.get("stm32f746").power.active_mw.assumed


def test_a_kind_of_layer_can_have_its_own_speed():
    slow = devices.get("galaxy-note8")
    device = slow.model_copy(
        update={
            "ns_per_mac_by_kind": {"depthwise": slow.ns_per_mac.model_copy(update={"value": 2})}
        }
    )
    assert layer_ms(layer(10**6, "depthwise"), device) == pytest.approx(2)
    assert layer_ms(layer(10**6), device) == pytest.approx(65 / 215)
    assert "ns_per_mac[depthwise]" in dict(device.numbers())


def test_energy_is_power_times_time():
    """The paper's MCU: 250 mW over 197 ms on the device is 49 mJ, over 1,200 ms sending 300."""
    device = devices.get("stm32f746")
    assert energy_mj(device, 197.0, 0.0, 0.0) == pytest.approx(49.25)
    assert energy_mj(device, 0.0, 1200.0, 0.0) == pytest.approx(300)


def test_energy_of_a_device_without_powers_says_so():
    with pytest.raises(ConfigError, match="v100"):
        energy_mj(devices.get("v100"), 1.0, 0.0, 0.0)


def test_a_misspelt_device_is_corrected():
    with pytest.raises(UnknownNameError, match="did you mean 'galaxy-note8'"):
        devices.get("galaxy-note-8")
