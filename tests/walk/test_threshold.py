import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridge.cost.device import devices
from hybridge.cost.gain import Gains
from hybridge.errors import ConfigError
from hybridge.walk.threshold import (
    Budget,
    Coverage,
    Fixed,
    HoldsCoverage,
    RecentScores,
    SpendsBudget,
    WorthIt,
    parse_policy,
    policy_at_work,
)

MESSAGE_BYTES = 1000
GAINS = Gains(tuple(range(100)), (-math.inf, 50.0, 80.0), (0.0, 5.0, 30.0))


def kept(policy, scores, own=0.0, gap_ms=10.0, extra_ms=None):
    """Which of a stream's inputs a policy keeps; what it sends is asked for."""
    found = []
    for turn, score in enumerate(scores):
        threshold = policy.threshold(own, extra_ms, 0.0, turn * gap_ms)
        found.append(bool(score <= threshold))
        policy.decided(float(score), not found[-1], turn * gap_ms)
        if not found[-1]:
            policy.spent(MESSAGE_BYTES)
    return np.array(found)


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("fixed", Fixed()),
        ("coverage:0.7", Coverage(coverage=0.7)),
        ("cost:20ms", WorthIt(ms_per_point=20)),
        ("cost:5mJ", WorthIt(mj_per_point=5)),
        ("budget:1000", Budget(queries_per_hour=1000)),
        ("budget:5MB", Budget(bytes_per_hour=5e6)),
    ],
)
def test_a_policy_is_read_from_a_word(text, policy):
    assert parse_policy(text) == policy


@pytest.mark.parametrize(
    "text",
    ["", "best", "coverage", "coverage:1.2", "cost:20", "cost:-1ms", "budget:5s", "budget:nan"],
)
def test_a_word_that_is_no_policy_is_refused_with_examples(text):
    with pytest.raises(ConfigError, match="expected a policy such as fixed"):
        parse_policy(text)


@pytest.mark.parametrize("target", [0.3, 0.7, 0.95])
@pytest.mark.parametrize("shift", [0.0, 3.0, -3.0])
def test_coverage_holds_within_a_point_when_scores_shift(target, shift):
    rng = np.random.default_rng(0)
    policy = HoldsCoverage(target, rng.normal(size=500).tolist())
    stream = rng.normal(size=6000) + np.repeat([0.0, shift], 3000)
    assert abs(kept(policy, stream).mean() - target) < 0.01


@given(scores=st.lists(st.floats(-5, 5), min_size=60, max_size=200), target=st.floats(0.1, 0.9))
def test_coverage_never_owes_more_than_it_corrects(scores, target):
    policy = HoldsCoverage(target, range(20))
    owed = target * len(scores) - kept(policy, scores).sum()
    assert abs(owed) <= len(scores)  # equal scores are all kept or all sent
    distinct = np.random.default_rng(0).permutation(len(scores)) / 7.0
    policy = HoldsCoverage(target, distinct.tolist())
    owed = target * len(distinct) - kept(policy, distinct).sum()
    assert abs(owed) < 51


def test_coverage_begins_with_the_plans_own_threshold_where_nothing_was_calibrated():
    assert HoldsCoverage(0.5).threshold(1.25, None, 0.0, 0.0) == 1.25


@pytest.mark.parametrize(
    ("extra_ms", "lowest_sent"), [(0.0, -math.inf), (20.0, 50.0), (100.0, 50.0), (101.0, 80.0)]
)
def test_cost_sends_what_gains_its_milliseconds_worth(extra_ms, lowest_sent):
    policy = policy_at_work(WorthIt(ms_per_point=20), GAINS)
    threshold = policy.threshold(0.0, extra_ms, 0.0, 0.0)
    assert threshold == math.nextafter(lowest_sent, -math.inf)


def test_cost_sends_nothing_that_is_never_worth_it_and_knows_nothing_of_an_unknown_link():
    policy = policy_at_work(WorthIt(ms_per_point=20), GAINS)
    assert policy.threshold(0.0, 601.0, 0.0, 0.0) == math.inf
    assert policy.threshold(7.0, None, 0.0, 0.0) == 7.0


@given(cheap=st.floats(0, 1000), dear=st.floats(0, 1000))
def test_the_dearer_the_link_the_less_is_sent(cheap, dear):
    policy = policy_at_work(WorthIt(ms_per_point=10), GAINS)
    low, high = sorted((cheap, dear))
    at_low, at_high = (policy.threshold(0.0, ms, 0.0, 0.0) for ms in (low, high))
    assert at_low <= at_high


def test_cost_needs_gains():
    with pytest.raises(ConfigError, match="rehearsal"):
        policy_at_work(WorthIt(ms_per_point=10), None)


