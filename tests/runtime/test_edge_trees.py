"""The edge runtime on a tree that forks by bandwidth, and at another device's pace."""

import threading
import time

import numpy as np
import pytest

from hybridge.codecs.codec import codec_named, decode
from hybridge.cost.device import Device, Speed, assumption, devices
from hybridge.cost.price import compute_ms
from hybridge.errors import ConfigError, TransportError
from hybridge.links.trace import Trace
from hybridge.plan.answers import softmax
from hybridge.plan.bundle import Bundle
from hybridge.runtime.clock import ManualClock
from hybridge.runtime.edge.edge import EdgeRuntime
from hybridge.runtime.edge.mock import MockTransport
from hybridge.runtime.edge.shaped import Shaped
from hybridge.runtime.sessions import ProgramSession
from hybridge.runtime.wire.message import LateError, Reply
from hybridge.walk.threshold import WorthIt
from tiny_plans import images, pair_plan, pair_rehearsal
from tiny_trees import BORDER_BPS, tree_plan

POOR, GOOD = BORDER_BPS / 2, BORDER_BPS * 2
IMAGE = images(1)[0]
PHONE = devices.get("xiaomi-mi6x")


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return tree_plan(tmp_path_factory.mktemp("tree"))


@pytest.fixture(scope="module")
def sessions(plan):
    return {name: ProgramSession(program) for name, program in plan.programs.items()}


@pytest.fixture
def cloud(sessions):
    """A cloud that runs the plan's own programs."""

    def reply(message):
        tensors = {name: decode(item, 10**6) for name, item in message.tensors.items()}
        return Reply(sessions[message.program].run(tensors), cloud_ms=0.0)

    return MockTransport(reply)


class Link:
    """A bandwidth at each moment that it is looked at."""

    def __init__(self, *bandwidth_bps):
        self.left = list(bandwidth_bps)

    def bandwidth_bps(self, now_ms):
        return self.left.pop(0)


def test_each_branch_says_what_its_programs_say(plan, sessions, cloud):
    def features(name, array):
        reads = "pixels" if array.dtype == np.uint8 else "given"
        return sessions[name].run({reads: array})["features"]

    def sent(array):
        codec = codec_named("int8-zstd")
        return codec.decode(codec.encode(array), 10**6)

    slim1 = features("slim1", IMAGE[None])
    slim2 = features("slim2", slim1)
    expected = {
        (POOR, POOR, POOR): ("slim3", {"given": slim2}),
        (POOR, POOR, GOOD): ("rest3", {"given": sent(slim2)}),
        (POOR, GOOD): ("rest2", {"given": sent(features("front2", slim1))}),
        (GOOD,): ("whole", {"pixels": IMAGE[None]}),
    }
    for seen, (program, inputs) in expected.items():
        link = Link(*seen)
        with EdgeRuntime(Bundle(plan), cloud, bandwidth=link) as runtime:
            answer = runtime.predict(IMAGE)
        cloud._closed = False
        logits = sessions[program].run(inputs)["logits"]
        np.testing.assert_allclose(answer.probabilities, softmax(logits)[0], rtol=1e-6)
        assert answer.source == ("edge" if program == "slim3" else "cloud")
        assert not link.left


def test_a_cloud_that_fails_leaves_the_home_s_answer(plan, sessions):
    cloud = MockTransport(fail=TransportError("down"))
    answer = EdgeRuntime(Bundle(plan), cloud, bandwidth=Link(POOR, GOOD)).predict(IMAGE)
    values = sessions["slim1"].run({"pixels": IMAGE[None]})
    for name in ("block2", "block3"):
        values = sessions[name].run({"given": values["features"]})
    np.testing.assert_array_equal(answer.probabilities, softmax(values["logits"])[0])
    assert (answer.source, answer.reason) == ("edge", "fell back: down")


def test_a_shaped_link_tells_its_own_bandwidth(plan, cloud):
    clock = ManualClock(5000.0)
    link = Shaped(cloud, Trace([0, 2], [POOR, GOOD], 100.0), clock=clock)
    with EdgeRuntime(Bundle(plan), link, clock=clock) as runtime:
        assert "unknown" in runtime.predict(IMAGE).reason
        clock.sleep_ms(1000)
        assert runtime.predict(IMAGE).reason == "bandwidth < 0.006 Mbit/s"
        clock.sleep_ms(2000)
        assert runtime.predict(IMAGE).source == "cloud"


def test_what_is_given_counts_more_than_what_the_link_says(plan, cloud):
    link = Shaped(cloud, Trace.constant(GOOD), clock=ManualClock())
    answer = EdgeRuntime(Bundle(plan), link, bandwidth=Link(POOR, POOR, POOR)).predict(IMAGE)
    assert answer.source == "edge"


def test_a_shaped_link_s_window_is_a_length(cloud):
    with pytest.raises(ConfigError, match="window of more than 0 seconds"):
        Shaped(cloud, Trace.constant(GOOD), sense_window_s=0)


def poor_sends(folder):
    """The tree turned round: the image is sent where the link is poor, or not known."""
    plan = tree_plan(folder)
    poor, good, home = plan.root.children
    return plan.model_copy(
        update={"root": plan.root.model_copy(update={"children": (good, poor, home)})}
    )


