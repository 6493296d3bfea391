"""``hybridge devices``: profiles, and where their numbers come from."""

import json

import pytest
from processes import finished

from hybridge.cost.device import Device, Sourced, Speed, device_named, devices


def test_every_preset_is_listed(call):
    called = call("devices")
    assert (called.status, called.err) == (0, "")
    lines = {line.split()[0]: line for line in called.out.splitlines() if line.strip()}
    for name in devices:
        assert name in lines
    for part in ("19.83", "328 kB", "1.05 MB", "250", "overhead, power"):
        assert part in lines["stm32f746"]
    assert "0.0005879" in lines["gtx1080ti"]
    assert "time, overhead" in lines["gtx1080ti"]


def test_json_of_all_holds_profiles(call):
    found = json.loads(call("devices", "--json").out)
    assert [Device.model_validate(each) for each in found] == [
        devices.get(each) for each in devices
    ]


@pytest.mark.parametrize("name", list(devices))
def test_one_device_shows_every_number_and_its_source(call, name):
    called = call("devices", name)
    assert (called.status, called.err) == (0, "")
    device = devices.get(name)
    text = " ".join(called.out.split())
    for number, value in device.numbers():
        assert number in text
        assert value.source.split()[0] in text
    assert (" yes " in text) == any(value.assumed for _, value in device.numbers())
    assert ("no limit" in text) == (device.memory is None)
    assert ("energy is not counted" in text) == (device.power is None)


def test_json_of_one_is_a_profile_to_start_from(call, tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(call("devices", "stm32f746", "--json").out)
    assert device_named(str(path)) == devices.get("stm32f746")
    assert call("devices", path).out == call("devices", "stm32f746").out
    assert call("devices", path, "--json").out == path.read_text()


def test_a_profile_by_class_and_kernel(call, tmp_path):
    path = tmp_path / "host.json"
    seen = Sourced(value=0.04, source="a stopwatch")
    speeds = (Speed(kind="conv", kernel=3, ns_per_mac=seen, layer_us=seen),)
    Device(name="host", speeds=speeds, overhead_ms=seen).save(path)
    out = call("devices", path).out
    assert out.split()[0] == "host"
    for part in ("ns_per_mac [conv 3]", "layer_us [conv 3]", "a stopwatch", "0.04"):
        assert part in out
    assert "yes" not in out


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_what_is_no_device(call, tmp_path, options):
    call("devices", "galaxy-note-8", *options).assert_refused("did you mean 'galaxy-note8'")
    call("devices", "", *options).assert_refused("known: ")
    call("devices", tmp_path / "gone.json", *options).assert_refused("gone.json", "No such file")
    path = tmp_path / "half.json"
    path.write_text(json.dumps({"name": "half"}))
    call("devices", path, *options).assert_refused("half.json", "speeds", "hybridge devices NAME")


def test_devices_need_no_torch():
    done = finished("devices", "v100", "--json", bare=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["name"] == "v100"
