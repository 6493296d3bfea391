"""``estimate``: of a bundle, and of a pair of which only totals are known."""

import json
import re

import numpy as np
import pytest
from tiny_bundle import MACS

from hybridge.cost.device import devices
from hybridge.cost.estimate import estimate_around
from hybridge.cost.surroundings import Surroundings
from hybridge.plan.bundle import save_bundle
from hybridge.plan.variants import cloud_only, edge_only
from paper_latency import ROWS

PHONE = ("--device", "galaxy-note8", "--link", "lte")
PAIR = ("--edge-macs", "215M", "--cloud-macs", "595M", "--payload-bytes", 152_000)


def told(call, *arguments):
    called = call("estimate", *arguments, "--json")
    assert called.status == 0, called.err
    return json.loads(called.out)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
@pytest.mark.parametrize("payload", ["--payload-bytes", "--payload"])
def test_every_row_of_the_paper(call, row, payload):
    found = told(
        *(call, "--device", row.device, "--link", row.link, "--coverage", row.coverage),
        *("--edge-ms", row.edge_ms, "--cloud-ms", row.cloud_ms, payload, row.payload_bytes),
        *("--edge-macs", f"{row.edge_macs_m}M", "--cloud-macs", row.cloud_macs_m * 1e6),
    )
    assert found["latency_ms"] == pytest.approx(row.latency_ms, abs=1)
    assert found["macs_m"] == pytest.approx(row.macs_m, abs=1)
    assert found["bytes"] == pytest.approx((1 - row.coverage) * row.payload_bytes)
    assert found["link_ms"] == pytest.approx((1 - row.coverage) * row.link_ms, abs=0.5)
    if row.energy_mj is not None:
        assert found["energy_mj"] == pytest.approx(row.energy_mj, abs=1)


@pytest.mark.parametrize("written", ["12.8M", "12800000", "12.8e6", "12800k", "0.0128G"])
def test_counts_are_written_as_one_likes(call, written):
    assert told(call, "--edge-macs", written, "--coverage", 1)["macs_m"] == pytest.approx(12.8)


def test_times_follow_from_macs_where_they_are_not_given(call):
    found = told(call, *PHONE, *PAIR, "--coverage", 0.7)
    assert found["edge_ms"] == pytest.approx(65)
    assert found["cloud_ms"] == pytest.approx(0.3 * 25)
    assert told(call, *PHONE, *PAIR, "--coverage", 0.7, "--edge-ms", 5)["edge_ms"] == 5


def test_macs_that_nobody_gave_are_not_zero(call):
    def macs(*arguments):
        found = told(call, *arguments)
        return found["macs_m"], found["edge_macs_m"], found["cloud_macs_m"]

    assert macs("--edge-ms", 65, "--coverage", 1) == (None, None, 0)
    times = ("--edge-ms", 65, "--cloud-ms", 0, "--payload", 1)
    assert macs(*times, "--coverage", 0.7) == (None, None, None)
    assert macs(*times, "--coverage", 0.5, "--cloud-macs", "10M") == (None, None, 5)
    assert macs(*times, "--coverage", 0.5, "--edge-macs", "10M") == (None, 10, None)


def test_who_is_not_asked_takes_no_macs(call):
    alone = told(call, "--edge-macs", "5M", "--cloud-ms", 25, "--coverage", 1)
    assert (alone["macs_m"], alone["cloud_macs_m"], alone["cloud_ms"]) == (5, 0, 0)
    cloud = ("--edge-ms", 0, "--cloud-macs", "5M", "--payload", 1, "--coverage", 0)
    assert told(call, *cloud)["macs_m"] == 5


def test_the_cloud_alone_needs_no_edge(call):
    """The paper's first row; it does not count the cloud's time."""
    found = told(
        *(call, "--device", "stm32f746-tinyengine", "--link", "lora-1mbps", "--coverage", 0),
        *("--cloud-macs", "595M", "--cloud-ms", 0, "--payload-bytes", 150_000),
    )
    assert (found["latency_ms"], found["energy_mj"]) == pytest.approx((1200, 300))
    assert (found["macs_m"], found["edge_ms"]) == (595, 0)


def test_a_power_takes_the_place_of_the_devices_own(call):
    mcu = ("--device", "stm32f746", "--edge-ms", 1000, "--coverage", 1)
    assert told(call, *mcu)["energy_mj"] == pytest.approx(250)
    assert told(call, *mcu, "--power", "paper")["energy_mj"] == pytest.approx(250)
    assert told(call, *mcu, "--power", "paper-table-9")["energy_mj"] == pytest.approx(438)


def test_an_energy_beyond_all_numbers_is_refused(call, tmp_path):
    power = devices.get("galaxy-note8").power
    most = power.active_mw.model_copy(update={"value": 1e308})
    power = power.model_copy(update={"active_mw": most})
    devices.get("galaxy-note8").model_copy(update={"power": power}).save(tmp_path / "sun.json")
    sun = ("--device", tmp_path / "sun.json", "--edge-ms", 1000, "--coverage", 1)
    call("estimate", *sun, "--json").assert_refused("too large: energy_mj")


