"""``run`` without a server: answers come from the edge, whatever is missing."""

import json

import numpy as np
import pytest
from PIL import Image

from hybridge.cost.device import devices
from hybridge.plan.bundle import save_bundle
from hybridge.plan.log import read_log
from tiny_plans import images, partition_plan

NO_TARGETS = (
    "here",
    "http://127.0.0.1:8001",
    "[::1:8001",
    "::1:8001",
    "[here]:8001",
    "127.0.0.1:0",
    "127.0.0.1:65536",
    ":8001",
)


def records(text):
    return [json.loads(line) for line in text.splitlines()]


def test_one_line_for_every_image(call, shared_bundle, pictures):
    called = call("run", shared_bundle.path, *pictures)
    assert called.status == 0
    lines = called.out.splitlines()
    assert [line.split(": ")[0] for line in lines] == [str(path) for path in pictures]
    assert all("from the edge, score" in line for line in lines)
    assert any(" cat " in line or " dog " in line or " owl " in line for line in lines)


def test_without_a_cloud_answers_come_marked_with_one_warning(call, shared_bundle, pictures):
    called = call("run", shared_bundle.path, *pictures, "--json")
    assert called.status == 0
    expected = shared_bundle.rehearsal.answers((0,))[: len(pictures)].tolist()
    answers = records(called.out)
    assert [answer["label"] for answer in answers] == expected
    assert {answer["source"] for answer in answers} == {"edge"}
    assert any(answer["failure"] for answer in answers)
    assert called.err.startswith("warning: the cloud did not answer")
    assert called.err.count("\n") == 1


def test_a_cloud_that_is_gone_costs_no_answer(call, shared_bundle, pictures, free_port):
    cloud = f"127.0.0.1:{free_port}"
    called = call("run", shared_bundle.path, *pictures, "--cloud", cloud)
    assert called.status == 0
    assert len(called.out.splitlines()) == len(pictures)
    assert "fell back" in called.out
    assert called.err.startswith("warning: the cloud did not answer")
    assert called.err.count("\n") == 1


def test_labelled_data_end_in_figures(call, shared_bundle, arrays):
    called = call("run", shared_bundle.path, "--data", f"arrays:{arrays}", "--json")
    *answers, last = records(called.out)
    rehearsal = shared_bundle.rehearsal
    summary = last["summary"]
    assert summary["inputs"] == len(answers) == len(rehearsal)
    assert summary["accuracy"] == np.mean(rehearsal.answers((0,)) == rehearsal.truth)
    assert (summary["query_rate"], summary["query_rate_wanted"]) == (0, 0.5)
    assert summary["share_answered"] == 1
    assert summary["failed"] == summary["inputs"] / 2
    assert summary["bytes_sent"] == 0
    assert 0 < summary["latency_p50_ms"] <= summary["latency_p95_ms"]
    assert [answer["truth"] for answer in answers] == rehearsal.truth.tolist()


def test_an_abstaining_device_withholds_what_it_would_send(call, shared_bundle, arrays):
    called = call("run", shared_bundle.path, "--data", f"arrays:{arrays}", "--abstain", "--json")
    assert (called.status, called.err) == (0, "")
    *answers, last = records(called.out)
    rehearsal = shared_bundle.rehearsal
    kept = rehearsal.score[()] <= shared_bundle.plan.root.then.chooser.threshold
    assert [answer["label"] is not None for answer in answers] == kept.tolist()
    summary = last["summary"]
    right = rehearsal.answers((0,)) == rehearsal.truth
    assert summary["accuracy"] == right[kept].mean()
    assert (summary["share_answered"], summary["abstained"]) == (0.5, len(answers) / 2)
    assert (summary["query_rate"], summary["query_rate_wanted"], summary["failed"]) == (0, 0, 0)


def test_energy_is_weighed_for_a_device_that_is_named(call, shared_bundle, pictures):
    asked = ("run", shared_bundle.path, pictures[0], "--policy", "cost:5mJ")
    call(*asked).assert_refused("power is known", "--device")
    knows = next(name for name in devices.names() if devices.get(name).power is not None)
    assert call(*asked, "--device", knows).status == 0
    assert call(*asked, "--as-device", knows).status == 0


def test_abstaining_asks_no_cloud(call, shared_bundle, pictures):
    both = call("run", shared_bundle.path, pictures[0], "--abstain", "--cloud", "127.0.0.1:1")
    both.assert_refused("--abstain", "--cloud")


def test_a_link_that_cannot_be_is_refused(call, shared_bundle, pictures):
    arguments = ["run", shared_bundle.path, pictures[0], "--cloud", "127.0.0.1:1"]
    call(*arguments, "--link-seed", -1).assert_refused("--link-seed")
    call(*arguments, "--link-seed", 0, "--link-mbps", "inf").assert_refused("mean_mbps")
    call(*arguments, "--link-seed", 0, "--rtt-ms", "inf").assert_refused("rtt_ms")
    call(*arguments, "--deadline-ms", "nan").assert_refused("deadline_ms")


