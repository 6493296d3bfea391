"""The runtime over a shaped link, and the emulator over the same trace: the same decisions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_world import prices

from hybridge.codecs.codec import codec_named
from hybridge.cost.device import devices
from hybridge.cost.price import price_plan
from hybridge.data.dataset import ArrayDataset
from hybridge.emulate.arrivals import back_to_back
from hybridge.emulate.drive import emulate
from hybridge.emulate.world import World
from hybridge.links.link import Link
from hybridge.links.synth import cellular
from hybridge.links.trace import Trace
from hybridge.plan.bundle import Bundle
from hybridge.plan.log import DecisionLog, read_log
from hybridge.plan.variants import with_threshold
from hybridge.runtime.clock import ManualClock
from hybridge.runtime.edge import edge
from hybridge.runtime.edge.shaped import Shaped
from hybridge.runtime.rehearse import rehearse
from hybridge.runtime.sessions import ProgramSession
from hybridge.runtime.wire.message import LateError, Reply
from tiny_plans import images, pair_plan
from tiny_trees import tree_plan

COUNT = 12


class Slow:
    """A session that takes its time by a clock that is moved by hand."""

    def __init__(self, session, clock, takes_ms):
        self.session, self.clock, self.takes_ms = session, clock, takes_ms
        self.program = session.program

    def run(self, inputs):
        self.clock.sleep_ms(self.takes_ms)
        return self.session.run(inputs)


class Cloud:
    """A cloud in this process that takes its time, or what is left of the caller's."""

    def __init__(self, plan, clock, takes_ms):
        self.clock, self.takes_ms = clock, takes_ms
        self.sessions = {
            program.name: ProgramSession(program) for program in plan.programs_at("cloud")
        }

    def send(self, message, timeout_ms=None):
        takes_ms = self.takes_ms[message.program]
        if takes_ms > timeout_ms:
            self.clock.sleep_ms(timeout_ms)
            raise LateError("too late")
        self.clock.sleep_ms(takes_ms)
        inputs = {
            name: codec_named(encoded.codec).decode(encoded, 10**6)
            for name, encoded in message.tensors.items()
        }
        return Reply(self.sessions[message.program].run(inputs), takes_ms)

    def close(self):
        pass


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """A plan, its rehearsal, and a file for the logs."""
    folder = tmp_path_factory.mktemp("parity")
    plan = pair_plan(folder, codec="webp", fused=True)
    data = ArrayDataset(images(COUNT), np.arange(COUNT) % 3)
    return plan, rehearse(plan, data), folder / "log.jsonl"


def logged(path, play):
    """Return what a log holds after ``play`` has written to it."""
    path.unlink(missing_ok=True)
    with DecisionLog(path) as log:
        play(log)
    return list(read_log(path))


def shaped(plan, world, clock):
    """Return a shaped link to a cloud in this process."""
    cloud = Cloud(plan, clock, world.prices.cloud_ms)
    return Shaped(
        cloud,
        world.trace,
        world.link.rtt_ms,
        clock=clock,
        timeout_ms=world.timeout_ms,
        sense_window_s=world.sense_window_s,
    )


