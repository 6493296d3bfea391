import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridge.walk.tracker import LinkTracker

sizes = st.integers(1, 10**7)
times_ms = st.floats(0.1, 1e4)


def test_nothing_is_known_before_the_first_message():
    assert LinkTracker().bandwidth_bps(1e9) is None


def test_the_round_trip_is_taken_off_once_it_was_seen():
    tracker = LinkTracker()
    for _ in range(50):
        tracker.saw(10, 40.0, 0.0, 0.0)  # next to nothing is sent: that is the round trip
        tracker.saw(100_000, 140.0, 0.0, 0.0)
    # 100 kB in the 100 ms beyond the round trip.
    assert tracker.bandwidth_bps(0) == pytest.approx(8e6, rel=0.15)


@given(size=sizes, link_ms=times_ms, count=st.integers(1, 20))
def test_equal_messages_are_never_more_than_twice_their_bare_rate(size, link_ms, count):
    tracker = LinkTracker()
    for _ in range(count):
        tracker.saw(size, link_ms, 0.0, 0.0)
    bare_bps = 8000 * size / link_ms
    assert bare_bps <= tracker.bandwidth_bps(0) * (1 + 1e-9)
    assert tracker.bandwidth_bps(0) <= 2 * bare_bps * (1 + 1e-9)


@pytest.mark.parametrize(("before_ms", "count"), [(10.0, 10), (10_000.0, 20)])
def test_newer_messages_count_more(before_ms, count):
    tracker = LinkTracker()
    tracker.saw(1, 10.0, 0.0, 0.0)
    for link_ms in (before_ms, *[1000.0] * count):
        tracker.saw(100_000, link_ms, 0.0, 0.0)
    assert tracker.bandwidth_bps(0) == pytest.approx(8000 * 100_000 / 990, rel=0.02)


@given(messages=st.lists(st.tuples(sizes, times_ms), min_size=1, max_size=9), waited_ms=times_ms)
def test_what_was_lost_makes_the_link_no_faster(messages, waited_ms):
    tracker = LinkTracker()
    for size, link_ms in messages:
        tracker.saw(size, link_ms, 0.0, 0.0)
    before_bps = tracker.bandwidth_bps(0)
    tracker.lost(100, waited_ms, 0.0)
    assert tracker.bandwidth_bps(0) <= before_bps * (1 + 1e-9)


def test_a_link_that_swallows_everything_is_slow():
    tracker = LinkTracker()
    tracker.lost(1000, 500.0, 0.0)
    assert tracker.bandwidth_bps(0) == 16_000


@pytest.mark.parametrize(("size", "link_ms"), [(0, 10.0), (10, 0.0), (10, -1.0)])
def test_what_tells_nothing_changes_nothing(size, link_ms):
    tracker = LinkTracker()
    tracker.saw(size, link_ms, 0.0, 0.0)
    tracker.lost(size, min(link_ms, 0.0), 0.0)
    assert tracker.bandwidth_bps(0) is None


def test_threads_do_not_disturb_one_another():
    tracker = LinkTracker()

    def send():
        for _ in range(500):
            tracker.saw(1000, 10.0, 0.0, 0.0)

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tracker.bandwidth_bps(0) == pytest.approx(1.6e6)


def fed(messages, tracker=None):
    """A tracker that saw ``(bytes, link_ms, cloud_ms)``, one every 100 ms."""
    tracker = tracker or LinkTracker()
    for turn, message in enumerate(messages):
        tracker.saw(*message, 100.0 * turn)
    return tracker, 100.0 * len(messages)


@given(round_trip_ms=st.floats(1, 200), mbps=st.floats(0.1, 100), wanted=st.integers(500, 50_000))
def test_sizes_that_differ_tell_the_time_of_any_other(round_trip_ms, mbps, wanted):
    def takes_ms(size):
        return round_trip_ms + 8 * size / (1e3 * mbps)

    tracker, now_ms = fed([(size, takes_ms(size), 5.0) for size in (1000, 8000, 3000, 20_000) * 5])
    assert tracker.expected_ms(wanted, now_ms) == pytest.approx(takes_ms(wanted) + 5.0, rel=0.05)


