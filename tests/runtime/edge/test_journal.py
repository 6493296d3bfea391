"""What a runtime writes down: what home would have said, the truth, and the input."""

import logging
import threading

import numpy as np
import pytest
from PIL import Image

from hybridge.errors import ConfigError
from hybridge.plan.bundle import Bundle
from hybridge.plan.log import DecisionLog, read_log
from hybridge.plan.variants import abstaining, cloud_only
from hybridge.runtime.cloud.local import LocalTransport
from hybridge.runtime.cloud.models import Models
from hybridge.runtime.edge.edge import EdgeRuntime
from hybridge.runtime.edge.pictures import PictureRing
from tiny_plans import images, pair_plan, partition_plan

SEND, KEEP = float("-inf"), float("inf")


@pytest.fixture
def log(tmp_path):
    with DecisionLog(tmp_path / "log.jsonl") as log:
        yield log


def cloud_of(plan):
    return LocalTransport(Models({"tiny": plan.programs_at("cloud")}))


def written(plan, inputs, log, cloud=None, **more):
    with EdgeRuntime(Bundle(plan), cloud, log=log, **more) as edge:
        answers = [edge.predict(x, truth=1) for x in inputs]
    return answers, list(read_log(log.path))


def home_labels(folder, inputs):
    with EdgeRuntime(Bundle(pair_plan(folder, KEEP))) as edge:
        return [edge.predict(x).label for x in inputs]


@pytest.mark.parametrize("fused", [False, True])
def test_what_the_edge_would_have_said_is_known_of_what_was_sent(tmp_path, log, fused):
    plan = pair_plan(tmp_path, SEND, fused=fused)
    answers, records = written(plan, images(12), log, cloud_of(plan))
    assert {answer.source for answer in answers} == {"cloud"}
    assert [record.edge_label for record in records] == home_labels(tmp_path, images(12))
    assert {record.truth for record in records} == {1}
    assert [record.edge_label for record in records] != [record.label for record in records]


def test_of_what_was_kept_it_is_the_answer(tmp_path, log):
    answers, records = written(pair_plan(tmp_path, KEEP), images(6), log)
    assert [record.edge_label for record in records] == [answer.label for answer in answers]


def test_an_abstaining_device_knows_what_it_withholds(tmp_path, log):
    plan = abstaining(pair_plan(tmp_path, SEND))
    answers, records = written(plan, images(6), log)
    assert {answer.label for answer in answers} == {record.label for record in records} == {None}
    assert [record.edge_label for record in records] == home_labels(tmp_path, images(6))


def test_where_home_s_program_did_not_run_it_is_not_known(tmp_path, log):
    plan = partition_plan(tmp_path)
    inputs = np.random.default_rng(0).normal(size=(12, 7)).astype(np.float32) * 99
    answers, records = written(plan, inputs, log, cloud_of(plan))
    assert {answer.source for answer in answers} == {"edge", "cloud"}
    for answer, record in zip(answers, records, strict=True):
        assert record.edge_label == (answer.label if answer.source == "edge" else None)


def test_a_plan_without_a_home_has_nothing_to_say(tmp_path, log):
    plan = cloud_only(pair_plan(tmp_path))
    _, records = written(plan, images(2), log, cloud_of(plan))
    assert [record.edge_label for record in records] == [None, None]


def test_deadline_and_breaker_are_written_down(tmp_path, log):
    plan = pair_plan(tmp_path, SEND)
    with EdgeRuntime(Bundle(plan), cloud_of(plan), log=log) as edge:
        edge.predict(images(1)[0], deadline_ms=5e3)
    (record,) = read_log(log.path)
    assert (record.decision.deadline_ms, record.decision.breaker) == (5e3, "closed")


@pytest.mark.parametrize("truth", [np.int64(1), np.uint8(1), np.array(1)])
def test_the_truth_may_be_numpy_s(tmp_path, log, truth):
    with EdgeRuntime(Bundle(pair_plan(tmp_path, KEEP)), log=log) as edge:
        edge.predict(images(1)[0], truth=truth)
    assert [record.truth for record in read_log(log.path)] == [1]


