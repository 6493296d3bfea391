import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridge.errors import UnknownNameError
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


@pytest.mark.parametrize(("bandwidth_bps", "rtt_ms"), [(0, 1), (-1, 1), (float("nan"), 1), (1, -1)])
def test_impossible_links_are_refused(bandwidth_bps, rtt_ms):
    with pytest.raises(ValueError, match="bandwidth_bps"):
        Link(bandwidth_bps, rtt_ms)