def test_otherwise_the_bandwidth_is_what_messages_had(tmp_path, cloud):
    clock, takes_ms = ManualClock(), 100.0

    def reply(message, answer=cloud.reply):
        clock.sleep_ms(takes_ms)
        return answer(message)

    cloud.reply = reply
    with EdgeRuntime(Bundle(poor_sends(tmp_path)), cloud, clock=clock) as runtime:
        assert runtime.predict(IMAGE).source == "cloud"  # nothing is known yet
        # 137 bytes in 100 ms, or in half of that beyond the round trip: good.
        assert runtime.predict(IMAGE).reason == "bandwidth ≥ 0.006 Mbit/s"


def test_a_message_that_is_too_late_makes_the_link_poor(tmp_path, cloud):
    clock = ManualClock()

    def late(message):
        clock.sleep_ms(500)
        raise TransportError("too late")

    cloud.reply = late
    with EdgeRuntime(Bundle(poor_sends(tmp_path)), cloud, clock=clock, timeout_ms=500) as runtime:
        for _ in range(3):
            answer = runtime.predict(IMAGE)
            assert answer.failure == "too late"  # 137 bytes in half a second: still poor
    # A refusal at once says nothing of the bandwidth.
    cloud.reply, cloud.fail, cloud._closed = None, TransportError("no"), False
    with EdgeRuntime(Bundle(poor_sends(tmp_path)), cloud, clock=clock, timeout_ms=500) as runtime:
        assert [runtime.predict(IMAGE).failure for _ in range(2)] == ["no", "no"]


def test_a_tree_over_a_transport_that_knows_no_bandwidth_finds_a_good_cloud(plan, sessions):
    """At first, and again after an outage: a message in 1 ms, well above the border."""
    clock = ManualClock()

    def reply(message):
        clock.sleep_ms(1.0)
        tensors = {name: decode(item, 10**6) for name, item in message.tensors.items()}
        return Reply(sessions[message.program].run(tensors), cloud_ms=0.0)

    def outage(message):
        clock.sleep_ms(500.0)
        raise LateError("nothing")

    cloud = MockTransport(reply)
    with EdgeRuntime(Bundle(plan), cloud, clock=clock) as runtime:

        def play(seconds):
            sources = []
            for _ in range(seconds):
                sources.append(runtime.predict(IMAGE, deadline_ms=1000).source)
                clock.sleep_ms(1000.0)
            return sources

        assert play(5) == ["cloud"] * 5
        cloud.reply = outage
        assert set(play(20)) == {"edge"}
        cloud.reply = reply
        sources = play(10)
        assert sources[3:] == ["cloud"] * 7


def test_a_tree_without_a_cloud_tries_none(plan):
    with EdgeRuntime(Bundle(plan)) as runtime:
        answer = runtime.predict(IMAGE)
    assert (answer.wanted, answer.failure) == (False, None)


def test_programs_keep_the_pace_of_the_device_stood_in_for(plan, cloud):
    clock = ManualClock()
    link = Link(POOR, GOOD)
    with EdgeRuntime(Bundle(plan), cloud, clock=clock, bandwidth=link, pace=PHONE) as runtime:
        answer = runtime.predict(IMAGE)
    expected_ms = sum(compute_ms(plan.programs[name].layers, PHONE) for name in ("slim1", "front2"))
    assert answer.edge_ms == pytest.approx(expected_ms)
    assert answer.latency_ms == pytest.approx(expected_ms)


def test_no_pace_is_faster_than_this_machine(plan):
    server = devices.get("v100")
    with EdgeRuntime(Bundle(plan), pace=server) as runtime:
        answer = runtime.predict(IMAGE)
    assert answer.edge_ms > 0


def test_real_time_is_kept_at_a_pace(plan):
    # 24 million multiply-accumulates: 7 ms.
    began = time.perf_counter()
    with EdgeRuntime(Bundle(plan), pace=PHONE) as runtime:
        answer = runtime.predict(IMAGE)
    expected_ms = sum(
        compute_ms(plan.programs[name].layers, PHONE) for name in ("slim1", "slim2", "slim3")
    )
    assert expected_ms <= answer.edge_ms <= (time.perf_counter() - began) * 1e3


def test_a_device_that_is_stood_in_for_runs_one_program_at_a_time(plan):
    with EdgeRuntime(Bundle(plan), pace=PHONE) as runtime:
        began = time.perf_counter()
        threads = [threading.Thread(target=runtime.predict, args=(IMAGE,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    one_ms = sum(
        compute_ms(plan.programs[name].layers, PHONE) for name in ("slim1", "slim2", "slim3")
    )
    assert (time.perf_counter() - began) * 1e3 >= 3 * one_ms


def test_a_pace_that_is_not_known_is_refused_at_once(plan):
    speed = Speed(kind="linear", layer_us=assumption(1, "a guess"))
    deaf = Device(name="deaf", speeds=(speed,), overhead_ms=assumption(0, "none"))
    with pytest.raises(ConfigError, match="deaf"):
        EdgeRuntime(Bundle(plan), pace=deaf)


def test_energy_is_weighed_for_a_device_that_is_not_stood_in_for(tmp_path):
    plan = pair_plan(tmp_path)
    bundle = Bundle(plan, pair_rehearsal(plan, np.arange(100.0)))
    knows = next(each for each in map(devices.get, devices.names()) if each.power is not None)
    policy = WorthIt(mj_per_point=5.0)
    with pytest.raises(ConfigError, match="device whose power is known, got none"):
        EdgeRuntime(bundle, policy=policy)
    for named in ({"device": knows}, {"pace": knows}):
        with EdgeRuntime(bundle, policy=policy, **named) as runtime:
            assert runtime.predict(IMAGE).label is not None
