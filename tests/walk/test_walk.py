from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridge.errors import PlanError, TransportError
from hybridge.plan.answers import Newest
from hybridge.plan.choosers import ScoreThreshold
from hybridge.plan.plan import Fork, Leaf, Plan, Step
from hybridge.plan.program import Program
from hybridge.plan.tensors import TensorSpec
from hybridge.plan.variants import cloud_only
from hybridge.walk.events import Ask, Failed, Ran, Run, Told
from hybridge.walk.observer import Observer
from hybridge.walk.walk import walk
from plan_strategies import plans
from tiny_trees import BORDER_BPS, tree_plan

X = TensorSpec(name="x", dtype="float32", shape=(4,))
OUTPUTS = (
    TensorSpec(name="logits", dtype="float32", shape=(3,)),
    TensorSpec(name="score", dtype="float32", shape=()),
)
SEND, KEEP = 1.0, -1.0


def a_program(name):
    return Program(name=name, sha256="0" * 64, size_bytes=1, inputs=(X,), outputs=OUTPUTS)


def pair():
    ask = Step(
        program="global",
        place="cloud",
        feeds={"x": "x"},
        then=Leaf(combine=Newest(logits="global.logits")),
    )
    fork = Fork(
        chooser=ScoreThreshold(),
        children=(Leaf(combine=Newest(logits="base.logits")), ask),
        home=0,
    )
    root = Step(program="base", place="edge", feeds={"x": "x"}, then=fork)
    return Plan(input=X, programs={n: a_program(n) for n in ("base", "global")}, root=root)


def drive(course, *events):
    """Feed ``events`` to a walk; return what it asked for, and its decision."""
    requests = [next(course)]
    for event in events:
        try:
            requests.append(course.send(event))
        except StopIteration as end:
            return requests, end.value
    raise AssertionError(f"the walk goes on with {requests[-1]}")


def test_an_input_that_is_kept_is_answered_on_the_edge():
    requests, decision = drive(walk(pair(), now_ms=100.0), Ran(103.0, score=KEEP))
    assert [type(request) for request in requests] == [Run]
    assert (decision.path, decision.source, decision.asked) == ((0,), "edge", False)
    assert not decision.wanted
    assert decision.reason == "score within threshold"
    assert (decision.latency_ms, decision.edge_ms, decision.link_ms) == (3.0, 3.0, 0.0)
    assert decision.score == KEEP


def test_an_input_that_is_sent_is_answered_by_the_cloud():
    requests, decision = drive(
        walk(pair(), now_ms=100.0),
        Ran(103.0, score=SEND),
        Told(113.0, payload_bytes=48, cloud_ms=4.0),
    )
    assert requests[1] == Ask(pair().root.then.children[1], (1,), None, "raw")
    assert (decision.path, decision.source, decision.asked) == ((1,), "cloud", True)
    assert decision.reason == "score above threshold"
    assert decision.failure is None
    assert decision.payload_bytes == 48
    assert (decision.latency_ms, decision.edge_ms) == (13.0, 3.0)
    assert (decision.link_ms, decision.cloud_ms) == (6.0, 4.0)


def test_a_cloud_that_fails_leaves_the_edge_s_answer_marked():
    _, decision = drive(
        walk(pair(), now_ms=0.0), Ran(3.0, score=SEND), Failed(8.0, 48, "connection refused")
    )
    assert (decision.path, decision.source, decision.asked) == ((0,), "edge", True)
    assert decision.failure == "connection refused"
    assert decision.reason == "fell back: connection refused"
    assert (decision.payload_bytes, decision.link_ms, decision.latency_ms) == (48, 5.0, 8.0)


def test_the_cloud_is_given_what_is_left_of_the_deadline():
    requests, _ = drive(
        walk(pair(), now_ms=50.0, deadline_ms=20.0), Ran(63.0, score=SEND), Told(64.0, 1, 0.0)
    )
    assert requests[1].left_ms == 7.0


def test_a_home_that_forks_does_not_hide_the_failure():
    plan = pair()
    kept, ask = plan.root.then.children
    home = Fork(chooser=ScoreThreshold(), children=(kept, kept))
    fork = plan.root.then.model_copy(update={"children": (home, ask)})
    root = plan.root.model_copy(update={"then": fork})
    nested = Plan(input=X, programs=plan.programs, root=root)
    _, decision = drive(walk(nested, 0.0), Ran(1.0, score=SEND), Failed(2.0, 0, "down"))
    assert (decision.path, decision.reason) == ((0, 1), "fell back: down")


