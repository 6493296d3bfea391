"""Both ends in virtual time: loss, damage, disorder, repetition, restarts; and C does the same."""

import random
from dataclasses import replace

import numpy as np
import pytest
from c_end import from_hex, to_hex
from exchange import Exchange
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from line import Disturber

from hybridge.errors import ConfigError, DataError
from hybridge.runtime.wire.asker import Asker, Patience
from hybridge.runtime.wire.desk import Desk
from hybridge.runtime.wire.frames import Frame, FrameReader, Kind, fragments
from hybridge.runtime.wire.serial import (
    SerialAsk,
    SerialReply,
    Status,
    Wants,
    answered,
    reply_of,
)

PROGRAM = b"program!"
PATIENCE = Patience(retry_ms=50, tries=10, window=4)


def ask_for(payload, left_ms=20_000, wants=Wants.CLASS, frame_bytes=48):
    return SerialAsk(PROGRAM, payload, left_ms, wants=wants, frame_bytes=frame_bytes)


def told(ask):
    """A cloud that knows what it was asked: the class is the first byte, of 40 logits."""
    logits = np.zeros(40, np.float32)
    logits[ask.payload[0] % 40] = 5
    return answered(logits, ask.wants, 50)


def frames_of(ask, request, please=False):
    parts = fragments(ask.to_bytes(request), ask.frame_bytes)
    return [Frame(Kind.ASK, request, n, len(parts), part, please) for n, part in enumerate(parts)]


def read(wires):
    return FrameReader().read(b"".join(wires))


def message_of(wires):
    return b"".join(frame.body for frame in read(wires))


def test_a_quiet_line_needs_each_frame_once():
    line = Exchange(Desk(), told)
    asker = Asker(ask_for(bytes([7]) * 300, wants=Wants.INT8), 1, 0, PATIENCE)
    line.run(asker)
    assert (asker.reply.status, asker.reply.label) == (Status.ANSWERED, 7)
    assert asker.reply.logits.argmax() == 7
    counts = line.desk.counts
    assert (counts.repeated, counts.damaged, counts.forgotten, counts.asks) == (0, 0, 0, 1)


@pytest.mark.parametrize("seed", range(3))
def test_a_bad_line_loses_time_and_no_answer(seed):
    line = Exchange(Desk(), told, Disturber(damage=0.01, drop=0.05, seed=seed))
    rng = random.Random(seed)
    answers = 0
    for request in range(100):
        payload = bytes([request]) + rng.randbytes(rng.randrange(200))
        asker = Asker(ask_for(payload, wants=Wants.FLOAT16), request, line.now_ms, PATIENCE)
        line.run(asker)
        if asker.reply is not None:
            assert asker.reply.label == request % 40
            answers += 1
    assert answers >= 98
    assert line.desk.counts.repeated > 0
    assert len(line.arrived) <= 100


@pytest.mark.parametrize("cloud_ms", [0, 3000])
def test_a_cloud_that_takes_its_time_is_waited_for(cloud_ms):
    line = Exchange(Desk(), told, cloud_ms=cloud_ms)
    asker = Asker(ask_for(b"\x05"), 1, 0, PATIENCE)
    line.run(asker)
    assert asker.reply.label == 5
    assert line.now_ms < cloud_ms + 200


def test_the_deadline_is_the_devices_own():
    line = Exchange(Desk(), told, cloud_ms=10_000)
    asker = Asker(ask_for(b"\x05", left_ms=400), 1, 0, PATIENCE)
    line.run(asker)
    assert asker.reply is None
    assert 400 <= line.now_ms <= 420


def test_a_gateway_that_is_gone_is_given_up():
    line = Exchange(Desk(), told, Disturber(drop=1.0))
    asker = Asker(ask_for(b"\x05"), 1, 0, PATIENCE)
    line.run(asker)
    assert asker.reply is None
    assert line.now_ms < 700


def test_a_gateway_that_starts_anew_is_asked_anew():
    line = Exchange(Desk(), told, cloud_ms=500)

    def restart(now_ms, sent, heard):
        if now_ms == 200:
            line.desk = Desk()

    asker = Asker(ask_for(bytes([9]) * 200), 1, 0, PATIENCE)
    line.run(asker, restart)
    assert asker.reply.label == 9
    assert len(line.arrived) == 2


@given(data=st.data(), seed=st.integers(0, 2**32))
@settings(max_examples=60)
def test_fragments_may_come_in_any_order_and_often(data, seed):
    ask = ask_for(bytes(range(200)))
    frames = frames_of(ask, 3)
    again = data.draw(st.lists(st.sampled_from(frames), max_size=10))
    order = frames + again
    random.Random(seed).shuffle(order)
    desk = Desk()
    arrivals = [arrival for frame in order if (arrival := desk.take(frame, 100.0)[1])]
    assert [(arrival.ask, arrival.due_ms) for arrival in arrivals] == [(ask, 20_100.0)]
    assert desk.counts.repeated == len(again)


