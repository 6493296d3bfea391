import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hybridge.cost.device import (
    Device,
    Sourced,
    Speed,
    device_named,
    devices,
    powers,
)
from hybridge.cost.price import compute_ms, energy_mj, layer_ms
from hybridge.errors import ConfigError, DataError, UnknownNameError
from hybridge.plan.layers import Layer


def layer(macs, kind="conv", kernel=3, parameters=1, output_bytes=4):
    return Layer(
        name="x",
        kind=kind,
        kernel=kernel,
        macs=macs,
        parameters=parameters,
        output_bytes=output_bytes,
    )


def measured(value):
    return Sourced(value=value, source="a test")


def device(*speeds, overhead_ms=0.0):
    return Device(name="bench", speeds=speeds, overhead_ms=measured(overhead_ms))


MIXED = device(
    Speed(kind="conv", kernel=3, ns_per_mac=measured(1)),
    Speed(
        kind="conv",
        ns_per_mac=measured(2),
        ns_per_weight_byte=measured(5),
        ns_per_output_byte=measured(3),
        layer_us=measured(500),
    ),
    Speed(kind="any", ns_per_mac=measured(7)),
    overhead_ms=0.25,
)


@pytest.mark.parametrize(
    ("name", "macs_m", "published_ms"),
    [
        ("stm32f746", 12.79, 253.68),
        ("stm32f746-tinyengine", 12.8, 197),
        ("stm32f746-tinyengine", 82, 1075),
        ("galaxy-note8", 215, 65),
        ("v100", 595, 25),
    ],
)
def test_presets_reproduce_the_times_they_were_taken_from(name, macs_m, published_ms):
    time_ms = compute_ms([layer(round(macs_m * 1e6))], devices.get(name))
    assert time_ms == pytest.approx(published_ms, rel=1e-6)


def test_phone_predicts_a_network_within_an_eighth():
    """ResNet-101 has 7.8 G MACs at 224 x 224; the paper measured 2,238.79 ms."""
    time_ms = compute_ms([layer(7_801_000_000)], devices.get("xiaomi-mi6x"))
    assert time_ms == pytest.approx(2238.79, rel=0.125)


def test_the_paper_s_devices_stand_in_the_order_in_which_it_found_them():
    """Table IV: VGG11 is slower on the TX2 than on the phone; the GPU is far ahead of both."""
    vgg11 = [layer(152_770_000)]
    phone, tx2, server = (
        compute_ms(vgg11, devices.get(name)) for name in ("xiaomi-mi6x", "jetson-tx2", "gtx1080ti")
    )
    assert 1.16 < tx2 / phone < 1.69
    assert server < phone / 10


@pytest.mark.parametrize("name", list(devices))
def test_every_number_has_a_source_and_profiles_travel_as_json(name, tmp_path):
    device = devices.get(name)
    assert all(number.source for _, number in device.numbers())
    device.save(tmp_path / "profile.json")
    assert device_named(str(tmp_path / "profile.json")) == device
    assert device_named(name) is device


def test_assumptions_are_marked():
    power = devices.get("galaxy-note8").power
    assert power.active_mw.assumed
    assert power.transmit_mw.assumed
    assert not devices.get("stm32f746").power.active_mw.assumed
    for name in ("jetson-tx2", "gtx1080ti"):
        assert dict(devices.get(name).numbers())["ns_per_mac [any]"].assumed


def test_the_microcontroller_has_limits():
    memory = devices.get("stm32f746").memory
    assert (memory.sram_bytes.value, memory.flash_bytes.value) == (320 * 1024, 1024 * 1024)


@pytest.mark.parametrize(
    ("row", "expected_ms"),
    [
        (layer(10**6), 1),
        (layer(10**6, kernel=5, parameters=100, output_bytes=600), 2 + 0.002 + 0.0018 + 0.5),
        (layer(10**6, "depthwise"), 7),
    ],
    ids=["class and kernel", "class", "any"],
)
def test_the_nearest_speed_prices_a_layer(row, expected_ms):
    assert layer_ms(row, MIXED) == pytest.approx(expected_ms)


def test_a_program_takes_its_layers_and_an_overhead():
    assert compute_ms([layer(10**6), layer(3 * 10**6)], MIXED) == pytest.approx(4.25)


rows = st.builds(
    layer,
    st.integers(0, 10**9),
    st.sampled_from(["conv", "depthwise", "linear", "norm", "pool", "other"]),
    st.integers(0, 11),
    st.integers(0, 10**7),
    st.integers(1, 10**7),
)


@given(rows, st.floats(0, 10), st.floats(0, 10), st.floats(0, 100))
def test_time_is_linear_in_macs_and_bytes(row, per_mac, per_byte, per_layer):
    speed = Speed(
        kind="any",
        ns_per_mac=measured(per_mac),
        ns_per_weight_byte=measured(per_byte),
        ns_per_output_byte=measured(2 * per_byte),
        layer_us=measured(per_layer),
    )
    moved_ns = per_byte * (4 * row.parameters + 2 * row.output_bytes)
    expected_ns = per_mac * row.macs + moved_ns + 1000 * per_layer
    assert layer_ms(row, device(speed)) == pytest.approx(expected_ns / 1e6, rel=1e-9, abs=1e-12)


