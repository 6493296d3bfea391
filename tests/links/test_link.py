import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridge.errors import DataError, UnknownNameError
from hybridge.links.link import Link, link_named, links


@pytest.mark.parametrize(
    ("name", "payload_bytes", "transfer_ms"),
    [
        ("3g", 152_000, 870),
        ("lte", 152_000, 180),
        ("wifi", 152_000, 95),
        ("lora-1mbps", 150_000, 1200),
    ],
)
def test_presets_take_what_the_paper_says(name, payload_bytes, transfer_ms):
    assert link_named(name).transfer_ms(payload_bytes) == pytest.approx(transfer_ms)


@pytest.mark.parametrize("name", links.names())
def test_every_preset_says_where_its_numbers_come_from(name):
    assert link_named(name).provenance


def test_misspelt_link_is_corrected():
    with pytest.raises(UnknownNameError, match="'wifi'"):
        link_named("wify")


@given(st.integers(0, 10**9), st.floats(1e3, 1e10), st.floats(0, 1e4))
def test_transfer_is_round_trip_and_size_over_bandwidth(payload_bytes, bandwidth_bps, rtt_ms):
    link = Link(bandwidth_bps, rtt_ms)
    assert link.transfer_ms(0) == rtt_ms
    assert link.transfer_ms(payload_bytes) == pytest.approx(
        payload_bytes * 8 / bandwidth_bps * 1e3 + rtt_ms
    )


@given(st.integers(0, 10**9), st.floats(0, 1e3), st.floats(0, 1))
def test_handling_is_linear_in_the_size(payload_bytes, message_ms, byte_ms):
    link = Link(8e6, 10, "", message_ms, byte_ms)
    beyond_ms = link.transfer_ms(payload_bytes) - Link(8e6, 10).transfer_ms(payload_bytes)
    assert beyond_ms == pytest.approx(message_ms + byte_ms * payload_bytes, abs=1e-3)


@pytest.mark.parametrize(
    ("near", "far", "rtt_ms"), [("wifi-near", "wifi", 2), ("lte-near", "lte", 42)]
)
def test_a_near_edge_has_the_bandwidth_of_its_sibling(near, far, rtt_ms):
    assert link_named(near).bandwidth_bps == link_named(far).bandwidth_bps
    assert link_named(near).rtt_ms == rtt_ms < link_named(far).rtt_ms


@pytest.mark.parametrize(
    ("numbers", "name"),
    [
        ((0, 1), "bandwidth_bps"),
        ((-1, 1), "bandwidth_bps"),
        ((math.nan, 1), "bandwidth_bps"),
        ((math.inf, 1), "bandwidth_bps"),
        ((1, -1), "rtt_ms"),
        ((1, math.nan), "rtt_ms"),
        ((1, 1, "", -1), "message_ms"),
        ((1, 1, "", 0, -1), "byte_ms"),
    ],
)
def test_impossible_links_are_refused(numbers, name):
    with pytest.raises(ValueError, match=name):
        Link(*numbers)


@pytest.mark.parametrize("name", links.names())
def test_a_link_comes_back_from_its_file(tmp_path, name):
    path = tmp_path / "link.json"
    link_named(name).save(path)
    assert link_named(str(path)) == link_named(name)
    assert json.loads(path.read_text())["provenance"]


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (None, ["No such file"]),
        ("", ["no link"]),
        ("[1]", ["no link"]),
        ('{"rtt_ms": 3}', ["bandwidth_bps"]),
        ('{"bandwidth_bps": "fast"}', ["bandwidth_bps"]),
        ('{"bandwidth_bps": -5}', ["bandwidth_bps", "-5"]),
        ('{"bandwidth_bps": 1e999}', ["bandwidth_bps"]),
        ('{"bandwidth_bps": 5, "rtt": 3}', ["rtt"]),
        (b"\xff\x00", ["no link"]),
    ],
)
def test_what_is_no_link_is_refused(tmp_path, content, parts):
    path = tmp_path / "link.json"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError) as caught:
        link_named(str(path))
    for part in (str(path), *parts):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)