def test_energy_is_weighed_only_where_it_is_known():
    phone = devices.get("xiaomi-mi6x")
    unknown = phone.model_copy(update={"power": None})
    for device in (None, unknown):
        with pytest.raises(ConfigError, match="power is known"):
            policy_at_work(WorthIt(mj_per_point=5), GAINS, device)
    known = next(each for each in map(devices.get, devices.names()) if each.power is not None)
    assert policy_at_work(WorthIt(mj_per_point=5), GAINS, known) is not None


def test_a_budget_of_queries_is_kept_and_spent_on_the_hardest():
    rng = np.random.default_rng(1)
    scores = rng.normal(size=36_000)  # an hour at 10 a second
    policy = policy_at_work(Budget(queries_per_hour=1800), None)
    sent = ~kept(policy, scores, own=math.inf, gap_ms=100.0)
    saved_up = 1800 / 12
    assert 0.9 * 1800 <= sent.sum() <= 1800 + saved_up
    assert scores[sent].mean() > 1.2  # one in twenty at random would have a mean of 0


def test_a_budget_of_bytes_stops_when_it_is_spent():
    policy = policy_at_work(Budget(bytes_per_hour=120_000), None)
    for _ in range(10):
        assert policy.threshold(-1.0, None, 0.0, 0.0) == -1.0
        policy.spent(1000)
    assert policy.threshold(-1.0, None, 0.0, 0.0) == math.inf
    assert policy.threshold(-1.0, None, 0.0, 3.6e6) < math.inf


def spent_each_hour(policy, message_bytes, hours=6, gap_ms=1000.0):
    """What goes in each hour, in bytes, where scores are uniform."""
    rng, found = np.random.default_rng(2), [0] * hours
    for turn, score in enumerate(rng.random(int(hours * 3.6e6 / gap_ms)).tolist()):
        now_ms = turn * gap_ms
        sent = score > policy.threshold(0.5, None, 0.0, now_ms)
        policy.decided(score, sent, now_ms)
        if sent:
            policy.spent(message_bytes)
            found[int(now_ms / 3.6e6)] += message_bytes
    return found


@pytest.mark.parametrize("message_bytes", [10_000, 30_000])
def test_a_message_larger_than_what_is_saved_up_stops_no_budget_of_bytes(message_bytes):
    policy = policy_at_work(Budget(bytes_per_hour=100_000), None)  # 8,333 in five minutes
    spent = spent_each_hour(policy, message_bytes)
    assert 0.75 * 600_000 <= sum(spent) <= 600_000 + message_bytes
    assert min(spent) > 0


def test_a_message_larger_than_an_hours_budget_is_paid_off_over_hours():
    policy = policy_at_work(Budget(bytes_per_hour=100_000), None)
    spent = spent_each_hour(policy, 300_000, hours=12)
    assert 600_000 <= sum(spent) <= 1_500_000


def test_scores_that_are_all_alike_at_the_top_do_not_stop_a_budget():
    scores = np.minimum(np.random.default_rng(3).random(36_000), 0.98)  # an hour at 10 a second
    policy = policy_at_work(Budget(queries_per_hour=300), None)
    sent = ~kept(policy, scores, own=math.inf, gap_ms=100.0)
    assert 0.9 * 300 <= sent.sum() <= 300 + 300 / 12
    assert (scores[sent] == 0.98).mean() > 0.9


def test_a_budget_of_one_in_a_thousand_goes_to_the_hardest():
    scores = np.random.default_rng(4).random(72_000)
    policy = SpendsBudget(Budget(queries_per_hour=36), scores[:4096].tolist())
    sent = ~kept(policy, scores, gap_ms=100.0)
    assert 0.8 * 72 <= sent.sum() <= 72 + 3
    assert np.median(scores[sent]) > 0.9985  # of 1/256 at random, it would be 0.998


def test_what_was_wanted_and_not_asked_costs_a_budget_nothing():
    policy = policy_at_work(Budget(queries_per_hour=60), None)
    for turn in range(1000):
        assert policy.threshold(-1.0, None, 0.0, 0.0) < math.inf
        policy.decided(float(turn % 7), True, 0.0)


@given(scores=st.lists(st.floats(-9, 9), min_size=1, max_size=99), level=st.floats(0.01, 0.99))
def test_the_quantile_of_recent_scores_has_its_share_below(scores, level):
    recent = RecentScores(size=32)
    for score in scores:
        recent.add(score)
    kept_scores = np.array(scores[-32:])
    assert (kept_scores <= recent.quantile(level)).mean() >= level - 1e-9
    assert (kept_scores < recent.quantile(level)).mean() < level + 1e-9


def test_a_score_that_is_no_number_is_not_counted():
    recent = RecentScores()
    recent.add(math.nan)
    assert len(recent) == 0
