import dataclasses
import json
import logging
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridge.errors import ConfigError, DataError
from hybridge.plan.answers import Newest
from hybridge.plan.decision import Decision
from hybridge.plan.log import DecisionLog, Record, read_log
from hybridge.plan.plan import Leaf

DECISION = Decision(
    path=(1,),
    leaf=Leaf(combine=Newest(logits="global.logits")),
    source="cloud",
    reason="score above threshold",
    score=0.25,
    latency_ms=12.5,
    edge_ms=2.5,
    link_ms=8.0,
    cloud_ms=2.0,
    payload_bytes=3072,
    wanted=True,
    asked=True,
    failure=None,
)
FAILED = dataclasses.replace(DECISION, source="edge", path=(0,), score=None, failure="hung up\n")
FULL = "/dev/full"


def test_what_is_written_is_read(tmp_path):
    with DecisionLog(tmp_path / "log.jsonl") as log:
        log.append(DECISION, 100.5, 3)
        log.append(FAILED, 101.5, None)
        records = list(read_log(tmp_path / "log.jsonl"))
    assert records == [Record(100.5, 3, DECISION), Record(101.5, None, FAILED)]


@given(st.lists(st.tuples(st.floats(0, 1e10), st.none() | st.integers(0, 999)), max_size=5))
def test_any_time_and_label_survive(tmp_path_factory, entries):
    path = tmp_path_factory.mktemp("log") / "log.jsonl"
    with DecisionLog(path) as log:
        for time_s, label in entries:
            log.append(DECISION, time_s, label)
        log.append(DECISION, 0.0, 0)
    found = [(record.time_s, record.label) for record in read_log(path)]
    assert found == [*entries, (0.0, 0)]


def test_a_log_is_appended_to(tmp_path):
    for _ in range(2):
        with DecisionLog(tmp_path / "log.jsonl") as log:
            log.append(DECISION, 0.0, 0)
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["reason"] for line in lines] == ["score above threshold"] * 2


def test_a_log_makes_its_folder(tmp_path):
    with DecisionLog(tmp_path / "new/log.jsonl") as log:
        log.append(DECISION, 0.0, 0)
    assert len(list(read_log(tmp_path / "new/log.jsonl"))) == 1


@pytest.mark.parametrize("path", [FULL, "file/log.jsonl"])
def test_a_log_that_cannot_be_written_warns_once(tmp_path, caplog, path):
    (tmp_path / "file").touch()
    with caplog.at_level(logging.WARNING), DecisionLog(tmp_path / path) as log:
        for _ in range(3):
            log.append(DECISION, 0.0, 0)
    assert len(caplog.records) == 1
    assert "cannot be written" in caplog.text


def test_numbers_of_numpy_are_numbers(tmp_path):
    with DecisionLog(tmp_path / "log.jsonl") as log:
        decision = dataclasses.replace(DECISION, score=np.float32(0.25), wanted=np.bool_(True))
        log.append(decision, 1.0, np.int64(3), truth=np.uint8(2))
    assert list(read_log(tmp_path / "log.jsonl")) == [Record(1.0, 3, DECISION, truth=2)]


def test_what_json_does_not_know_costs_a_line(tmp_path, caplog):
    with caplog.at_level(logging.WARNING), DecisionLog(tmp_path / "log.jsonl") as log:
        log.append(DECISION, 1.0, 3, truth=np.arange(2))
        log.append(DECISION, 2.0, 3)
    assert list(read_log(tmp_path / "log.jsonl")) == [Record(2.0, 3, DECISION)]
    assert len(caplog.records) == 1


