"""A log read while it is written: nothing is missed, nothing comes twice."""

from hypothesis import given, settings
from hypothesis import strategies as st

from hybridge.plan.answers import Newest
from hybridge.plan.decision import Decision
from hybridge.plan.follow import LogFollower
from hybridge.plan.log import DecisionLog
from hybridge.plan.plan import Leaf

DECISION = Decision(
    path=(0,),
    leaf=Leaf(combine=Newest(logits="base.logits")),
    source="edge",
    reason="score within threshold",
    score=0.25,
    latency_ms=2.5,
    edge_ms=2.5,
    link_ms=0.0,
    cloud_ms=0.0,
    payload_bytes=0,
    wanted=False,
    asked=False,
    failure=None,
)


def told(follower):
    return [record.label for record in follower.news()]


def test_a_log_that_is_not_there_yet_is_empty(tmp_path):
    follower = LogFollower(tmp_path / "log.jsonl")
    assert told(follower) == []
    with DecisionLog(tmp_path / "log.jsonl") as log:
        log.append(DECISION, 0.0, 7)
    assert told(follower) == [7]
    assert told(follower) == []


@settings(max_examples=40)
@given(
    bursts=st.lists(st.integers(0, 9), max_size=12),
    max_mb=st.sampled_from([None, 0.0005, 0.001, 0.0025]),
)
def test_every_line_comes_once_however_the_log_rotates(tmp_path_factory, bursts, max_mb):
    path = tmp_path_factory.mktemp("follow") / "log.jsonl"
    follower = LogFollower(path)
    found, written = [], 0
    with DecisionLog(path, max_mb, keep=20) as log:
        for burst in bursts:
            for _ in range(burst):
                log.append(DECISION, float(written), written)
                written += 1
            found += told(follower)
    assert found == list(range(written))
    assert follower.unreadable == 0


def test_a_line_is_read_when_it_is_whole(tmp_path):
    path = tmp_path / "log.jsonl"
    with DecisionLog(path) as log:
        log.append(DECISION, 0.0, 1)
    line = path.read_bytes()
    follower = LogFollower(path)
    path.write_bytes(line + line[:50])
    assert told(follower) == [1]
    path.write_bytes(line + line)
    assert told(follower) == [1]


def test_a_log_that_was_begun_anew_is_read_anew(tmp_path):
    path = tmp_path / "log.jsonl"
    with DecisionLog(path) as log:
        log.append(DECISION, 0.0, 1)
        log.append(DECISION, 0.0, 2)
    follower = LogFollower(path)
    assert told(follower) == [1, 2]
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[1])
    assert told(follower) == [2]


def test_of_a_long_log_only_the_end_is_read(tmp_path):
    path = tmp_path / "log.jsonl"
    with DecisionLog(path, max_mb=0.002, keep=20) as log:
        for turn in range(30):
            log.append(DECISION, 0.0, turn)
    size = path.with_name("log.jsonl.1").stat().st_size
    found = told(LogFollower(path, begin_bytes=path.stat().st_size + size))
    assert 2 < len(found) < 12
    assert found == list(range(30))[-len(found) :]


def test_what_is_no_record_is_counted(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('nonsense\n{"time_s": 1}\n')
    follower = LogFollower(path)
    assert (told(follower), follower.unreadable) == ([], 2)


def test_reading_begins_with_a_whole_line(tmp_path):
    path = tmp_path / "log.jsonl"
    with DecisionLog(path) as log:
        for turn in range(10):
            log.append(DECISION, float(turn), turn)
    line_bytes = path.stat().st_size // 10
    for more in (0, 1, line_bytes // 2, line_bytes - 1):
        follower = LogFollower(path, begin_bytes=3 * line_bytes + more)
        assert told(follower) == [7, 8, 9]
        assert follower.unreadable == 0
