import numpy as np
import pytest

from hybridge.codecs.codec import codec_named
from hybridge.errors import ConfigError, RefusedError, TransportError
from hybridge.links.faults import Fault, FaultSchedule
from hybridge.links.synth import cellular
from hybridge.links.trace import Trace
from hybridge.runtime.clock import ManualClock, SystemClock
from hybridge.runtime.edge.mock import MockTransport
from hybridge.runtime.edge.shaped import Shaped
from hybridge.runtime.wire.message import Message, Reply, UnsentError


def message(payload_bytes):
    array = np.zeros((1, payload_bytes), np.uint8)
    return Message("p", "a" * 64, {"x": codec_named("raw").encode(array)})


def shaped(trace, rtt_ms=0.0, faults=(), cloud=None, **options):
    clock = ManualClock(1000)
    schedule = FaultSchedule(faults, seed=0) if faults else None
    return Shaped(cloud or MockTransport(), trace, rtt_ms, schedule, clock, **options), clock


def test_takes_size_over_bandwidth_and_the_round_trip():
    link, clock = shaped(Trace.constant(1e6), rtt_ms=40)
    link.send(message(12_500))
    assert clock.now_ms() == pytest.approx(1140)


def test_follows_the_trace_from_when_it_was_made():
    link, clock = shaped(Trace([0, 1], [1e6, 2e6], 100))
    clock.sleep_ms(2000)
    link.send(message(12_500))
    assert clock.now_ms() == pytest.approx(3050)


@pytest.mark.parametrize("options", [{"timeout_ms": 200}, {}])
def test_gives_up_at_the_limit_to_the_millisecond(options):
    cloud = MockTransport()
    link, clock = shaped(Trace.constant(1e6), cloud=cloud, timeout_ms=200)
    with pytest.raises(TransportError, match="200 ms"):
        link.send(message(1_000_000), **options)
    assert clock.now_ms() == 1200
    assert cloud.messages == []


def test_a_given_up_message_leaves_the_link_to_the_next():
    link, clock = shaped(Trace.constant(1e6))
    with pytest.raises(TransportError):
        link.send(message(1_000_000), timeout_ms=50)
    link.send(message(12_500))
    assert clock.now_ms() == pytest.approx(1150)


def test_round_trip_alone_may_be_too_long():
    link, clock = shaped(Trace.constant(1e9), rtt_ms=100)
    with pytest.raises(TransportError):
        link.send(message(1), timeout_ms=99)
    assert clock.now_ms() == 1099


def test_the_transport_beneath_gets_what_is_left_of_the_time():
    class Noting(MockTransport):
        def send(self, message, timeout_ms=None):
            self.timeout_ms = timeout_ms
            return super().send(message, timeout_ms)

    cloud = Noting()
    link, _ = shaped(Trace.constant(1e6), rtt_ms=20, cloud=cloud)
    link.send(message(12_500), timeout_ms=500)
    assert cloud.timeout_ms == pytest.approx(380)


@pytest.mark.parametrize("options", [{"rtt_ms": np.nan}, {"rtt_ms": -1}, {"timeout_ms": np.nan}])
def test_times_that_are_none_are_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        shaped(Trace.constant(1e6), **options)


def test_only_a_refused_connection_leaves_everything_unsent():
    for kind, unsent in (("refuse", True), ("reset", False), ("drop", False)):
        link, _ = shaped(Trace.constant(1e6), faults=[Fault(kind)])
        with pytest.raises(TransportError) as caught:
            link.send(message(10))
        assert isinstance(caught.value, UnsentError) == unsent


@pytest.mark.parametrize(
    ("fault", "fails_ms", "match"),
    [
        (Fault("refuse"), 40, "refused the connection"),
        (Fault("reset"), 140, "reset"),
        (Fault("drop"), 300, "300 ms"),
        (Fault("delay", delay_ms=500), 300, "300 ms"),
    ],
)
def test_faults_come_when_a_client_would_notice(fault, fails_ms, match):
    cloud = MockTransport()
    link, clock = shaped(Trace.constant(1e6), rtt_ms=40, faults=[fault], cloud=cloud)
    with pytest.raises(TransportError, match=match) as caught:
        link.send(message(12_500), timeout_ms=300)
    assert not isinstance(caught.value, RefusedError)
    assert clock.now_ms() - 1000 == pytest.approx(fails_ms)
    assert cloud.messages == []


def test_a_delay_within_the_limit_is_only_late():
    link, clock = shaped(Trace.constant(1e6), faults=[Fault("delay", delay_ms=70)])
    link.send(message(12_500))
    assert clock.now_ms() == pytest.approx(1170)


def test_same_seed_same_course():
    def course():
        faults = [Fault("drop", 0.2), Fault("reset", 0.2)]
        link, clock = shaped(cellular(5), rtt_ms=30, faults=faults)
        ends = []
        for _ in range(50):
            try:
                link.send(message(20_000), timeout_ms=400)
            except TransportError as error:
                ends.append(str(error))
            ends.append(clock.now_ms())
        return ends

    first = course()
    assert first == course()
    assert len({end for end in first if isinstance(end, str)}) == 2


def test_real_time_is_kept():
    link = Shaped(MockTransport(Reply(cloud_ms=3)), Trace.constant(8e6), rtt_ms=5)
    clock = SystemClock()
    began_ms = clock.now_ms()
    assert link.send(message(5000)).cloud_ms == 3
    assert clock.now_ms() - began_ms >= 10


def test_closing_closes_what_is_beneath():
    cloud = MockTransport()
    with shaped(Trace.constant(1e6), cloud=cloud)[0]:
        pass
    with pytest.raises(TransportError, match="closed"):
        cloud.send(message(1))
