"""Frames: whatever goes in comes out, whatever is damaged does not."""

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hybridge.errors import ConfigError, DataError
from hybridge.runtime.wire.frames import (
    MAX_FRAGMENTS,
    MAX_FRAME_BYTES,
    MIN_FRAME_BYTES,
    Frame,
    FrameReader,
    Kind,
    bitmap,
    body_bytes,
    cobs_decode,
    cobs_encode,
    fragments,
    of_bitmap,
)

# Zeros and stretches without any are what the encoding is about.
bodies = st.binary(max_size=600) | st.lists(st.sampled_from([0, 1, 255]), max_size=600).map(bytes)
frames = st.builds(
    Frame,
    kind=st.sampled_from(Kind),
    request=st.integers(0, 65535),
    number=st.integers(0, 255),
    count=st.integers(0, 255),
    body=bodies,
    please=st.booleans(),
)


def mutated(wire, rng):
    """Change, take out, put in or move some bytes of a stream."""
    changed = bytearray(wire)
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(len(changed) or 1)
        match rng.randrange(4):
            case 0 if changed:
                changed[at] ^= rng.randrange(1, 256)
            case 1 if changed:
                del changed[at : at + rng.randrange(1, 4)]
            case 2:
                changed[at:at] = rng.randbytes(rng.randrange(1, 4))
            case 3:
                changed = changed[at:] + changed[:at]
    return bytes(changed)


@given(data=bodies)
def test_stuffed_bytes_hold_no_zero_and_come_back(data):
    encoded = cobs_encode(data)
    assert 0 not in encoded
    assert len(encoded) <= len(data) + 1 + len(data) // 254
    assert cobs_decode(encoded) == data


@pytest.mark.parametrize("damaged", [b"\x05ab", b"\x03ab\x09", b"\x02a\0"])
def test_what_cannot_be_stuffed_is_refused(damaged):
    with pytest.raises(DataError, match="COBS"):
        cobs_decode(damaged)


@given(sent=st.lists(frames, max_size=5), pieces=st.lists(st.integers(1, 50), min_size=1))
def test_frames_come_back_in_whatever_pieces(sent, pieces):
    wire = b"".join(frame.to_wire() for frame in sent)
    reader, found, number = FrameReader(), [], 0
    while wire:
        size = pieces[number % len(pieces)]
        found += reader.read(wire[:size])
        wire, number = wire[size:], number + 1
    assert found == sent
    assert reader.damaged == 0


@settings(suppress_health_check=list(HealthCheck))
@given(frame=frames)
def test_c_makes_and_reads_the_same_frames(frame, c_end):
    wire = frame.to_wire()
    assert c_end.encode(frame) == wire
    assert c_end.decode(wire) == ([frame], 0)


@given(garbage=st.binary(max_size=3000), frame=frames)
def test_after_garbage_the_next_frame_is_found(garbage, frame):
    reader = FrameReader()
    reader.read(garbage + b"\0")
    assert reader.read(frame.to_wire()) == [frame]


def test_what_never_ends_takes_no_memory():
    reader = FrameReader()
    for _ in range(1000):
        assert reader.read(b"x" * 1000) == []
    assert len(reader._bytes) <= MAX_FRAME_BYTES
    frame = Frame(Kind.HAVE, 1)
    assert reader.read(b"\0" + frame.to_wire()) == [frame]
    assert reader.damaged == 1


def test_damaged_frames_are_not_taken(c_end):
    """Of 8,000 damaged frames, an eighth of one is expected to get past 16 bits."""
    rng = random.Random(3)
    taken = 0
    for _ in range(8000):
        sent = Frame(Kind.ASK, rng.randrange(65536), 1, 2, rng.randbytes(rng.randrange(40)))
        wire = mutated(sent.to_wire(), rng)
        taken += sum(frame != sent for frame in FrameReader().read(wire))
    assert taken <= 2
    for _ in range(500):
        wire = mutated(Frame(Kind.ASK, 1, 0, 1, rng.randbytes(30)).to_wire() * 3, rng)
        reader = FrameReader()
        assert c_end.decode(wire) == (reader.read(wire), reader.damaged)


@given(data=st.binary(max_size=3000))
@settings(suppress_health_check=list(HealthCheck), max_examples=200)
def test_c_and_python_find_the_same_in_any_bytes(data, c_end):
    reader = FrameReader()
    assert c_end.decode(data) == (reader.read(data), reader.damaged)


@given(message=st.binary(max_size=3000), frame_bytes=st.integers(48, 1024))
def test_fragments_fit_their_frames(message, frame_bytes):
    parts = fragments(message, frame_bytes)
    assert b"".join(parts) == message
    assert {len(part) for part in parts[:-1]} <= {body_bytes(frame_bytes)}
    longest = max(len(Frame(Kind.ASK, 1, 1, 1, part).to_wire()) for part in parts)
    assert longest <= frame_bytes


def test_an_acknowledgement_of_everything_fits_the_shortest_frame():
    full = bitmap(range(MAX_FRAGMENTS), MAX_FRAGMENTS)
    frame = Frame(Kind.HELD, 65535, 0, MAX_FRAGMENTS, full)
    assert len(frame.to_wire()) <= MIN_FRAME_BYTES


@given(held=st.sets(st.integers(0, 254)), count=st.integers(0, 255))
def test_bitmaps(held, count):
    held = {number for number in held if number < count}
    assert of_bitmap(bitmap(held, count), count) == held


def test_lengths_that_cannot_be():
    for frame_bytes in (0, 47, 1025):
        with pytest.raises(ConfigError, match="frames of 48 to 1024 bytes"):
            body_bytes(frame_bytes)
    with pytest.raises(DataError, match="use longer frames"):
        fragments(bytes(40 * 256), 48)
