"""The gateway in this process, over a pseudo-terminal, with clouds of every kind behind it."""

import os
import threading
import time
import tty
from contextlib import contextmanager, suppress

import numpy as np
import pytest
from PIL import Image

from hybridge.errors import ConfigError, PlanError, RefusedError, TransportError
from hybridge.plan.variants import abstaining
from hybridge.runtime.clock import SystemClock
from hybridge.runtime.cloud.local import LocalTransport
from hybridge.runtime.cloud.models import Models
from hybridge.runtime.edge.mock import MockTransport
from hybridge.runtime.gateway import Gateway
from hybridge.runtime.port import MAX_WAITING_BYTES, PortLostError, SerialPort
from hybridge.runtime.serial_answers import Answers, Askable, askable
from hybridge.runtime.sessions import ProgramSession
from hybridge.runtime.wire.asker import Asker, Patience
from hybridge.runtime.wire.message import Reply
from hybridge.runtime.wire.serial import Form, SerialAsk, Status, Wants
from hybridge.walk.breaker import Breaker, BreakerSettings
from tiny_plans import images, pair_plan, partition_plan

LOGITS = np.array([[0.0, 3.0, 1.0]], np.float32)
PATIENCE = Patience(retry_ms=200, tries=50)


class Device:
    """The device's end of a pseudo-terminal; may hang up, and come back under the same name."""

    def __init__(self, link):
        self._link, self._requests = link, 0
        self.plug_in()

    def plug_in(self):
        self._fd, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._fd, False)
        self._link.unlink(missing_ok=True)
        self._link.symlink_to(os.ttyname(self._slave))

    def hang_up(self):
        os.close(self._slave)
        os.close(self._fd)

    def begin(self, payload, program, **settings):
        self._requests += 1
        ask = SerialAsk(program, payload, settings.pop("left_ms", 20_000), **settings)
        return Asker(ask, self._requests, time.monotonic() * 1e3, PATIENCE)

    def finish(self, *askers, until=lambda: False):
        """Go on until all have ended, or something else is the case; returns their replies."""
        while not all(asker.has_ended for asker in askers) and not until():
            now_ms = time.monotonic() * 1e3
            for asker in askers:
                self.write(asker.poll(now_ms))
            with suppress(BlockingIOError):
                heard = os.read(self._fd, 4096)
                for asker in askers:
                    asker.receive(heard, now_ms)
            time.sleep(0.001)
        return [asker.reply for asker in askers]

    def ask(self, payload, program, **settings):
        return self.finish(self.begin(payload, program, **settings))[0]

    def write(self, data):
        while data:
            with suppress(BlockingIOError):
                data = data[os.write(self._fd, data) :]


@pytest.fixture
def plan(tmp_path):
    return pair_plan(tmp_path)


@pytest.fixture
def program(plan):
    return bytes.fromhex(plan.programs["global"].sha256)[:8]


@pytest.fixture
def device(tmp_path):
    device = Device(tmp_path / "port")
    yield device
    device.hang_up()


@contextmanager
def gateway(tmp_path, plan, cloud, most=8, breaker=None):
    """Run a gateway on a thread, from when it has opened its port."""
    clock, opened = SystemClock(), threading.Event()

    def open_port():
        port = SerialPort(tmp_path / "port")
        opened.set()
        return port

    with Gateway(Answers(askable(plan), cloud, clock, breaker), clock, most) as running:
        thread = threading.Thread(target=running.run, args=(open_port,))
        thread.start()
        assert opened.wait(10)
        try:
            yield running
        finally:
            running.stop()
            thread.join()


def mock():
    return MockTransport(Reply({"logits": LOGITS}, cloud_ms=4.4))


PAYLOAD = images(1)[0].tobytes()