def test_a_class_without_a_speed_is_no_free_layer():
    only = device(
        Speed(kind="conv", kernel=3, ns_per_mac=measured(1)),
        Speed(kind="linear", ns_per_mac=measured(1)),
    )
    with pytest.raises(ConfigError) as error:
        compute_ms([layer(1), layer(1, kernel=11)], only)
    for part in ("'bench'", "'x'", "'conv' with kernel 11", "conv 3, linear", "hybridge profile"):
        assert part in str(error.value)
    with pytest.raises(ConfigError, match="class 'norm';"):
        compute_ms([layer(0, "norm", kernel=0)], only)


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"kind": "conv"}, "none of them"),
        ({"kind": "convolution", "ns_per_mac": measured(1)}, "conv"),
        ({"kind": "any", "kernel": 3, "ns_per_mac": measured(1)}, "no kernel"),
        ({"kind": "conv", "kernel": 0, "ns_per_mac": measured(1)}, "greater than or equal to 1"),
    ],
)
def test_a_speed_that_cannot_be_meant_is_refused(fields, fault):
    with pytest.raises(ValidationError, match=fault):
        Speed(**fields)


def test_a_copy_with_other_speeds_prices_by_those():
    assert layer_ms(layer(10**6, "linear"), MIXED) == pytest.approx(7)
    slow = MIXED.model_copy(update={"speeds": (Speed(kind="any", ns_per_mac=measured(9)),)})
    assert layer_ms(layer(10**6, "linear"), slow) == pytest.approx(9)
    assert layer_ms(layer(10**6, "linear"), MIXED) == pytest.approx(7)


def test_two_speeds_for_one_class_are_refused():
    with pytest.raises(ValidationError, match="one speed for each class"):
        device(*(Speed(kind="conv", ns_per_mac=measured(value)) for value in (1, 2)))


def test_energy_is_power_times_time():
    """The paper's MCU: 250 mW over 197 ms on the device is 49 mJ, over 1,200 ms sending 300."""
    device = devices.get("stm32f746")
    assert energy_mj(device, 197.0, 0.0, 0.0) == pytest.approx(49.25)
    assert energy_mj(device, 0.0, 1200.0, 0.0) == pytest.approx(300)
    assert energy_mj(device, 0.0, 0.0, 1200.0) == pytest.approx(300)


@pytest.mark.parametrize(("time_ms", "published_mj"), [(253.68, 111.2), (259.51, 113.4)])
def test_table_9_is_reproduced_by_a_power_of_its_own(time_ms, published_mj):
    device = devices.get("stm32f746").model_copy(update={"power": powers.get("paper-table-9")})
    assert energy_mj(device, time_ms, 0.0, 0.0) == pytest.approx(published_mj, abs=0.3)


def test_energy_of_a_device_without_powers_says_so():
    with pytest.raises(ConfigError, match="v100"):
        energy_mj(devices.get("v100"), 1.0, 0.0, 0.0)


def test_a_misspelt_device_is_corrected():
    with pytest.raises(UnknownNameError, match="did you mean 'galaxy-note8'"):
        device_named("galaxy-note-8")


def number(value):
    return {"value": value, "source": "a test"}


VALID = json.loads(MIXED.model_dump_json(exclude_none=True))


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("not json", "Invalid JSON"),
        ("[]", "an object"),
        (json.dumps(VALID | {"speeds": []}), "speeds"),
        (json.dumps(VALID | {"overhead_ms": 3}), "overhead_ms"),
        (json.dumps(VALID | {"overhead_ms": {"value": 3}}), "overhead_ms.source"),
        (json.dumps(VALID | {"overhead_ms": {"value": -3, "source": "x"}}), "overhead_ms.value"),
        (json.dumps(VALID | {"overhead_ms": {"value": 1e999, "source": "x"}}), "profile"),
        (json.dumps(VALID | {"overhead_ms": number(True)}), "overhead_ms.value"),
        (json.dumps(VALID | {"overhead_ms": number("3")}), "overhead_ms.value"),
        (json.dumps(VALID | {"memory": {"sram_bytes": number(1)}}), "memory.flash_bytes"),
        (
            json.dumps(VALID | {"memory": {"sram_bytes": number(0), "flash_bytes": number(1)}}),
            "memory.sram_bytes: expected more than 0 bytes",
        ),
        (json.dumps(VALID | {"colour": "red"}), "colour"),
    ],
)
def test_a_file_that_is_no_profile_is_refused_in_one_line(content, fault, tmp_path):
    path = tmp_path / "host.json"
    path.write_text(content)
    with pytest.raises(DataError, match=fault) as error:
        device_named(str(path))
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(DataError, match=r"missing\.json: No such file"):
        device_named(str(tmp_path / "missing.json"))
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(DataError, match=r"folder\.json: Is a directory"):
        device_named(str(tmp_path / "folder.json"))