def test_figures_for_a_reader(call, shared_bundle, arrays):
    called = call("run", shared_bundle.path, "--data", f"arrays:{arrays}", "--limit", 8)
    assert called.out.count("from the edge") == 8
    for part in ("accuracy", "query rate", "bytes sent", "latency p50", "latency p95"):
        assert part in called.out


def test_a_folder_of_classes_is_data(call, shared_bundle, tmp_path):
    for row, name in enumerate(("cat", "dog", "owl")):
        (tmp_path / "data" / name).mkdir(parents=True)
        Image.fromarray(images(3)[row]).save(tmp_path / "data" / name / "a.png")
    called = call("run", shared_bundle.path, "--data", f"folder:{tmp_path / 'data'}", "--json")
    assert [row["truth"] for row in records(called.out)[:-1]] == [0, 1, 2]


def test_class_counts_that_differ_are_refused(call, shared_bundle, tmp_path):
    path = tmp_path / "four.npz"
    np.savez(path, pixels=images(4), labels=np.arange(4))
    called = call("run", shared_bundle.path, "--data", f"arrays:{path}")
    called.assert_refused("4 classes", "the bundle 3")


def test_a_missing_file_is_named_before_anything_is_answered(call, shared_bundle, pictures):
    called = call("run", shared_bundle.path, pictures[0], pictures[0].with_name("gone.png"))
    called.assert_refused("gone.png", "no such file")


def test_what_is_no_image_is_named_before_anything_is_answered(call, shared_bundle, pictures):
    text = pictures[0].with_name("notes.png")
    text.write_text("not an image")
    log = text.with_name("decisions.jsonl")
    called = call("run", shared_bundle.path, pictures[0], text, "--log", log)
    called.assert_refused("notes.png", "expected an encoded image")
    assert not log.exists()


def test_an_image_that_breaks_off_is_named(call, shared_bundle, pictures):
    torn = pictures[0]
    torn.write_bytes(torn.read_bytes()[:-30])
    call("run", shared_bundle.path, torn).assert_refused(torn.name, "cannot be decoded")


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("parqet:x", ["'parqet'", "did you mean 'parquet'?"]),
        ("folder", ["folder:PATH"]),
        ("digits:x", ["expected digits"]),
        ("arrays:gone.npz", ["gone.npz"]),
        ("folder:gone", ["gone"]),
    ],
)
def test_data_that_cannot_be_had(call, shared_bundle, source, parts):
    call("run", shared_bundle.path, "--data", source).assert_refused(*parts)


def test_images_or_data_but_not_both(call, shared_bundle, pictures):
    call("run", shared_bundle.path).assert_refused("image files, or --data")
    both = call("run", shared_bundle.path, pictures[0], "--data", "digits")
    both.assert_refused("give one of them")


@pytest.mark.parametrize("cloud", NO_TARGETS)
def test_what_is_no_host_and_port_is_refused(call, shared_bundle, pictures, cloud):
    called = call("run", shared_bundle.path, pictures[0], "--cloud", cloud)
    called.assert_refused("HOST:PORT", repr(cloud))


@pytest.mark.parametrize("cloud", ["localhost:1", "127.0.0.1:1", "[::1]:1"])
def test_hosts_and_ports_of_every_kind_are_asked(call, shared_bundle, pictures, cloud):
    called = call("run", shared_bundle.path, pictures[0], "--cloud", cloud, "--deadline-ms", 50)
    assert called.status == 0


def test_data_without_images_are_refused(call, shared_bundle, tmp_path):
    path = tmp_path / "empty.npz"
    np.savez(path, pixels=np.zeros((0, 4, 4, 3), np.uint8), labels=np.zeros(0, np.int64))
    called = call("run", shared_bundle.path, "--data", f"arrays:{path}")
    called.assert_refused("empty.npz", "expected images, got none")


def test_decisions_are_logged(call, shared_bundle, pictures, tmp_path):
    log = tmp_path / "new/decisions.jsonl"
    assert call("run", shared_bundle.path, *pictures, "--log", log).status == 0
    assert len(list(read_log(log))) == len(pictures)


def test_a_log_that_cannot_be_written_is_told_first(call, shared_bundle, pictures, tmp_path):
    call("run", shared_bundle.path, *pictures, "--log", tmp_path).assert_refused("--log")


def test_no_time_left_is_marked(call, shared_bundle, pictures):
    called = call("run", shared_bundle.path, *pictures, "--deadline-ms", 0, "--json")
    assert "no time left" in {answer["failure"] for answer in records(called.out)}


def test_a_plan_over_vectors_takes_no_images(call, tmp_path, pictures):
    bundle = save_bundle(partition_plan(tmp_path), tmp_path / "vectors")
    call("run", bundle.path, pictures[0]).assert_refused("takes no images")


def test_a_damaged_bundle_is_refused(call, own_bundle, pictures):
    program = own_bundle.path / "programs/base.onnx"
    program.write_bytes(program.read_bytes()[:-1] + b"?")
    call("run", own_bundle.path, *pictures).assert_refused("base.onnx", "damaged")