def test_messages_of_one_size_take_as_long_as_they_did():
    tracker, now_ms = fed([(2000, 50.0, 3.0)] * 10)
    assert tracker.expected_ms(2000, now_ms) == pytest.approx(53.0)
    assert tracker.expected_ms(1000, now_ms) < 53.0 < tracker.expected_ms(4000, now_ms)


def test_one_outlier_moves_the_expectation_little():
    tracker, now_ms = fed([(2000, 50.0, 0.0)] * 10 + [(2000, 5000.0, 0.0)])
    assert tracker.expected_ms(2000, now_ms) < 100.0


def test_a_link_that_became_slow_is_soon_known_to_be():
    tracker, now_ms = fed([(2000, 50.0, 0.0)] * 10 + [(2000, 500.0, 0.0)] * 8)
    assert tracker.expected_ms(2000, now_ms) == pytest.approx(500.0, rel=0.15)


def test_what_was_given_up_would_have_taken_longer():
    tracker, now_ms = fed([(2000, 50.0, 0.0)] * 3)
    for turn in range(6):
        tracker.lost(2000, 100.0, now_ms + turn)
    assert tracker.expected_ms(2000, now_ms + 6) > 100.0


def test_after_a_silence_nothing_is_expected_until_somebody_tries():
    tracker, now_ms = fed([(2000, 900.0, 0.0)] * 10, LinkTracker(forgets_after_s=2.0))
    assert tracker.expected_ms(2000, now_ms + 1800.0) == pytest.approx(900.0)
    assert tracker.expected_ms(2000, now_ms + 2000.0) is None
    tracker.saw(2000, 20.0, 0.0, now_ms + 3000.0)
    assert tracker.expected_ms(2000, now_ms + 3001.0) == pytest.approx(20.0)


def test_what_was_lost_is_forgotten_as_soon_as_somebody_may_try():
    tracker = LinkTracker(forgets_after_s=3.0, tries_after_s=1.0)
    tracker.lost(1000, 500.0, 0.0)
    assert tracker.expected_ms(1000, 999.0) >= 500
    assert tracker.expected_ms(1000, 1001.0) is None
    # A reply is remembered for longer, however slow it was.
    tracker.saw(1000, 500.0, 0.0, 2000.0)
    assert tracker.expected_ms(1000, 4999.0) == pytest.approx(500, rel=0.5)


def test_one_may_try_in_each_interval():
    tracker = LinkTracker(tries_after_s=1.0)
    tracker.saw(1000, 500.0, 0.0, 0.0)
    tries = [at_ms for at_ms in range(0, 3500, 100) if tracker.may_try(float(at_ms))]
    assert tries == [1100, 2200, 3300]


@given(size=sizes, slow_ms=st.floats(10, 1e4), cloud_ms=st.floats(0, 1e3))
def test_a_message_that_is_much_faster_is_believed_at_once(size, slow_ms, cloud_ms):
    tracker = LinkTracker()
    for _ in range(10):
        tracker.saw(size, slow_ms, cloud_ms, 0.0)
    tracker.saw(size, slow_ms / 10, cloud_ms / 10, 0.0)
    assert tracker.expected_ms(size, 0.0) == pytest.approx((slow_ms + cloud_ms) / 10, rel=0.01)


def test_the_bandwidth_is_forgotten_as_the_expected_time_is():
    tracker = LinkTracker(forgets_after_s=3.0, tries_after_s=1.0)
    tracker.saw(1000, 500.0, 0.0, 0.0)
    assert tracker.bandwidth_bps(2999.0) is not None
    assert tracker.bandwidth_bps(3001.0) is None
    tracker.lost(1000, 500.0, 4000.0)
    assert tracker.bandwidth_bps(4999.0) == 16_000
    assert tracker.bandwidth_bps(5001.0) is None


@given(size=sizes, waited_ms=times_ms, count=st.integers(1, 9))
def test_one_message_after_an_outage_tells_the_bandwidth(size, waited_ms, count):
    tracker = LinkTracker(tries_after_s=1.0)
    tracker.saw(size, 10.0, 0.0, 0.0)
    for turn in range(count):
        tracker.lost(size, waited_ms, 10.0 * turn)
    tracker.saw(size, 10.0, 0.0, 5000.0)
    assert tracker.bandwidth_bps(5000.0) >= 800 * size * (1 - 1e-9)
