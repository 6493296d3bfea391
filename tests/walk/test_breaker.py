import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridge.walk.breaker import Breaker, BreakerSettings

STEADY = BreakerSettings(failures=3, cooldown_ms=1000, jitter=0)


def opened(settings=STEADY, seed=0):
    breaker = Breaker(settings, seed)
    for _ in range(settings.failures):
        breaker.failed(0.0, breaker.passes(0.0))
    return breaker


def test_failures_in_a_row_open_it_and_others_do_not():
    breaker = Breaker(STEADY)
    for _ in range(5):
        for _ in range(2):
            breaker.failed(0.0, breaker.passes(0.0))
        breaker.succeeded()
    assert breaker.passes(1.0)
    assert not opened().passes(1.0)
    assert opened().state == "open"


def test_after_the_cool_down_one_request_passes_and_decides():
    breaker = opened()
    assert not breaker.passes(999.0)
    assert breaker.passes(1000.0)
    assert not breaker.passes(1001.0)  # the first one is still out
    breaker.succeeded()
    assert breaker.state == "closed"
    assert breaker.passes(1002.0)


def test_a_probe_that_fails_opens_it_again_for_a_whole_cool_down():
    breaker = opened()
    breaker.failed(1100.0, breaker.passes(1000.0))
    assert not breaker.passes(2099.0)
    assert breaker.passes(2100.0)


def test_a_probe_that_is_never_heard_of_again_does_not_shut_it_for_ever():
    breaker = opened()
    assert breaker.passes(1000.0)
    assert not breaker.passes(10_999.0)
    assert breaker.passes(11_000.0)


def test_a_probe_that_was_never_sent_leaves_its_turn_to_the_next():
    breaker = opened()
    breaker.unasked(breaker.passes(1000.0))
    assert breaker.passes(1001.0)


def test_stragglers_of_before_it_opened_do_not_push_its_opening_on():
    breaker = Breaker(STEADY)
    tickets = [breaker.passes(0.0) for _ in range(9)]
    for at_ms, ticket in zip(range(0, 900, 100), tickets, strict=True):
        breaker.failed(float(at_ms), ticket)  # the third of them opens it, at 200
    assert not breaker.passes(1199.0)
    assert breaker.passes(1200.0)


def test_nobody_but_the_one_that_tries_gives_its_turn_away_or_ends_it():
    breaker = Breaker(STEADY)
    tickets = [breaker.passes(0.0) for _ in range(6)]
    for ticket in tickets[:3]:
        breaker.failed(0.0, ticket)
    mine = breaker.passes(1000.0)
    breaker.unasked(tickets[3])
    breaker.failed(1001.0, tickets[4])
    breaker.failed(1001.0, None)
    assert breaker.state == "half-open"
    assert not breaker.passes(1002.0)
    breaker.failed(1100.0, mine)
    assert not breaker.passes(2099.0)
    assert breaker.passes(2100.0)


def test_looking_takes_nobody_s_turn():
    breaker = opened()
    assert not breaker.would_pass(999.0)
    assert breaker.would_pass(1000.0)
    assert breaker.passes(1000.0)
    assert not breaker.would_pass(1001.0)
    breaker.succeeded()
    assert breaker.would_pass(1002.0)


@given(seed=st.integers(0, 999), jitter=st.floats(0, 0.9))
def test_cool_downs_vary_within_the_jitter_and_by_seed(seed, jitter):
    settings = BreakerSettings(cooldown_ms=100, jitter=jitter)
    breaker = opened(settings, seed)
    assert not breaker.passes(100 * (1 - jitter) - 1e-6)
    assert breaker.passes(settings.longest_ms)


@pytest.mark.parametrize("key", ["failures", "cooldown_ms"])
def test_settings_that_cannot_work_are_refused(key):
    with pytest.raises(ValueError, match=key):
        BreakerSettings(**{key: 0})


@pytest.mark.parametrize(
    ("retry_after_ms", "until_ms"), [(0, 1000), (10, 1000), (3000, 3000), (1e9, 10_000)]
)
def test_a_cloud_that_says_when_is_left_alone_until_then(retry_after_ms, until_ms):
    breaker = Breaker(STEADY)
    for _ in range(3):
        breaker.failed(0.0, breaker.passes(0.0), retry_after_ms)
    assert not breaker.passes(until_ms - 1)
    assert breaker.passes(until_ms)