def test_the_cloud_gets_the_input_in_every_form(tmp_path, plan, program, device):
    pixels = images(1, seed=3)
    cloud = LocalTransport(Models({"tiny": plan.programs_at("cloud")}))
    expected = ProgramSession(plan.programs["global"]).run({"pixels": pixels})["logits"][0]
    path = tmp_path / "image.png"
    Image.fromarray(pixels[0]).save(path)
    with gateway(tmp_path, plan, cloud):
        raw = device.ask(pixels.tobytes(), program, wants=Wants.FLOAT16)
        integers = (pixels.astype(int) - 128).astype(np.int8).tobytes()
        int8 = device.ask(
            integers, program, wants=Wants.FLOAT16, form=Form.INT8, scale=1.0, zero_point=-128
        )
        image = device.ask(path.read_bytes(), program, wants=Wants.INT8, form=Form.IMAGE)
    for reply in (raw, int8, image):
        assert (reply.status, reply.label) == (Status.ANSWERED, expected.argmax())
    np.testing.assert_allclose(raw.logits, expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(int8.logits, raw.logits)
    np.testing.assert_allclose(image.logits, expected, atol=np.ptp(expected) / 100)


def test_bad_asks_are_refused_with_the_reason(tmp_path, plan, program, device):
    with gateway(tmp_path, plan, mock()) as running:
        assert device.ask(PAYLOAD, b"\0" * 8).status == Status.UNKNOWN_PROGRAM
        assert device.ask(PAYLOAD[:-1], program).status == Status.BAD_INPUT
        assert device.ask(b"no image", program, form=Form.IMAGE).status == Status.BAD_INPUT
        assert device.ask(PAYLOAD, program).status == Status.ANSWERED
    assert running.statistics()["replies"]["bad_input"] == 2


def test_asks_are_under_way_together_up_to_a_bound(tmp_path, plan, program, device):
    begun, go = [], threading.Event()

    def slow(message):
        begun.append(message)
        go.wait(20)
        return Reply({"logits": LOGITS})

    with gateway(tmp_path, plan, MockTransport(slow), most=2):
        askers = [device.begin(PAYLOAD, program) for _ in range(3)]
        device.finish(*askers[:2], until=lambda: len(begun) == 2)
        assert device.finish(askers[2])[0].status == Status.BUSY
        go.set()
        assert [reply.label for reply in device.finish(*askers[:2])] == [1, 1]


def test_the_cloud_is_told_what_time_is_left(tmp_path, plan, program, device):
    cloud = mock()
    with gateway(tmp_path, plan, cloud):
        device.ask(PAYLOAD, program, left_ms=9000)
    (message,) = cloud.messages
    assert 0 < message.left_ms <= 9000


def test_a_cloud_that_is_away_is_told_of_at_once_and_comes_back(tmp_path, plan, program, device):
    cloud = mock()
    breaker = Breaker(BreakerSettings(failures=2, cooldown_ms=100, jitter=0))
    with gateway(tmp_path, plan, cloud, breaker=breaker):
        cloud.fail = TransportError("away")
        replies = [device.ask(PAYLOAD, program) for _ in range(2)]
        assert {reply.status for reply in replies} == {Status.NO_CLOUD}
        assert breaker.state == "open"
        cloud.fail = None
        time.sleep(0.15)
        assert device.ask(PAYLOAD, program).status == Status.ANSWERED
        cloud.fail = RefusedError("no")
        assert device.ask(PAYLOAD, program).status == Status.CLOUD_REFUSED


def test_a_cloud_that_refuses_is_left_alone_for_as_long_as_it_says(plan, program):
    class Clock:
        now = 0.0

        def now_ms(self):
            return self.now

    clock, refused = Clock(), RefusedError("too much to do")
    refused.retry_after_ms = 5000
    cloud = MockTransport(fail=refused)
    ask = SerialAsk(program, PAYLOAD, 1000)
    with Answers(askable(plan), cloud, clock, Breaker(BreakerSettings(jitter=0))) as answers:
        statuses = [answers.answer(ask, 1000.0).status for _ in range(20)]
        assert statuses == 3 * [Status.CLOUD_REFUSED] + 17 * [Status.NO_CLOUD]
        clock.now = 4999.0
        assert answers.answer(ask, 6000.0).status == Status.NO_CLOUD
        assert len(cloud.messages) == 3
        clock.now, cloud.fail, cloud.reply = 5000.0, None, Reply({"logits": LOGITS})
        assert answers.answer(ask, 6000.0).status == Status.ANSWERED


@pytest.mark.parametrize(
    "logits", [np.full((1, 3), np.nan, np.float32), np.zeros((1, 4), np.float32), None]
)
def test_a_reply_that_is_none_is_no_answer(tmp_path, plan, program, device, logits):
    tensors = {} if logits is None else {"logits": logits}
    with gateway(tmp_path, plan, MockTransport(Reply(tensors))):
        assert device.ask(PAYLOAD, program).status == Status.NO_CLOUD


def test_a_fault_of_ours_is_a_refusal_too(tmp_path, plan, program, device):
    def fault(message):
        raise RuntimeError("a bug")

    with gateway(tmp_path, plan, MockTransport(fault)):
        assert device.ask(PAYLOAD, program).status == Status.NO_CLOUD


def test_garbage_is_survived(tmp_path, plan, program, device):
    rng = np.random.default_rng(0)
    with gateway(tmp_path, plan, mock()) as running:
        device.write(rng.bytes(20_000))
        assert device.ask(PAYLOAD, program).label == 1
    assert running.statistics()["frames_damaged"] > 10


def test_a_device_that_hangs_up_and_comes_back_is_served(tmp_path, plan, program, device):
    with gateway(tmp_path, plan, mock()) as running:
        assert device.ask(PAYLOAD, program).label == 1
        for _ in range(2):
            device.hang_up()
            (tmp_path / "port").unlink()
            time.sleep(0.1)
            device.plug_in()
            assert device.ask(PAYLOAD, program).label == 1
    assert running.statistics()["port_lost"] == 2


class Dying(SerialPort):
    """A port that is lost at the first thing that is sent."""

    def write(self, data=b""):
        if data:
            raise PortLostError("lost at the acknowledgement")
        return super().write()


def test_an_ask_whose_acknowledgement_is_lost_with_the_port_is_answered(
    tmp_path, plan, program, device
):
    ports, cloud, clock = [Dying], mock(), SystemClock()
    with Gateway(Answers(askable(plan), cloud, clock), clock) as running:

        def open_port():
            return (ports.pop() if ports else SerialPort)(tmp_path / "port")

        thread = threading.Thread(target=running.run, args=(open_port,))
        thread.start()
        try:
            reply = device.ask(PAYLOAD, program, left_ms=5000)
        finally:
            running.stop()
            thread.join()
    assert reply is not None
    assert reply.label == 1
    assert len(cloud.messages) == 1


def test_it_stops_though_the_port_is_gone(tmp_path, plan, device):
    with gateway(tmp_path, plan, mock()):
        device.hang_up()
        time.sleep(0.1)
        began_s = time.monotonic()
    assert time.monotonic() - began_s < 10
    device.plug_in()


def test_what_is_no_port_is_told(tmp_path, device):
    (tmp_path / "file").write_text("text")
    for path in (tmp_path / "file", tmp_path / "none"):
        with pytest.raises(ConfigError, match=path.name):
            SerialPort(path)
    with pytest.raises(ConfigError, match=r"speed that serial ports have, got 115201.*115200"):
        SerialPort(tmp_path / "port", 115_201)


def test_a_line_that_takes_nothing_is_not_waited_for(tmp_path, device):
    with SerialPort(tmp_path / "port") as port:
        frame = bytes([1]) * 1000
        taken = [port.write(frame) for _ in range(200)]
        assert taken[0]
        assert not taken[-1]
        assert len(port._waiting) <= MAX_WAITING_BYTES
        device.hang_up()
        with pytest.raises(PortLostError):
            port.read()
        with pytest.raises(PortLostError):
            port.write(b"x")
    device.plug_in()


def test_plans_that_a_gateway_can_and_cannot_serve(tmp_path, plan):
    assert askable(plan) == [Askable(plan.programs["global"], "logits")]
    (far,) = askable(partition_plan(tmp_path))
    assert (far.program.name, far.logits) == ("far", "logits")
    with pytest.raises(PlanError, match="nothing to ask"):
        askable(abstaining(plan))
    with pytest.raises(ConfigError, match="at least one ask"):
        Gateway(Answers([], mock(), SystemClock()), SystemClock(), most=0)
