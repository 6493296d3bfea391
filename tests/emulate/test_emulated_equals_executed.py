"""The runtime over a shaped link, and the emulator over the same trace: the same decisions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_world import prices

from hybridge.codecs.codec import codec_named
from hybridge.data.dataset import ArrayDataset
from hybridge.emulate.arrivals import back_to_back
from hybridge.emulate.drive import emulate
from hybridge.emulate.world import World
from hybridge.errors import TransportError
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
from hybridge.runtime.wire.message import Reply
from tiny_plans import images, pair_plan

COUNT = 12


class Slow:
    """A session that takes its time by a clock that is moved by hand."""

    def __init__(self, session, clock, takes_ms):
        self.session, self.clock, self.takes_ms = session, clock, takes_ms

    def run(self, inputs):
        self.clock.sleep_ms(self.takes_ms)
        return self.session.run(inputs)


class Cloud:
    """A cloud in this process that takes its time, or what is left of the caller's."""

    def __init__(self, program, clock, takes_ms):
        self.session, self.clock, self.takes_ms = ProgramSession(program), clock, takes_ms

    def send(self, message, timeout_ms=None):
        if self.takes_ms > timeout_ms:
            self.clock.sleep_ms(timeout_ms)
            raise TransportError("too late")
        self.clock.sleep_ms(self.takes_ms)
        inputs = {
            name: codec_named(encoded.codec).decode(encoded, 10**6)
            for name, encoded in message.tensors.items()
        }
        return Reply(self.session.run(inputs), self.takes_ms)

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


def execute(plan, world, log):
    """Run the plan on the edge, over a shaped link to a cloud in this process."""
    clock, session = ManualClock(), edge.ProgramSession
    cloud_ms, edge_ms = world.prices.cloud_ms["global"], world.prices.edge_ms["base"]
    cloud = Cloud(plan.programs["global"], clock, cloud_ms)
    link = Shaped(cloud, world.trace, world.link.rtt_ms, clock=clock, timeout_ms=world.timeout_ms)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(edge, "ProgramSession", lambda *given: Slow(session(*given), clock, edge_ms))
        runtime = edge.EdgeRuntime(Bundle(plan), link, log=log, clock=clock)
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
    executed = logged(path, lambda log: execute(plan, world, log))
    done = []
    emulated = logged(
        path,
        lambda log: done.append(emulate(plan, rehearsal, world, back_to_back(2 * COUNT), log)),
    )
    assert len(emulated) == len(executed) == 2 * COUNT
    for one, other in zip(emulated, executed, strict=True):
        assert one.label == other.label
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