def test_what_never_left_was_wanted_and_not_asked():
    failed = Failed(8.0, 0, "no connection", asked=False)
    _, decision = drive(walk(pair(), now_ms=0.0), Ran(3.0, score=SEND), failed)
    assert (decision.wanted, decision.asked, decision.failure) == (True, False, "no connection")


def test_the_cloud_cannot_claim_less_time_than_none():
    _, decision = drive(walk(pair(), 0.0), Ran(1.0, score=SEND), Told(3.0, 1, cloud_ms=-99.0))
    assert (decision.link_ms, decision.cloud_ms) == (2.0, 0.0)


@pytest.mark.parametrize("ended_ms", [20.0, 25.0])
def test_with_nothing_left_the_cloud_is_not_asked(ended_ms):
    requests, decision = drive(walk(pair(), 0.0, deadline_ms=20.0), Ran(ended_ms, score=SEND))
    assert len(requests) == 1
    assert (decision.wanted, decision.asked) == (True, False)
    assert decision.failure == "no time left"


def test_the_cloud_cannot_claim_more_time_than_went_by():
    _, decision = drive(walk(pair(), 0.0), Ran(1.0, score=SEND), Told(3.0, 1, cloud_ms=99.0))
    assert (decision.link_ms, decision.cloud_ms) == (0.0, 2.0)


def test_without_a_home_a_failure_is_raised():
    with pytest.raises(TransportError, match="hung up; the plan has no answer"):
        drive(walk(cloud_only(pair()), 0.0), Failed(5.0, 0, "hung up"))


def test_a_missing_score_is_a_plan_error():
    with pytest.raises(PlanError, match="score"):
        drive(walk(pair(), 0.0), Ran(1.0))


def test_events_must_answer_requests():
    with pytest.raises(TypeError, match="expected Ran"):
        drive(walk(pair(), 0.0), Told(1.0, 0, 0.0))
    with pytest.raises(TypeError, match="expected Told or Failed"):
        drive(walk(pair(), 0.0), Ran(1.0, score=SEND), Ran(1.0))


def play(data, plan, deadline_ms=None, cloud_fails=None):
    """Drive a walk through a random world; return everything that happened."""
    now_ms, seen = 0.0, []
    course = walk(plan, now_ms, deadline_ms)
    try:
        request = next(course)
        while True:
            now_ms += data.draw(st.floats(0, 50))
            score = data.draw(st.floats(allow_nan=False))
            fails = data.draw(st.booleans()) if cloud_fails is None else cloud_fails
            if isinstance(request, Run):
                event = Ran(now_ms, score)
            elif fails:
                event = Failed(now_ms, data.draw(st.integers(0, 99)), "down")
            else:
                event = Told(
                    now_ms, data.draw(st.integers(0, 99)), data.draw(st.floats(0, 9)), score
                )
            seen.append((request, event))
            request = course.send(event)
    except StopIteration as end:
        return end.value, seen


deadlines = st.none() | st.floats(0, 100)


@given(data=st.data(), plan=plans(), deadline_ms=deadlines)
def test_every_sheltered_walk_ends_at_a_leaf_of_the_plan(data, plan, deadline_ms):
    decision, seen = play(data, plan, deadline_ms)
    leaves = {placed.path: placed.node for placed in plan.nodes() if placed.node.kind == "leaf"}
    assert leaves[decision.path] == decision.leaf
    assert decision.asked == any(isinstance(request, Ask) for request, _ in seen)
    assert sum(isinstance(event, Failed) for _, event in seen) <= 1


@given(data=st.data(), plan=plans(), deadline_ms=deadlines)
def test_what_a_walk_ran_is_all_that_its_leaf_needs(data, plan, deadline_ms):
    decision, seen = play(data, plan, deadline_ms)
    done = {request.step.program for request, event in seen if not isinstance(event, Failed)}
    assert {name.split(".")[0] for name in decision.leaf.combine.needs} <= done
    for request, _ in seen:
        assert {value.split(".")[0] for value in request.step.feeds.values()} <= {"x", *done}


@given(data=st.data(), plan=plans(), deadline_ms=deadlines)
def test_a_failing_cloud_always_leaves_an_edge_answer(data, plan, deadline_ms):
    decision, _ = play(data, plan, deadline_ms, cloud_fails=True)
    assert decision.source == "edge"
    if decision.asked:
        assert decision.leaf.combine.kind != "abstain"
        assert decision.failure == "down"
        assert "down" in decision.reason