def execute(plan, world, log):
    """Run the plan on the edge, whose base takes its time, over a shaped link."""
    clock, session = ManualClock(), edge.ProgramSession
    edge_ms = world.prices.edge_ms["base"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(edge, "ProgramSession", lambda *given: Slow(session(*given), clock, edge_ms))
        link = shaped(plan, world, clock)
        runtime = edge.EdgeRuntime(Bundle(plan), link, log=log, clock=clock)
    clock._now_ms = 0.0  # warming up took its time, too
    answer_all(runtime, world)


def execute_at_pace(plan, world, log):
    """Run the plan at the pace of the world's device, over a shaped link."""
    clock = ManualClock()
    link = shaped(plan, world, clock)
    device = world.prices.device
    answer_all(edge.EdgeRuntime(Bundle(plan), link, log=log, clock=clock, pace=device), world)


def answer_all(runtime, world):
    with runtime:
        for pixels in np.concatenate([images(COUNT)] * 2):
            runtime.predict(pixels, world.deadline_ms)


@st.composite
def traces(draw):
    if draw(st.booleans()):
        return cellular(draw(st.integers(0, 99)), 10, mean_mbps=draw(st.floats(0.01, 1)))
    lengths_s = draw(st.lists(st.floats(0.01, 0.5), min_size=1, max_size=9))
    rates = st.sampled_from([0.0, 3e3, 1e4, 7e5])
    starts_s = np.concatenate(([0], np.cumsum(lengths_s)))
    return Trace(
        starts_s[:-1].tolist(),
        [draw(rates) for _ in lengths_s],
        float(starts_s[-1]),
    )


# No limit that a time could meet exactly: there, the last bit of a sum decides.
limits_ms = st.integers(0, 400).map(lambda whole: whole + 1 / math.pi)


@given(
    trace=traces(),
    quantile=st.floats(0, 1),
    deadline_ms=st.none() | limits_ms,
    timeout_ms=limits_ms,
    rtt_ms=st.sampled_from([0.0, 42.0]),
    edge_ms=st.sampled_from([0.0, 1.7]),
    cloud_ms=st.sampled_from([0.0, 3.3]),
)
def test_emulated_is_executed(
    played, trace, quantile, deadline_ms, timeout_ms, rtt_ms, edge_ms, cloud_ms
):
    plan, rehearsal, path = played
    plan = with_threshold(plan, float(np.quantile(rehearsal.score[()], quantile)))
    world = World(prices(edge_ms, cloud_ms), trace, Link(1e6, rtt_ms), deadline_ms, timeout_ms)
    assert_the_same(plan, rehearsal, path, world, execute)


def assert_the_same(plan, rehearsal, path, world, execute):
    """Play two rounds of all inputs in both worlds; return the records of the real one."""
    executed = logged(path, lambda log: execute(plan, world, log))
    done = []
    emulated = logged(
        path,
        lambda log: done.append(emulate(plan, rehearsal, world, back_to_back(2 * COUNT), log)),
    )
    assert len(emulated) == len(executed) == 2 * COUNT
    for one, other in zip(emulated, executed, strict=True):
        assert (one.label, one.edge_label) == (other.label, other.edge_label)
        for name in ("path", "leaf", "source", "score", "payload_bytes", "wanted", "asked"):
            assert getattr(one.decision, name) == getattr(other.decision, name), name
        assert (one.decision.failure is None) == (other.decision.failure is None)
        for name in ("latency_ms", "edge_ms", "link_ms", "cloud_ms"):
            mine, theirs = getattr(one.decision, name), getattr(other.decision, name)
            assert mine == pytest.approx(theirs, abs=1e-6), name
    truth = np.tile(rehearsal.truth, 2)
    assert done[0].right.tolist() == [
        record.label == label for record, label in zip(executed, truth, strict=True)
    ]
    return executed


#: No mean of the traces' rates over a window.
BORDER_BPS = 6000 / math.pi * 3


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """A tree that forks by bandwidth, its rehearsal, and a file for the logs."""
    folder = tmp_path_factory.mktemp("grown")
    plan = tree_plan(folder, BORDER_BPS)
    data = ArrayDataset(images(COUNT), np.arange(COUNT) % 3)
    return plan, rehearse(plan, data), folder / "log.jsonl"


@given(
    trace=traces(),
    deadline_ms=st.none() | limits_ms,
    timeout_ms=limits_ms,
    rtt_ms=st.sampled_from([0.0, 42.0]),
    sense_window_s=st.sampled_from([0.05, 1.0]),
)
def test_an_emulated_tree_is_an_executed_one(
    grown, trace, deadline_ms, timeout_ms, rtt_ms, sense_window_s
):
    plan, rehearsal, path = grown
    found = price_plan(plan, devices.get("xiaomi-mi6x"), devices.get("v100"))
    link = Link(1e6, rtt_ms)
    world = World(found, trace, link, deadline_ms, timeout_ms, sense_window_s)
    assert_the_same(plan, rehearsal, path, world, execute_at_pace)


def restless(seed):
    """A trace that changes while the device computes, and while a message is on its way."""
    rng = np.random.default_rng(seed)
    starts_s = np.concatenate(([0], np.cumsum(rng.choice([0.003, 0.02, 0.1], 199))))
    return Trace(starts_s.tolist(), rng.choice([0.0, 5e4], 200).tolist(), float(starts_s[-1]) + 1)


def test_both_worlds_take_every_branch_of_a_tree(grown):
    plan, rehearsal, path = grown
    found = price_plan(plan, devices.get("xiaomi-mi6x"), devices.get("v100"))
    # Good just when the third fork of the first request looks at it.
    glimpse = Trace([0, 0.002, 0.004], [0.0, 5e4, 0.0], 2.0)
    leaves = set()
    for trace in (glimpse, *map(restless, range(12))):
        world = World(found, trace, Link(1e6, 5.0), timeout_ms=60.5, sense_window_s=0.01)
        executed = assert_the_same(plan, rehearsal, path, world, execute_at_pace)
        leaves |= {record.decision.path for record in executed}
    assert leaves == {leaf for leaf, _ in plan.leaves()}