def test_pictures_are_the_inputs(tmp_path, log):
    ring = PictureRing(tmp_path / "kept", keep=3)
    _, records = written(pair_plan(tmp_path), images(5), log, pictures=ring)
    names = [record.image for record in records]
    assert sorted(path.name for path in ring.folder.iterdir()) == names[-3:]
    for name, pixels in zip(names[-3:], images(5)[-3:], strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(ring.folder / name)), pixels)


@pytest.mark.parametrize("slow", [(DecisionLog, "_write"), (PictureRing, "add")])
def test_a_slow_disk_holds_up_no_answer(tmp_path, log, monkeypatch, slow):
    began, gate, plainly = threading.Event(), threading.Event(), getattr(*slow)

    def slowly(self, data):
        began.set()
        assert gate.wait(30)
        return plainly(self, data)

    monkeypatch.setattr(*slow, slowly)
    ring = PictureRing(tmp_path / "kept", keep=2)
    with EdgeRuntime(Bundle(pair_plan(tmp_path)), log=log, pictures=ring) as edge:
        answers = [edge.predict(images(6)[0], deadline_ms=5e3)]
        assert began.wait(30)  # else others might push its picture out first, and nothing be slow
        answers += [edge.predict(x, deadline_ms=5e3) for x in images(6)[1:]]
        assert not log.path.exists()
        gate.set()
    records = list(read_log(log.path))
    assert [record.label for record in records] == [answer.label for answer in answers]
    # Of those that waited, the pictures that are kept anyway.
    assert sorted(path.name for path in ring.folder.iterdir()) == [
        record.image for record in records[-2:]
    ]


def test_a_picture_is_of_what_was_asked(tmp_path, log):
    ring, pixels, gate = PictureRing(tmp_path / "kept"), images(1)[0], threading.Event()
    with EdgeRuntime(Bundle(pair_plan(tmp_path)), log=log, pictures=ring) as edge:
        log.soon(lambda: gate.wait(30))
        edge.predict(pixels)
        pixels[...] = 0  # as a camera does that has one buffer
        gate.set()
    (record,) = read_log(log.path)
    np.testing.assert_array_equal(np.asarray(Image.open(ring.folder / record.image)), images(1)[0])


def test_large_pictures_are_kept_small(tmp_path):
    ring = PictureRing(tmp_path, longest_side=16)
    grey = ring.add(np.zeros((100, 50, 1), np.uint8))
    with Image.open(tmp_path / grey) as image:
        assert image.size == (8, 16)


def test_names_go_on_where_the_last_run_ended(tmp_path):
    pixels = np.zeros((2, 2, 3), np.uint8)
    before = [PictureRing(tmp_path, keep=2).add(pixels) for _ in range(2)]
    after = PictureRing(tmp_path, keep=2).add(pixels)
    assert after not in before
    assert sorted(path.name for path in tmp_path.iterdir()) == [before[1], after]


def test_a_folder_that_cannot_be_written_costs_no_answer(tmp_path, log, caplog):
    (tmp_path / "file").touch()
    ring = PictureRing(tmp_path / "file" / "kept")
    with caplog.at_level(logging.WARNING):
        answers, records = written(pair_plan(tmp_path), images(3), log, pictures=ring)
    assert len(answers) == len(records) == 3
    assert {record.image for record in records} == {None}
    assert len(caplog.records) == 1


def test_plans_of_other_inputs_keep_no_pictures(tmp_path, log):
    ring = PictureRing(tmp_path / "kept")
    _, records = written(partition_plan(tmp_path), [np.zeros(7, np.float32)], log, pictures=ring)
    assert [record.image for record in records] == [None]


def test_pictures_need_a_log(tmp_path):
    with pytest.raises(ConfigError, match="give a log"):
        EdgeRuntime(Bundle(pair_plan(tmp_path)), pictures=PictureRing(tmp_path))
    with pytest.raises(ConfigError, match="1 or more"):
        PictureRing(tmp_path, keep=0)
