"""The bytes that cross, written down once: Python and C make and read the same ones."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from c_end import FIRMWARE, compiler, from_hex, to_hex

from hybridge.runtime.wire.frames import Frame, FrameReader, Kind, crc16, fragments
from hybridge.runtime.wire.serial import (
    Form,
    SerialAsk,
    SerialReply,
    Status,
    Wants,
    ask_of,
    reply_of,
)

VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text())
ANSWERED, REFUSED = 3, 4  # hybridge_link_state


def frame_of(vector):
    fields = (vector[name] for name in ("request", "number", "count"))
    return Frame(Kind(vector["kind"]), *fields, from_hex(vector["body"]), vector["please"])


def ask_in(exchange):
    told = exchange["ask"]
    return SerialAsk(
        **{**told, "program": from_hex(told["program"]), "payload": from_hex(told["payload"])}
    )


def joined(frames):
    """Return the message whose fragments are in these frames."""
    read = [frame for wire in frames for frame in FrameReader().read(from_hex(wire))]
    assert [frame.number for frame in read] == list(range(len(frames)))
    return b"".join(frame.body for frame in read)


@pytest.mark.parametrize("vector", VECTORS["crc16"])
def test_checksums(vector, c_end):
    assert crc16(from_hex(vector["data"])) == vector["crc16"]
    assert c_end.call("crc16", to_hex(from_hex(vector["data"]))) == str(vector["crc16"])


def test_the_checksum_is_ccitt_false():
    assert crc16(b"123456789") == 0x29B1


@pytest.mark.parametrize("vector", VECTORS["frames"])
def test_frames(vector, c_end):
    frame, wire = frame_of(vector), from_hex(vector["wire"])
    assert frame.to_wire() == c_end.encode(frame) == wire
    assert FrameReader().read(wire) == [frame]
    assert c_end.decode(wire) == ([frame], 0)


@pytest.mark.parametrize("exchange", VECTORS["exchanges"])
def test_asks_and_replies_in_python(exchange):
    ask, request, told = ask_in(exchange), exchange["request"], exchange["reply"]
    message = ask.to_bytes(request)
    assert joined(exchange["ask_frames"]) == message
    assert len(fragments(message, ask.frame_bytes)) == len(exchange["ask_frames"])
    assert ask_of(message, request) == ask
    reply = reply_of(joined(exchange["reply_frames"]), message)
    expected = {**told, "values": from_hex(told["values"])}
    expected["probability"] /= 65535
    assert reply == SerialReply(**expected)
    assert isinstance(reply.status, Status)
    assert isinstance(reply.wants, Wants)
    assert reply.to_bytes(message) == joined(exchange["reply_frames"])


@pytest.mark.parametrize("exchange", VECTORS["exchanges"])
def test_asks_and_replies_in_c(exchange, c_end):
    ask = exchange["ask"]
    words = [ask["frame_bytes"], 255, 100, 3, exchange["request"], ask["form"], ask["wants"]]
    words += [ask["scale"], ask["zero_point"], ask["left_ms"], 0, ask["program"], ask["payload"]]
    assert c_end.call("begin", *words) == "1"
    frames = [c_end.call("poll", 0) for _ in exchange["ask_frames"]]
    assert frames == exchange["ask_frames"]
    assert c_end.call("poll", 0) == "-"
    assert c_end.call("receive", 1, "".join(exchange["reply_frames"])) == "ok"
    state, status, *rest, count, scale, zero_point, values = c_end.call("result").split()
    reply = exchange["reply"]
    assert int(state) == (ANSWERED if reply["status"] == 0 else REFUSED)
    fields = [reply[name] for name in ("status", "wants", "label", "probability", "cloud_ms")]
    assert [int(status), *map(int, rest)] == fields
    assert int(count) == len(from_hex(values)) == len(from_hex(reply["values"]))
    assert values == (reply["values"] or "-")
    assert float(scale) == pytest.approx(reply["scale"], rel=1e-7)
    assert int(zero_point) == reply["zero_point"]


def test_every_form_is_among_the_vectors():
    asks = [exchange["ask"] for exchange in VECTORS["exchanges"]]
    assert {ask["form"] for ask in asks} == set(Form)
    assert {ask["wants"] for ask in asks} == set(Wants)


def test_the_c_of_the_page_compiles_without_an_operating_system(tmp_path):
    page = (Path(__file__).parents[3] / "docs/gateway.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```c\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    (tmp_path / "page.c").write_text(block)
    sources = [tmp_path / "page.c", *sorted(FIRMWARE.glob("hybridge_[fl]*.c"))]
    strict = ["-ffreestanding", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-pedantic"]
    command = [compiler(), "-std=c99", *strict, "-c", "-I", FIRMWARE, *sources]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
