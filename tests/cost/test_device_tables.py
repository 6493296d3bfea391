"""The page on devices says what the registries hold."""

import re
from pathlib import Path
from typing import get_args

import pytest

from hybridge.cost.device import Device, SpeedKind, devices, powers

PAGE = (Path(__file__).parents[2] / "docs/devices.md").read_text(encoding="utf-8")


def rows(heading):
    """Return the cells of the first table under a heading, by the name in the first."""
    part = PAGE.partition(f"\n{heading}\n")[2]
    table = part[part.index("|---") :].partition("\n\n")[0].splitlines()[1:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    return {first.strip("`"): rest for first, *rest in cells}


def number(cell):
    return float(re.match(r"[\d.,]+", cell)[0].replace(",", ""))


DEVICES, POWERS = rows("## Presets"), rows("### Powers")


def test_every_preset_has_a_row():
    assert sorted(DEVICES) == list(devices)
    assert sorted(POWERS) == list(powers)


@pytest.mark.parametrize("name", list(devices))
def test_a_device_s_row_is_its_profile(name):
    device = devices.get(name)
    (speed,) = device.speeds
    rate, overhead, memory, power, source = DEVICES[name]
    assert number(rate) == pytest.approx(speed.ns_per_mac.value, rel=5e-4)
    assert source.startswith("assumed") == speed.ns_per_mac.assumed
    assert number(overhead) == pytest.approx(device.overhead_ms.value, abs=0.01)
    held = [] if device.memory is None else [size.value for _, size in device.memory]
    units = {"KiB": 1024, "MiB": 1024**2}
    assert [int(n) * units[unit] for n, unit in re.findall(r"(\d+) (\w+)", memory)] == held
    if power == "own, assumed":
        assert all(each.assumed for _, each in device.power)
    else:
        named = re.findall(r"`(.+)`", power)
        assert device.power == (powers.get(*named) if named else None)


@pytest.mark.parametrize("name", list(powers))
def test_a_power_s_row_is_what_it_draws(name):
    *cells, source = POWERS[name]
    assert [number(cell) for cell in cells] == [each.value for _, each in powers.get(name)]
    assert source.startswith("all assumed") == all(each.assumed for _, each in powers.get(name))


def test_the_example_is_a_profile_with_every_class_there_is():
    (example,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    device = Device.model_validate_json(example)
    assert [speed.name for speed in device.speeds] == ["conv 3", "conv", "any"]
    fields = rows("## A profile")
    (kinds,) = fields["kind"]
    assert all(f"`{kind}`" in kinds for kind in get_args(SpeedKind))
    for field in (*Device.model_fields, *type(device.speeds[0]).model_fields):
        assert field in fields
    for part in (device.memory, device.power):
        assert all(field in " ".join(map(str, fields.values())) for field, _ in part)
