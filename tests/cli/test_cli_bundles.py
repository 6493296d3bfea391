"""``show`` and ``tune``: what is read from a bundle, and written to it."""

import json

import numpy as np
import pytest

from hybridge.plan.bundle import load_bundle, save_bundle
from hybridge.plan.rehearsal import query_rate


def flip_a_byte(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def content(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_show_draws_the_plan_and_names_sizes_and_metadata(call, shared_bundle):
    called = call("show", shared_bundle.path)
    assert called.status == 0
    for part in ("edge base", "cloud global", "fork by score threshold", "2 M", "10 M"):
        assert part in called.out
    assert "seed" in called.out
    assert "verified" in called.out


def test_show_says_which_programs_are_not_here(call, own_bundle):
    assert "not here" not in call("show", own_bundle.path).out
    (own_bundle.path / "programs/global.onnx").unlink()
    called = call("show", own_bundle.path)
    assert called.status == 0
    assert [line.split()[-1] for line in called.out.splitlines() if "not here" in line] == [
        "global"
    ]
    programs = json.loads(call("show", own_bundle.path, "--json").out)["programs"]
    assert {each["name"]: each["here"] for each in programs} == {"base": True, "global": False}


def test_show_as_json(call, shared_bundle):
    shown = json.loads(call("show", shared_bundle.path, "--json").out)
    programs = {program["name"]: program for program in shown["programs"]}
    assert programs["base"]["places"] == ["edge"]
    assert programs["global"]["macs"] == 10_000_000
    assert programs["global"]["sha256"] == shared_bundle.plan.programs["global"].sha256
    assert shown["metadata"] == {"name": "tiny", "seed": 7}
    assert shown["root"]["then"]["chooser"]["kind"] == "score_threshold"


def test_show_prints_brackets_as_they_are(call, own_bundle):
    save_bundle(own_bundle.plan, own_bundle.path, None, {"name": "[red]x[/red]"})
    assert "[red]x[/red]" in call("show", own_bundle.path).out


def test_show_refuses_what_is_no_bundle(call, tmp_path):
    call("show", tmp_path / "nowhere").assert_refused("not a bundle", "nowhere")


@pytest.mark.parametrize(
    "name",
    ["programs/base.onnx", "programs/global.onnx", "bundle.json", "rehearsal.safetensors"],
)
@pytest.mark.parametrize("command", [["show"], ["tune", "--coverage", "0.5"]])
def test_one_flipped_byte_is_noticed(call, own_bundle, name, command):
    flip_a_byte(own_bundle.path / name)
    call(*command, own_bundle.path).assert_refused(name)


def test_a_flipped_byte_of_the_manifest_is_noticed(call, own_bundle):
    flip_a_byte(own_bundle.path / "manifest.json")
    call("show", own_bundle.path).assert_refused("manifest.json")


def test_tune_finds_the_threshold_and_leaves_the_bundle_alone(call, own_bundle):
    before = content(own_bundle.path)
    tuned = json.loads(call("tune", own_bundle.path, "--coverage", 0.8, "--json").out)
    point = tuned["operating_point"]
    score = own_bundle.rehearsal.score[()]
    assert np.mean(score <= point["threshold"]) == point["coverage"] == 0.8
    assert point["macs"] == pytest.approx(2e6 + 0.2 * 10e6)
    assert not tuned["written"]
    assert content(own_bundle.path) == before


def test_tune_writes_the_threshold_where_asked(call, own_bundle):
    called = call("tune", own_bundle.path, "--macs-m", 4, "--write")
    assert called.status == 0
    assert "80.00 %" in called.out
    assert "written to the bundle" in called.out
    written = load_bundle(own_bundle.path)
    assert query_rate(written.plan, written.rehearsal) == pytest.approx(0.2)
    assert written.metadata["operating_point"]["coverage"] == 0.8
    assert written.metadata["seed"] == 7


def test_tune_may_keep_everything(call, own_bundle):
    tuned = call("tune", own_bundle.path, "--coverage", 1, "--write", "--json")
    assert json.loads(tuned.out)["operating_point"]["threshold"] == "Infinity"
    written = load_bundle(own_bundle.path)
    assert query_rate(written.plan, written.rehearsal) == 0
    assert "Infinity" in call("show", own_bundle.path, "--json").out
    assert call("show", own_bundle.path).status == 0


@pytest.mark.parametrize(
    ("target", "nearest"),
    [
        (["--macs-m", "1"], "keeping every input costs 2"),
        (["--accuracy", "1"], "the best is"),
        (["--latency-ms", "0.0001"], "nearest feasible"),
    ],
)
def test_an_infeasible_budget_names_what_is_feasible(call, own_bundle, target, nearest):
    before = content(own_bundle.path)
    call("tune", own_bundle.path, *target, "--write").assert_refused(nearest)
    assert content(own_bundle.path) == before


def test_tune_takes_exactly_one_target(call, shared_bundle):
    call("tune", shared_bundle.path).assert_refused("exactly one of coverage", "got none")
    both = ["--coverage", "0.5", "--macs-m", "3"]
    call("tune", shared_bundle.path, *both).assert_refused("got coverage, macs_m")


def test_tune_refuses_a_share_beyond_one(call, shared_bundle):
    call("tune", shared_bundle.path, "--coverage", 70).assert_refused("coverage")


@pytest.mark.parametrize("limit", ["inf", "nan", "-1"])
def test_tune_refuses_a_limit_that_is_none(call, shared_bundle, limit):
    call("tune", shared_bundle.path, "--latency-ms", limit, "--json").assert_refused("latency_ms")


def test_tune_to_an_energy_needs_a_power(call, shared_bundle):
    energy = ("tune", shared_bundle.path, "--energy-mj", 5, "--device", "v100")
    call(*energy).assert_refused("whose power is known", "'v100'")


def test_tune_prices_what_it_is_told(call, own_bundle):
    def latency(*options):
        arguments = ["tune", own_bundle.path, "--coverage", 0.5, "--json", *options]
        return json.loads(call(*arguments).out)["operating_point"]["latency_ms"]

    assert latency("--link", "3g") > latency("--link", "wifi")
    call("tune", own_bundle.path, "--coverage", 0.5, "--link", "wify").assert_refused("'wifi'")


def test_tune_starts_from_the_bundles_own_surroundings(call, own_bundle):
    around = {"device": "stm32f746", "cloud": "v100", "link": "3g"}
    metadata = {"recipe": {"deploy": {"surroundings": around}}}
    save_bundle(own_bundle.plan, own_bundle.path, own_bundle.rehearsal, metadata)
    arguments = ["tune", own_bundle.path, "--coverage", 0.5, "--json"]
    assert json.loads(call(*arguments).out)["surroundings"] == around
    changed = json.loads(call(*arguments, "--link", "wifi").out)["surroundings"]
    assert changed == {**around, "link": "wifi"}


def test_tune_needs_a_rehearsal(call, own_bundle):
    save_bundle(own_bundle.plan, own_bundle.path)
    call("tune", own_bundle.path, "--coverage", 0.5).assert_refused("no rehearsal")
