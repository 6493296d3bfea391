import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridge.links.channel import Channel
from hybridge.links.synth import cellular
from hybridge.links.trace import Trace

MBIT = 125_000  # bytes


def test_a_free_link_takes_size_over_bandwidth():
    assert Channel(Trace.constant(1e6)).send(5, MBIT) == pytest.approx(6)


def test_a_second_message_waits_for_the_first():
    channel = Channel(Trace.constant(1e6))
    channel.send(0, 2 * MBIT)
    assert channel.send(0.5, MBIT) == pytest.approx(3)
    assert channel.send(10, MBIT) == pytest.approx(11)


def test_a_transfer_spans_changes_of_bandwidth():
    channel = Channel(Trace([0, 1, 2], [1e6, 0, 2e6], 3))
    assert channel.send(0.5, MBIT) == pytest.approx(2.25)


def test_what_comes_too_late_is_withdrawn_and_frees_the_link():
    channel = Channel(Trace.constant(1e6))
    assert channel.send(0, 10 * MBIT, by_s=2) is None
    assert channel.send(0, MBIT) == pytest.approx(3)


def test_what_never_began_costs_the_link_nothing():
    channel = Channel(Trace.constant(1e6))
    channel.send(0, 4 * MBIT)
    assert channel.send(1, MBIT, by_s=3) is None
    assert channel.send(1, MBIT) == pytest.approx(5)


def test_an_outage_without_end_delivers_nothing():
    channel = Channel(Trace.constant(0))
    assert channel.send(0, 1, by_s=100) is None
    assert channel.send(0, 0) == 100


@given(st.lists(st.tuples(st.floats(0, 20), st.integers(0, 10**7)), max_size=20), st.integers(0, 9))
def test_order_is_kept_and_no_bit_is_lost(sends, seed):
    trace = cellular(seed, 30)
    channel = Channel(trace)
    arrivals_s = [channel.send(at_s, size) for at_s, size in sorted(sends)]
    assert arrivals_s == sorted(arrivals_s)
    previous_s = 0.0
    for (at_s, size), arrival_s in zip(sorted(sends), arrivals_s, strict=True):
        begins_s = max(at_s, previous_s)
        crossed = trace.bits_by(arrival_s) - trace.bits_by(begins_s)
        assert crossed == pytest.approx(8 * size, rel=1e-6, abs=1)
        previous_s = arrival_s


def test_agrees_with_a_simulation_in_small_steps():
    trace = cellular(3, 20, mean_mbps=2)
    step_s = 1e-3
    crossed, time_s = 0.0, 4.2
    while crossed < 8e6:
        crossed += trace.at(time_s) * step_s
        time_s += step_s
    assert Channel(trace).send(4.2, 1_000_000) == pytest.approx(time_s, abs=5e-3)


def test_an_hour_of_ten_messages_a_second_all_arrive():
    channel = Channel(cellular(0))
    times_s = np.arange(36_000) * 0.1
    assert all(channel.send(at_s, 1000) is not None for at_s in times_s.tolist())


@given(
    st.lists(st.tuples(st.floats(0, 20), st.integers(0, 10**7)), max_size=10),
    st.floats(0, 60),
    st.integers(0, 10**7),
)
def test_a_preview_says_what_sending_would_and_changes_nothing(sends, at_s, size):
    channel = Channel(cellular(1, 30))
    for begins_s, before in sorted(sends):
        channel.send(begins_s, before)
    free_at_s = channel.free_at_s
    arrives_s = channel.preview(at_s, size)
    assert channel.free_at_s == free_at_s
    assert channel.send(at_s, size) == arrives_s


def test_a_preview_over_a_dead_link_is_infinite():
    assert Channel(Trace.constant(0)).preview(1, 1) == np.inf