def test_a_device_without_power_says_so(call):
    arguments = ("--device", "v100", "--edge-ms", 1000, "--coverage", 1)
    assert told(call, *arguments)["energy_mj"] is None
    assert told(call, *arguments, "--power", "paper")["energy_mj"] == pytest.approx(250)
    assert "the power of v100 is not known; give --power" in call("estimate", *arguments).out


def test_a_bundle_by_its_own_threshold(call, shared_bundle):
    """Half of the tiny bundle's data are sent."""
    found = told(call, shared_bundle.path)
    assert found["coverage"] == 0.5
    assert found["edge_macs_m"] == pytest.approx(MACS["base"] / 1e6)
    assert found["cloud_macs_m"] == pytest.approx(0.5 * MACS["global"] / 1e6)
    assert found["bytes"] == pytest.approx(24)
    assert found["surroundings"] == Surroundings().model_dump()
    expected = estimate_around(
        shared_bundle.plan, shared_bundle.rehearsal, Surroundings().look_up()
    )
    for name in ("latency_ms", "energy_mj", "link_ms"):
        assert found[name] == getattr(expected, name)


def test_a_bundle_at_another_coverage_size_and_place(call, shared_bundle):
    found = told(call, shared_bundle.path, "--coverage", 0.75, "--payload", 1000, "--link", "3g")
    assert (found["coverage"], found["bytes"]) == (0.75, 250)
    assert found["surroundings"]["link"] == "3g"
    other = told(call, shared_bundle.path, "--coverage", 0.75, "--link", "wifi")
    assert other["bytes"] == pytest.approx(0.25 * 48)
    assert other["latency_ms"] < found["latency_ms"]


def test_a_bundle_is_priced_for_what_it_was_made_for(call, own_bundle):
    around = {"device": "stm32f746", "cloud": "v100", "link": "3g"}
    metadata = {"recipe": {"deploy": {"surroundings": around}}}
    save_bundle(own_bundle.plan, own_bundle.path, own_bundle.rehearsal, metadata)
    assert told(call, own_bundle.path)["surroundings"] == around


@pytest.mark.parametrize("around", ["wifi", ["wifi"], 5, {"device": 3}, {"devise": "v100"}])
@pytest.mark.parametrize("command", [["estimate"], ["tune", "--coverage", 0.5]])
def test_a_bundle_whose_surroundings_are_none(call, own_bundle, around, command):
    metadata = {"recipe": {"deploy": {"surroundings": around}}}
    save_bundle(own_bundle.plan, own_bundle.path, own_bundle.rehearsal, metadata)
    call(*command, own_bundle.path).assert_refused()


def test_tune_and_estimate_agree(call, own_bundle):
    tuned = call("tune", own_bundle.path, "--coverage", 0.8, "--write", "--json").out
    point = json.loads(tuned)["operating_point"]
    found = told(call, own_bundle.path)
    for mine, theirs in {
        "coverage": "coverage",
        "bytes": "payload_bytes",
        "latency_ms": "latency_ms",
        "energy_mj": "energy_mj",
    }.items():
        assert found[mine] == pytest.approx(point[theirs])
    assert found["macs_m"] == pytest.approx(point["macs"] / 1e6)


def test_a_device_may_be_a_file(call, tmp_path):
    slow = devices.get("galaxy-note8")
    speed = slow.speeds[0]
    rate = speed.ns_per_mac.model_copy(update={"value": 2 * speed.ns_per_mac.value})
    slow = slow.model_copy(update={"speeds": (speed.model_copy(update={"ns_per_mac": rate}),)})
    slow.save(tmp_path / "slow.json")
    found = told(call, *PAIR, "--coverage", 1, "--device", tmp_path / "slow.json")
    assert found["edge_ms"] == pytest.approx(130)


def test_programs_that_are_not_here_are_priced(call, own_bundle):
    before = told(call, own_bundle.path)
    (own_bundle.path / "programs/global.onnx").unlink()
    assert told(call, own_bundle.path) == before


@pytest.mark.parametrize(("make", "coverage"), [(edge_only, 1), (cloud_only, 0)])
def test_one_place_alone_needs_no_rehearsal(call, own_bundle, make, coverage):
    save_bundle(make(own_bundle.plan), own_bundle.path)
    found = told(call, own_bundle.path, "--payload", 100)
    assert (found["coverage"], found["bytes"]) == (coverage, 100 * (1 - coverage))