def test_replies_come_again_as_often_as_they_are_wanted():
    desk, ask = Desk(), ask_for(b"\x02" * 100, wants=Wants.FLOAT16)
    message = ask.to_bytes(8)
    *_, (_, arrival) = [desk.take(frame, 0.0) for frame in frames_of(ask, 8)]
    first = desk.hand_in(arrival.ticket, told(ask))
    assert len(first) > 2
    assert reply_of(message_of(first), message).values == told(ask).values
    nothing, _ = desk.take(Frame(Kind.HAVE, 8), 0.0)
    assert nothing == first
    some, _ = desk.take(Frame(Kind.HAVE, 8, 0, len(first), b"\x01"), 0.0)
    assert some == first[1:]
    # Who repeats the ask itself has not heard of the reply.
    again, arrival = desk.take(frames_of(ask, 8, please=True)[-1], 0.0)
    assert (again, arrival) == (first, None)


def test_a_device_that_starts_anew_may_use_a_number_again():
    desk, old, new = Desk(), ask_for(b"\x01" * 100), ask_for(b"\x02" * 100)
    *_, (_, arrival) = [desk.take(frame, 0.0) for frame in frames_of(old, 1)]
    desk.hand_in(arrival.ticket, told(old))
    arrivals = [desk.take(frame, 1.0)[1] for frame in frames_of(new, 1)]
    assert [arrival.ask for arrival in arrivals if arrival] == [new]
    assert desk.hand_in(arrival.ticket, told(old)) == []


def test_what_does_not_fit_together_is_asked_for_again():
    desk, ask = Desk(), ask_for(b"\x01" * 100)
    frames = frames_of(ask, 1)
    forged = Frame(Kind.ASK, 1, 1, len(frames), bytes(len(frames[1].body)))
    for frame in (frames[0], forged, *frames[2:]):
        out, arrival = desk.take(frame, 0.0)
    assert arrival is None
    assert [frame.body.strip(b"\0") for frame in read(out)] == [b""]
    assert desk.counts.damaged == 1
    arrivals = [desk.take(frame, 0.0)[1] for frame in frames]
    assert [arrival.ask for arrival in arrivals if arrival] == [ask]


def test_an_ask_that_cannot_be_is_refused():
    ask, desk = ask_for(b""), Desk()
    bad = SerialAsk(PROGRAM, b"", 1000, frame_bytes=40)
    frame = Frame(Kind.ASK, 1, 0, 1, bad.to_bytes(1))
    out, arrival = desk.take(frame, 0.0)
    assert arrival is None
    assert reply_of(message_of(out), bad.to_bytes(1)).status == Status.BAD_INPUT
    assert ask.frame_bytes == 48


def test_memory_is_bounded_and_answered_requests_go_first():
    desk = Desk(most=3)
    arrivals = [desk.take(frames_of(ask_for(b"x"), n)[0], 0.0)[1] for n in range(1)]
    for number in range(10, 14):
        desk.take(frames_of(ask_for(bytes(100)), number)[0], 0.0)
    assert len(desk._requests) == 3
    assert desk.counts.forgotten == 2  # two that were not whole; the whole one is still there
    assert desk.hand_in(arrivals[0].ticket, SerialReply(Status.BUSY)) != []
    with pytest.raises(ConfigError, match="at least one request"):
        Desk(most=0)


def test_a_reply_that_no_frames_hold_is_a_refusal():
    desk, ask = Desk(), ask_for(b"\x01" * 10, wants=Wants.FLOAT16)
    _, arrival = [desk.take(frame, 0.0) for frame in frames_of(ask, 1)][-1]
    out = desk.hand_in(arrival.ticket, answered(np.zeros(9000), Wants.FLOAT16, 1.0))
    assert reply_of(message_of(out), ask.to_bytes(1)).status == Status.BAD_INPUT


def test_nonsense_with_the_right_checksum_is_ignored():
    desk = Desk()
    for frame in (
        Frame(Kind.ASK, 1, 5, 5, b"x"),
        Frame(Kind.ASK, 1, 0, 0),
        Frame(Kind.REPLY, 1, 0, 1, b"x"),
        Frame(Kind.HELD, 1, 0, 9, b"xx"),
    ):
        assert desk.take(frame, 0.0) == ([], None)
    (unknown,) = read(desk.take(Frame(Kind.HAVE, 9, 0, 4, b"\xff"), 0.0)[0])
    assert (unknown.kind, unknown.request, unknown.count) == (Kind.HELD, 9, 0)


def test_what_an_asker_cannot_do_is_told():
    with pytest.raises(DataError, match="use longer frames"):
        Asker(ask_for(bytes(20_000)), 1, 0)
    with pytest.raises(ConfigError, match="above zero"):
        Patience(tries=0)


