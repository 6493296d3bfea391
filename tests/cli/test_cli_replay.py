"""``run`` writes a log, ``replay`` tries policies on it."""

import json
import shutil

import pytest
from processes import finished
from tiny_bundle import COUNT, make_bundle

from hybridge.plan.bundle import save_bundle
from hybridge.plan.log import read_log


@pytest.fixture
def log(call, shared_bundle, arrays, tmp_path):
    """What a device alone wrote down: what it would have sent fell back."""
    path = tmp_path / "log.jsonl"
    called = call("run", shared_bundle.path, "--data", f"arrays:{arrays}", "--log", path)
    assert called.status == 0
    return path


def rows(call, log, bundle, *policies):
    options = [part for policy in policies for part in ("--policy", policy)]
    called = call("replay", log, "--bundle", bundle.path, *options, "--json")
    assert (called.status, called.err) == (0, "")
    return json.loads(called.out)["rows"]


def test_the_log_knows_the_truth_and_what_the_edge_said(log, shared_bundle):
    records = list(read_log(log))
    rehearsal = shared_bundle.rehearsal
    assert [record.truth for record in records] == rehearsal.truth.tolist()
    assert [record.edge_label for record in records] == rehearsal.answers((0,)).tolist()


def test_the_recorded_policy_comes_out_as_recorded(call, log, shared_bundle):
    recorded, fixed, edge = rows(call, log, shared_bundle, "fixed", "coverage:1")
    assert (recorded["policy"], fixed["policy"]) == ("as recorded", "fixed")
    assert {**fixed, "policy": ""} == {**recorded, "policy": ""}
    assert (recorded["requests"], recorded["sent"], recorded["share_known"]) == (COUNT, 0.5, 1)
    assert (edge["sent"], edge["share_known"], edge["payload_bytes"]) == (0, 1, 0)


def test_what_is_expected_is_told_from_what_is_known(call, log, shared_bundle):
    _, everything = rows(call, log, shared_bundle, "coverage:0")
    assert everything["sent"] == 1
    assert everything["share_known"] == everything["share_measured"] == 0.5
    assert everything["latency_ms"] is None  # no cloud was ever asked
    assert everything["accuracy"] == pytest.approx(
        (everything["accuracy_known"] + everything["accuracy_expected"]) / 2
    )


def test_a_table_for_people(call, log, shared_bundle):
    called = call("replay", log, "--bundle", shared_bundle.path, "--policy", "cost:20ms")
    assert called.status == 0
    for part in ("as recorded", "cost:20ms", "Known", "Measured", f"{COUNT} requests"):
        assert part in called.out


def test_the_runtime_follows_a_policy(call, shared_bundle, arrays):
    data = ("--data", f"arrays:{arrays}", "--json", "--policy")
    called = call("run", shared_bundle.path, *data, "coverage:1")
    assert json.loads(called.out.splitlines()[-1])["summary"]["query_rate_wanted"] == 0
    call("run", shared_bundle.path, *data, "coverage:2").assert_refused("coverage")
    call("run", shared_bundle.path, *data, "fixed", "--codec", "webp").assert_refused(
        "webp", "not rehearsed"
    )


def test_a_log_rotates_and_is_read_as_one(call, log, shared_bundle, arrays, tmp_path):
    rotated = tmp_path / "small/log.jsonl"
    data = ("--data", f"arrays:{arrays}", "--log", rotated, "--log-mb", 0.005, "--log-keep", 99)
    assert call("run", shared_bundle.path, *data).status == 0
    assert len(list(rotated.parent.iterdir())) > 2
    # Latencies are measured anew; decisions are the same.
    whole, parts = (rows(call, each, shared_bundle, "fixed")[1] for each in (log, rotated))
    assert {**whole, "latency_ms": 0, "p95_ms": 0} == {**parts, "latency_ms": 0, "p95_ms": 0}


def test_images_are_kept_small_and_few(call, shared_bundle, arrays, tmp_path):
    log, folder = tmp_path / "log.jsonl", tmp_path / "images"
    data = ("--data", f"arrays:{arrays}", "--keep-images", folder)
    call("run", shared_bundle.path, *data).assert_refused("--log FILE")
    for _ in range(2):
        assert call("run", shared_bundle.path, *data, "--log", log).status == 0
    names = [record.image for record in read_log(log)]
    assert len(set(names)) == 2 * COUNT
    assert sorted(path.name for path in folder.iterdir()) == sorted(names[-48:])


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        (b'{"time_s": 1}\n', ("line 1", "expected a decision")),
        (b'[1, "two"]\n', ("line 1", "expected a decision")),
        (b"\xff\n", ("empty",)),
    ],
)
def test_what_is_no_log_is_refused(call, shared_bundle, tmp_path, line, parts):
    path = tmp_path / "log.jsonl"
    path.write_bytes(line)
    call("replay", path, "--bundle", shared_bundle.path).assert_refused(*parts)


def test_what_cannot_be_replayed_is_refused(call, log, shared_bundle, own_bundle, tmp_path):
    def refused(*arguments):
        return call("replay", *arguments).assert_refused

    bundle = ("--bundle", shared_bundle.path)
    refused(tmp_path / "none.jsonl", *bundle)("cannot read", "none.jsonl")
    refused(tmp_path, *bundle)("cannot read")
    refused(log, *bundle, "--policy", "often")("expected a policy", "'often'")
    refused(log)("--bundle")
    other = make_bundle(tmp_path / "other", codec="webp")
    shutil.rmtree(other.path / "programs")
    assert call("replay", log, "--bundle", other.path).status == 0
    save_bundle(own_bundle.plan, tmp_path / "bare")
    refused(log, "--bundle", tmp_path / "bare")("no rehearsal")


def test_a_device_without_extras_replays(log, shared_bundle):
    done = finished("replay", log, "--bundle", shared_bundle.path, "--json", bare=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(json.loads(done.stdout)["rows"]) == 2
