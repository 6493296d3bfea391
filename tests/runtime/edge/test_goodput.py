import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridge.runtime.edge.goodput import Goodput

sizes = st.integers(1, 10**7)
times_ms = st.floats(0.1, 1e4)


def test_nothing_is_known_before_the_first_message():
    assert Goodput().bandwidth_bps(1e9) is None


def test_the_round_trip_is_taken_off_once_it_was_seen():
    goodput = Goodput()
    for _ in range(50):
        goodput.saw(10, 40.0)  # next to nothing is sent: that is the round trip
        goodput.saw(100_000, 140.0)
    # 100 kB in the 100 ms beyond the round trip.
    assert goodput.bandwidth_bps(0) == pytest.approx(8e6, rel=0.15)


@given(size=sizes, link_ms=times_ms, count=st.integers(1, 20))
def test_equal_messages_are_never_more_than_twice_their_bare_rate(size, link_ms, count):
    goodput = Goodput()
    for _ in range(count):
        goodput.saw(size, link_ms)
    bare_bps = 8000 * size / link_ms
    assert bare_bps <= goodput.bandwidth_bps(0) * (1 + 1e-9)
    assert goodput.bandwidth_bps(0) <= 2 * bare_bps * (1 + 1e-9)


@pytest.mark.parametrize(("before_ms", "count"), [(10.0, 10), (10_000.0, 20)])
def test_newer_messages_count_more(before_ms, count):
    goodput = Goodput()
    goodput.saw(1, 10.0)
    for link_ms in (before_ms, *[1000.0] * count):
        goodput.saw(100_000, link_ms)
    assert goodput.bandwidth_bps(0) == pytest.approx(8000 * 100_000 / 990, rel=0.02)


@given(messages=st.lists(st.tuples(sizes, times_ms), min_size=1, max_size=9), waited_ms=times_ms)
def test_what_was_lost_makes_the_link_no_faster(messages, waited_ms):
    goodput = Goodput()
    for size, link_ms in messages:
        goodput.saw(size, link_ms)
    before_bps = goodput.bandwidth_bps(0)
    goodput.lost(100, waited_ms)
    assert goodput.bandwidth_bps(0) <= before_bps * (1 + 1e-9)


def test_a_link_that_swallows_everything_is_slow():
    goodput = Goodput()
    goodput.lost(1000, 500.0)
    assert goodput.bandwidth_bps(0) == 16_000


@pytest.mark.parametrize(("size", "link_ms"), [(0, 10.0), (10, 0.0), (10, -1.0)])
def test_what_tells_nothing_changes_nothing(size, link_ms):
    goodput = Goodput()
    goodput.saw(size, link_ms)
    goodput.lost(size, min(link_ms, 0.0))
    assert goodput.bandwidth_bps(0) is None


def test_threads_do_not_disturb_one_another():
    goodput = Goodput()

    def send():
        for _ in range(500):
            goodput.saw(1000, 10.0)

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert goodput.bandwidth_bps(0) == pytest.approx(1.6e6)