def test_a_table_by_part(call, shared_bundle):
    called = call("estimate", shared_bundle.path, "--device", "stm32f746")
    lines = [re.sub(r"\s+", " ", line).strip() for line in called.out.splitlines()]
    assert [line.split()[0] for line in lines[3:7]] == ["edge", "link", "cloud", "total"]
    assert "2 M" in lines[3]
    assert "24 B" in lines[4]
    assert "5 M" in lines[5]
    assert "7 M 24 B" in lines[6]
    assert "coverage 50.00 %" in lines[7]
    assert "priced for stm32f746, lte, v100" in lines[8]


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ["got neither", "--edge-macs"]),
        (["--coverage", 0.5], ["got neither"]),
        (["--edge-macs", "5M"], ["--coverage", "got none"]),
        ([*PAIR, "--coverage", 70], ["coverage from 0 to 1, got 70"]),
        ([*PAIR, "--coverage", -0.1], ["got -0.1"]),
        ([*PAIR, "--coverage", "nan"], ["got nan"]),
        (["--edge-macs", "595", "--coverage", 1], ["595 multiply-accumulates", "write 595M"]),
        (["--edge-macs", "5q", "--coverage", 1], ["12.8M", "got '5q'"]),
        (["--edge-macs", "", "--coverage", 1], ["got ''"]),
        (["--edge-macs", "-5M", "--coverage", 1], ["edge_macs of at least 0"]),
        (["--edge-macs", "nan", "--coverage", 1], ["edge_macs of at least 0, got nan"]),
        (["--edge-macs", "1e308G", "--coverage", 1], ["a finite edge_macs", "got inf"]),
        (["--edge-ms", "-1", "--coverage", 1], ["edge_ms of at least 0"]),
        (["--edge-ms", "inf", "--coverage", 1], ["got inf"]),
        (["--edge-macs", "5M", "--coverage", 0.5], ["50% of inputs to the cloud", "--cloud-macs"]),
        (["--cloud-macs", "5M", "--coverage", 0.5], ["to the edge", "--edge-macs"]),
        ([*PAIR[:4], "--coverage", 0.5], ["give --payload-bytes"]),
        ([*PAIR[:4], "--payload", -1, "--coverage", 0.5], ["payload_bytes of at least 0"]),
        ([*PAIR[:4], "--payload", 1e308, "--coverage", 0.5], ["too large: latency_ms"]),
        ([*PAIR, "--coverage", 1, "--device", "stm32f74"], ["did you mean 'stm32f746'"]),
        ([*PAIR, "--coverage", 1, "--cloud", "v10"], ["did you mean 'v100'"]),
        ([*PAIR, "--coverage", 1, "--link", "ltee"], ["did you mean 'lte'"]),
        ([*PAIR, "--coverage", 1, "--power", "papr"], ["did you mean 'paper'"]),
        ([*PAIR, "--coverage", 1, "--device", "none.json"], ["none.json"]),
        (["nowhere"], ["not a bundle"]),
    ],
)
def test_what_cannot_be_priced(call, arguments, parts):
    call("estimate", *arguments).assert_refused(*parts)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--edge-ms", 4, "--cloud-macs", "5M"], "leave out --edge-ms and --cloud-macs"),
        (["--coverage", 2], "coverage from 0 to 1"),
        (["--payload", "nan"], "payload_bytes of at least 0"),
        (["--link", "wify"], "'wifi'"),
    ],
)
def test_what_a_bundle_cannot_be_priced_with(call, shared_bundle, arguments, part):
    call("estimate", shared_bundle.path, *arguments).assert_refused(part)


def test_a_bundle_without_a_rehearsal_needs_a_coverage_and_a_size(call, own_bundle):
    save_bundle(own_bundle.plan, own_bundle.path)
    call("estimate", own_bundle.path).assert_refused("give a coverage, or rehearse the plan")
    half = ("estimate", own_bundle.path, "--coverage", 0.5)
    call(*half).assert_refused("'global'", "give its payload_bytes")
    found = told(call, *half[1:], "--payload", 100)
    assert found["bytes"] == 50


def test_a_coverage_needs_a_selective_query(call, own_bundle):
    save_bundle(edge_only(own_bundle.plan), own_bundle.path)
    call("estimate", own_bundle.path, "--coverage", 0.5).assert_refused("one fork keeps or sends")


def test_a_profile_without_a_class_of_layers_is_named(call, shared_bundle, tmp_path):
    device = devices.get("galaxy-note8")
    speed = device.speeds[0].model_copy(update={"kind": "linear"})
    device.model_copy(update={"name": "half", "speeds": (speed,)}).save(tmp_path / "half.json")
    called = call("estimate", shared_bundle.path, "--device", tmp_path / "half.json")
    called.assert_refused("'half' has no speed for layer 'l', of class 'conv'")


def test_sizes_of_what_is_sent_are_those_of_the_inputs_that_are_sent(call, own_bundle):
    """The easy half would be twice as large; the device sends the hard half."""
    rehearsal = own_bundle.rehearsal
    sent = rehearsal.score[()] > np.median(rehearsal.score[()])
    rehearsal.payload_bytes[(1,), "raw"] = np.where(sent, 100, 200)
    save_bundle(own_bundle.plan, own_bundle.path, rehearsal, {})
    assert told(call, own_bundle.path)["bytes"] == pytest.approx(0.5 * 100)
    assert told(call, own_bundle.path, "--coverage", 0.5)["bytes"] == pytest.approx(0.5 * 150)