def test_a_slow_disk_holds_up_nobody(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("hybridge.plan.log._MOST_WAITING", 5)
    gate, begun = threading.Event(), threading.Event()
    with caplog.at_level(logging.WARNING), DecisionLog(tmp_path / "log.jsonl") as log:
        log.soon(lambda: (begun.set(), gate.wait(30)))
        assert begun.wait(30)
        for turn in range(9):
            log.soon(lambda turn=turn: log.append(DECISION, float(turn), turn))
        gate.set()
    assert labels(log.path) == [0, 1, 2, 3, 4]
    assert [record.message.count("too slow") for record in caplog.records] == [1]


def test_a_log_that_hangs_is_closed_all_the_same(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("hybridge.plan.log._PATIENCE_S", 0.01)
    gate = threading.Event()
    with caplog.at_level(logging.WARNING), DecisionLog(tmp_path / "log.jsonl") as log:
        log.soon(lambda: gate.wait(30))
    gate.set()
    assert "1 lines are lost" in caplog.text


def test_a_torn_line_is_left_out(tmp_path):
    path = tmp_path / "log.jsonl"
    with DecisionLog(path) as log:
        log.append(DECISION, 0.0, 0)
    path.write_bytes(path.read_bytes() * 2 + path.read_bytes()[:40])
    assert len(list(read_log(path))) == 2


def test_a_line_that_is_no_decision_is_named(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"time_s": 1}\n')
    with pytest.raises(DataError, match="line 1: expected a decision"):
        list(read_log(path))


def test_a_missing_log_is_an_error(tmp_path):
    with pytest.raises(DataError, match="cannot read"):
        list(read_log(tmp_path / "none.jsonl"))


def filled(path, count, **limits):
    with DecisionLog(path, **limits) as log:
        for turn in range(count):
            log.append(DECISION, float(turn), turn)


def labels(path):
    return [record.label for record in read_log(path)]


def test_what_is_known_beside_the_decision_is_kept(tmp_path):
    with DecisionLog(tmp_path / "log.jsonl") as log:
        log.append(DECISION, 1.0, 3, edge_label=2, truth=3, image="00000001.png")
    assert list(read_log(tmp_path / "log.jsonl")) == [
        Record(1.0, 3, DECISION, edge_label=2, truth=3, image="00000001.png")
    ]


def test_a_log_of_an_older_version_is_read(tmp_path):
    path = tmp_path / "log.jsonl"
    filled(path, 1)
    line = json.loads(path.read_text())
    for name in (
        *("edge_label", "truth", "image", "threshold", "bandwidth_bps"),
        *("expected_ms", "codec", "deadline_ms", "breaker"),
    ):
        del line[name]
    path.write_text(json.dumps(line) + "\n")
    assert list(read_log(path)) == [Record(0.0, 0, DECISION)]


def test_a_log_rotates_and_is_read_as_one(tmp_path):
    path = tmp_path / "log.jsonl"
    filled(path, 100, max_mb=0.004, keep=99)
    files = sorted(tmp_path.iterdir())
    assert len(files) > 5
    assert all(file.stat().st_size <= 4000 for file in files)
    assert labels(path) == list(range(100))
    path.unlink()  # as it is for a moment while it rotates
    assert labels(path) == list(range(labels(path)[-1] + 1))


def test_the_oldest_files_are_given_up(tmp_path):
    path = tmp_path / "log.jsonl"
    filled(path, 100, max_mb=0.004, keep=2)
    names = ["log.jsonl", "log.jsonl.1", "log.jsonl.2"]
    assert sorted(file.name for file in tmp_path.iterdir()) == names
    assert labels(path) == list(range(labels(path)[0], 100))


def test_one_line_larger_than_a_file_is_written(tmp_path):
    filled(tmp_path / "log.jsonl", 3, max_mb=0.0001)
    assert labels(tmp_path / "log.jsonl") == [0, 1, 2]


def test_threads_that_share_a_log_lose_nothing(tmp_path):
    path = tmp_path / "log.jsonl"
    with DecisionLog(path, max_mb=0.01, keep=99) as log, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda turn: log.append(DECISION, float(turn), turn), range(300)))
    assert sorted(labels(path)) == list(range(300))


def test_processes_that_share_a_log_lose_nothing(tmp_path):
    path = tmp_path / "log.jsonl"
    limits = {"max_mb": 0.004, "keep": 99}
    with DecisionLog(path, **limits) as one, DecisionLog(path, **limits) as other:
        for turn in range(100):
            (one if turn % 3 else other).append(DECISION, float(turn), turn)
    assert sorted(labels(path)) == list(range(100))


def test_a_folder_that_allows_no_renaming_costs_no_answer(tmp_path, caplog):
    path = tmp_path / "log.jsonl"
    (tmp_path / "log.jsonl.1").mkdir()
    (tmp_path / "log.jsonl.1/in the way").touch()
    with caplog.at_level(logging.WARNING):
        filled(path, 30, max_mb=0.004, keep=1)
    assert len(caplog.records) == 1


@pytest.mark.parametrize("limits", [{"max_mb": 0}, {"max_mb": float("nan")}, {"keep": 0}])
def test_limits_that_make_no_sense_are_refused(tmp_path, limits):
    with pytest.raises(ConfigError, match="expected"):
        DecisionLog(tmp_path / "log.jsonl", **limits)


def test_a_log_that_could_be_written_again_warns_anew(tmp_path, caplog):
    folder = tmp_path / "folder"
    with caplog.at_level(logging.WARNING), DecisionLog(folder / "log.jsonl") as log:
        for _ in range(2):
            folder.touch()
            log.append(DECISION, 0.0, 0)
            folder.unlink()
            log.append(DECISION, 1.0, 0)
            log.close()
            shutil.rmtree(folder)
    assert len(caplog.records) == 2