@given(data=st.data(), plan=plans(), deadline_ms=deadlines)
def test_nothing_is_lost_in_the_accounts(data, plan, deadline_ms):
    decision, seen = play(data, plan, deadline_ms)
    parts = decision.edge_ms + decision.link_ms + decision.cloud_ms
    assert parts == pytest.approx(decision.latency_ms)
    sent = [event.payload_bytes for _, event in seen if not isinstance(event, Ran)]
    assert decision.payload_bytes == sum(sent)
    assert decision.latency_ms == (seen[-1][1].now_ms if seen else 0.0)


@given(data=st.data(), plan=plans(), deadline_ms=st.floats(0, 100))
def test_the_cloud_is_never_asked_without_time_left(data, plan, deadline_ms):
    _, seen = play(data, plan, deadline_ms)
    asks = [request for request, _ in seen if isinstance(request, Ask)]
    assert all(0 < ask.left_ms <= deadline_ms for ask in asks)


@given(data=st.data(), plan=plans(may_not_answer=True))
def test_a_plan_that_may_not_answer_ends_or_raises(data, plan):
    with suppress(TransportError):
        decision, _ = play(data, plan)
        assert decision.path in {placed.path for placed in plan.nodes()}


class Link:
    """A bandwidth at each moment; remembers when it was looked at."""

    def __init__(self, *bandwidth_bps):
        self.left, self.asked_ms = list(bandwidth_bps), []

    def bandwidth_bps(self, now_ms):
        self.asked_ms.append(now_ms)
        return self.left.pop(0)


POOR, GOOD = BORDER_BPS / 2, BORDER_BPS * 2


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return tree_plan(tmp_path_factory.mktemp("tree"))


def test_the_link_is_looked_at_anew_before_every_fork(tree):
    link = Link(POOR, POOR, GOOD)
    requests, decision = drive(
        walk(tree, 100.0, observer=Observer(bandwidth=link)),
        Ran(110.0),
        Ran(125.0),
        Told(150.0, 22, 3.0),
    )
    assert [request.step.program for request in requests] == ["slim1", "slim2", "rest3"]
    assert link.asked_ms == [100.0, 110.0, 125.0]
    assert (decision.path, decision.source) == ((0, 0, 1), "cloud")
    assert decision.reason == "bandwidth ≥ 0.006 Mbit/s"


def test_a_link_of_which_nothing_is_known_is_taken_as_poor(tree):
    for course in (
        walk(tree, 0.0),
        walk(tree, 0.0, observer=Observer(bandwidth=Link(None, None, None))),
    ):
        _, decision = drive(course, Ran(1.0), Ran(2.0), Ran(3.0))
        assert decision.path == (0, 0, 0)
        assert "unknown" in decision.reason


@pytest.mark.parametrize(
    ("seen", "ran", "leaf", "home"),
    [
        ((GOOD,), (), (2,), ["block1", "block2", "block3"]),
        ((POOR, GOOD), ("slim1", "front2"), (0, 2), ["block2", "block3"]),
        ((POOR, POOR, GOOD), ("slim1", "slim2"), (0, 0, 2), ["block3"]),
    ],
)
def test_where_the_cloud_fails_the_nearest_fork_s_home_goes_on(tree, seen, ran, leaf, home):
    link = Link(*seen)
    events = [Ran(1.0 + index) for index in range(len(ran))]
    events += [Failed(10.0, 22, "down"), *(Ran(11.0 + index) for index in range(len(home)))]
    requests, decision = drive(walk(tree, 0.0, observer=Observer(bandwidth=link)), *events)
    assert [request.step.program for request in requests[-len(home) :]] == home
    assert (decision.path, decision.source) == (leaf, "edge")
    assert decision.reason == "fell back: down"
    assert not link.left


def test_edge_work_after_the_cloud_is_taken_off_what_the_cloud_may_take():
    last = Step(
        program="last",
        place="edge",
        feeds={"x": "global.logits"},
        then=Leaf(combine=Newest(logits="last.logits")),
    )
    observer = Observer()
    observer.ran("last", 50.0)
    kept, ask = pair().root.then.children
    ask = ask.model_copy(update={"then": last})
    fork = pair().root.then.model_copy(update={"children": (kept, ask)})
    root = pair().root.model_copy(update={"then": fork})
    wide = TensorSpec(name="x", dtype="float32", shape=(3,))
    programs = pair().programs | {"last": a_program("last").model_copy(update={"inputs": (wide,)})}
    plan = Plan(input=X, programs=programs, root=root)
    course = walk(plan, 0.0, deadline_ms=100.0, observer=observer)
    next(course)
    asked = course.send(Ran(10.0, score=SEND))
    assert 34 < asked.left_ms <= 40
    course = walk(plan, 0.0, deadline_ms=60.0, observer=observer)
    _, decision = drive(course, Ran(10.0, score=SEND))
    assert decision.failure == "no time left"