def begun_in_c(c_end, ask, patience, request, now_ms):
    """Begin an ask in C, and return what holds it to all that Python sends, and lets it hear."""
    words = [ask.frame_bytes, patience.window, int(patience.retry_ms), patience.tries, request]
    words += [int(ask.form), int(ask.wants), ask.scale, ask.zero_point, ask.left_ms, now_ms]
    assert c_end.call("begin", *words, PROGRAM.hex(), ask.payload.hex()) == "1"

    def also(now_ms, sent, heard):
        spoken = b""
        while frame := from_hex(c_end.call("poll", now_ms)):
            spoken += frame
        assert spoken == sent
        assert c_end.call("receive", now_ms + 10, to_hex(heard)) == "ok"

    return also


@pytest.mark.parametrize("seed", range(12))
def test_c_sends_what_python_sends(seed, c_end):
    """Both hear the same, also what is damaged: their bytes and what they make of it are equal."""
    rng = random.Random(seed)
    patience = Patience(rng.choice([30, 70]), rng.randrange(2, 8), rng.randrange(1, 12))
    wants = rng.choice(list(Wants))
    payload = rng.randbytes(rng.randrange(1, 500))
    ask = ask_for(payload, rng.choice([150, 5000]), wants, rng.choice([48, 64, 300]))
    request = rng.choice([0, 1, 65535])
    also = begun_in_c(c_end, ask, patience, request, 0)
    line = Exchange(Desk(), told, Disturber(0.01, rng.choice([0.05, 0.6]), seed), cloud_ms=80)
    asker = Asker(ask, request, 0, patience)
    line.run(asker, also)
    state, *reply = c_end.call("result").split()
    if asker.reply is None:
        assert (int(state), reply) in ((5, ["-"]), (6, ["-"]))
        return
    assert (int(state), int(reply[2])) == (3, asker.reply.label)
    assert from_hex(reply[-1]) == asker.reply.values


def test_a_device_that_was_reset_asks_under_the_next_number(c_end):
    """What it sends first is all that an ask of before, of the same number, began with."""

    def last(ask):
        return told(replace(ask, payload=ask.payload[-1:]))

    line = Exchange(Desk(), last)
    before, ask = (ask_for(bytes(300) + end, wants=Wants.INT8) for end in (b"\3", b"\5"))
    line.run(Asker(before, 65535, 0, PATIENCE))
    also = begun_in_c(c_end, ask, PATIENCE, 65535, line.now_ms)
    began_ms, asker = line.now_ms, Asker(ask, 65535, line.now_ms, PATIENCE)
    line.run(asker, also)
    assert (asker.reply.label, asker.request) == (5, 0)
    assert line.now_ms - began_ms < 500
    state, *reply = c_end.call("result").split()
    assert (int(state), int(reply[2])) == (3, 5)


@given(data=st.data())
@settings(max_examples=50, suppress_health_check=list(HealthCheck))
def test_no_frames_whatever_they_say_make_c_answer_wrongly(data, c_end):
    """Frames with the right checksum and any content: no sanitizer objects, nothing is taken."""
    words = [64, 4, 50, 3, 1, 0, 1, 1.0, 0, 60_000, 0, PROGRAM.hex(), b"payload".hex()]
    assert c_end.call("begin", *words) == "1"
    frames = st.builds(
        Frame,
        kind=st.sampled_from(Kind),
        request=st.just(1),
        number=st.integers(0, 255),
        count=st.sampled_from([0, 1, 2, 3, 254, 255]),
        body=st.sampled_from([54, 54, 1, 0, 22, 1000]).map(bytes) | st.binary(max_size=60),
        please=st.booleans(),
    )
    for now_ms, frame in enumerate(data.draw(st.lists(frames, max_size=12))):
        assert c_end.call("receive", now_ms, frame.to_wire().hex()) == "ok"
        c_end.call("poll", now_ms)
    state, *reply = c_end.call("result").split()
    assert state in "1267"
    assert reply == ["-"]


def test_c_says_when_a_reply_is_longer_than_it_can_hold(c_end):
    words = [1024, 4, 50, 3, 1, 0, 2, 1.0, 0, 60_000, 0, PROGRAM.hex(), b"payload".hex()]
    assert c_end.call("begin", *words) == "1"
    ask = SerialAsk(PROGRAM, b"payload", 60_000, wants=Wants.FLOAT16, frame_bytes=1024)
    _, arrival = Desk().take(read([from_hex(c_end.call("poll", 0))])[0], 0.0)
    assert arrival.ask == ask
    reply = answered(np.zeros(1500), Wants.FLOAT16, 0.0).to_bytes(ask.to_bytes(1))
    parts = fragments(reply, 1024)
    for number, part in enumerate(parts):
        wire = Frame(Kind.REPLY, 1, number, len(parts), part).to_wire()
        c_end.call("receive", 1, wire.hex())
    assert c_end.call("result") == "7 -"
