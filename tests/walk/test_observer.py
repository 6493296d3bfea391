"""What an observer advises, told by hand what happened before."""

import numpy as np
import pytest

from hybridge.cost.gain import gains
from hybridge.errors import ConfigError
from hybridge.walk.breaker import Breaker, BreakerSettings
from hybridge.walk.events import Ask, Failed, Told
from hybridge.walk.menu import menus
from hybridge.walk.observer import BREAKER_OPEN, TOO_SLOW, Observer
from hybridge.walk.threshold import WorthIt, policy_at_work
from hybridge.walk.tracker import LinkTracker
from tiny_plans import pair_plan, pair_rehearsal
from tiny_trees import tree_plan

SENT = (1,)


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return pair_plan(tmp_path_factory.mktemp("programs"))


def cloud_step(plan):
    return plan.root.then.children[1]


def told(observer, plan, ms, payload_bytes=48, codec="raw", count=5, at_ms=0.0):
    """Tell an observer of messages that took ``ms`` each."""
    ask = Ask(cloud_step(plan), SENT, None, codec)
    for _ in range(count):
        observer.heard(Told(at_ms + ms, payload_bytes, 0.0), ask, at_ms)


def two_codecs(plan):
    """A menu of the exact codec, and one of a tenth of its size and a little less accuracy."""
    rehearsal = pair_rehearsal(plan, np.zeros(100))
    exact = rehearsal.probabilities[SENT, "raw"]
    worse = exact.copy()
    right = np.flatnonzero(exact.argmax(1) == rehearsal.truth)[:2]
    worse[right] = np.roll(worse[right], 1, axis=1)
    rehearsal.probabilities[SENT, "small"] = worse
    rehearsal.payload_bytes[SENT, "raw"][:] = 20_000
    rehearsal.payload_bytes[SENT, "small"] = np.full(100, 2_000)
    return menus(plan, rehearsal, ["small"])


def test_what_is_expected_to_be_late_is_not_asked(plan):
    observer = Observer(tracker=LinkTracker())
    told(observer, plan, ms=50.0)
    step = cloud_step(plan)
    assert observer.terms(step, SENT, 49.0, 60.0) == TOO_SLOW
    ask = observer.terms(step, SENT, 51.0, 60.0)
    assert (ask.codec, ask.left_ms) == ("raw", 51.0)
    assert ask.expected_ms == pytest.approx(50.0)


def test_an_unknown_link_is_tried_and_so_is_one_of_which_nothing_was_heard_for_long(plan):
    observer = Observer(tracker=LinkTracker(forgets_after_s=1.0))
    step = cloud_step(plan)
    assert isinstance(observer.terms(step, SENT, 1.0, 0.0), Ask)
    told(observer, plan, ms=50.0)
    assert observer.terms(step, SENT, 1.0, 60.0) == TOO_SLOW
    assert isinstance(observer.terms(step, SENT, 1.0, 2000.0), Ask)


def test_failures_open_the_breaker_but_what_the_device_could_not_do_does_not(plan):
    observer = Observer(breaker=Breaker(BreakerSettings(failures=2)))
    step, ask = cloud_step(plan), Ask(cloud_step(plan), SENT, None, "raw")
    for _ in range(9):
        observer.heard(Failed(0.0, 0, "no", asked=False, cloud_failed=False), ask, 0.0)
    assert isinstance(observer.terms(step, SENT, None, 0.0), Ask)
    for _ in range(2):
        observer.heard(Failed(0.0, 48, "reset"), ask, 0.0)
    assert observer.terms(step, SENT, None, 1.0) == BREAKER_OPEN


def test_the_breaker_keeps_no_turn_for_a_request_that_is_too_slow_anyway(plan):
    observer = Observer(tracker=LinkTracker(), breaker=Breaker(BreakerSettings(failures=1)))
    step, ask = cloud_step(plan), Ask(cloud_step(plan), SENT, None, "raw")
    told(observer, plan, ms=50.0, at_ms=1000.0)
    observer.heard(Failed(1060.0, 48, "reset"), ask, 1050.0)
    assert observer.terms(step, SENT, 10.0, 2500.0) == TOO_SLOW
    assert isinstance(observer.terms(step, SENT, 500.0, 2500.0), Ask)


@pytest.mark.parametrize(
    ("ms_per_kb", "left_ms", "codec"),
    [(0.1, 1000.0, "raw"), (10.0, 1000.0, "raw"), (10.0, 100.0, "small"), (100.0, 1000.0, "small")],
)
def test_the_most_accurate_codec_in_time_is_taken(plan, ms_per_kb, left_ms, codec):
    observer = Observer(tracker=LinkTracker(), menus=two_codecs(plan))
    for payload_bytes in (2_000, 20_000) * 5:
        told(observer, plan, ms_per_kb * payload_bytes / 1e3, payload_bytes, count=1)
    ask = observer.terms(cloud_step(plan), SENT, left_ms, 0.0)
    assert ask.codec == codec


@pytest.mark.parametrize(("ms_per_point", "codec"), [(1000.0, "raw"), (10.0, "small")])
def test_a_codec_is_weighed_by_what_a_point_is_worth(plan, ms_per_point, codec):
    worth = WorthIt(ms_per_point=ms_per_point)
    observer = Observer(tracker=LinkTracker(), menus=two_codecs(plan), worth=worth)
    for payload_bytes in (2_000, 20_000) * 5:
        told(observer, plan, payload_bytes / 100, payload_bytes, count=1)
    assert observer.terms(cloud_step(plan), SENT, None, 0.0).codec == codec


def test_a_codec_that_was_not_rehearsed_is_refused(plan):
    with pytest.raises(ConfigError, match="'webp' was not rehearsed"):
        menus(plan, pair_rehearsal(plan, np.zeros(3)), ["webp"])
    with pytest.raises(ConfigError, match="only be chosen among with a rehearsal"):
        menus(plan, None, ["webp"])


def test_a_slow_link_raises_the_threshold_of_a_policy_by_cost(plan):
    rehearsal = pair_rehearsal(plan, np.arange(100.0))
    policy = policy_at_work(WorthIt(ms_per_point=1.0), gains(plan, rehearsal))
    fork = plan.root.then

    def threshold(ms):
        observer = Observer(tracker=LinkTracker(), policy=policy)
        told(observer, plan, ms)
        return observer.seen(0.0, None, fork, (), 0.0).threshold

    assert threshold(1.0) <= threshold(50.0) <= threshold(5000.0)
    assert threshold(5000.0) == np.inf
    assert Observer(tracker=LinkTracker()).seen(0.0, None, fork, (), 0.0).threshold is None


def test_time_to_get_home_is_kept_back_from_the_cloud(plan):
    observer = Observer()
    for _ in range(10):
        observer.ran("base", 7.0)
    assert 7.0 <= observer.rest_ms(plan.root) <= 8.0
    assert observer.rest_ms(plan.root.then.children[0]) == 0.0


def test_a_link_that_is_held_to_be_too_slow_is_tried_once_in_each_interval(plan):
    observer = Observer(tracker=LinkTracker(tries_after_s=1.0))
    told(observer, plan, ms=50.0)
    step = cloud_step(plan)
    passed = [
        at_ms
        for at_ms in range(60, 2500, 20)
        if isinstance(observer.terms(step, SENT, 49.0, float(at_ms)), Ask)
    ]
    assert passed == [1060, 2080]


def test_a_link_that_recovers_is_used_again_after_one_try(plan):
    observer = Observer(tracker=LinkTracker(tries_after_s=1.0))
    told(observer, plan, ms=500.0, count=20)
    step = cloud_step(plan)
    assert observer.terms(step, SENT, 49.0, 1000.0) == TOO_SLOW
    assert isinstance(observer.terms(step, SENT, 49.0, 1600.0), Ask)
    told(observer, plan, ms=5.0, count=1, at_ms=1600.0)
    assert isinstance(observer.terms(step, SENT, 49.0, 1610.0), Ask)


def test_a_try_is_not_used_up_while_the_breaker_is_open(plan):
    breaker = Breaker(BreakerSettings(jitter=0))
    observer = Observer(tracker=LinkTracker(tries_after_s=1.0), breaker=breaker)
    told(observer, plan, ms=300.0, count=1, at_ms=680.0)
    step, ask = cloud_step(plan), Ask(cloud_step(plan), SENT, 100.0, "raw")
    for at_ms in (981.0, 985.0, 990.0):
        observer.heard(Failed(at_ms, 48, "reset"), ask, at_ms - 5)
    passed = [
        at_ms
        for at_ms in range(1000, 2500, 5)
        if isinstance(observer.terms(step, SENT, 100.0, float(at_ms)), Ask)
    ]
    assert passed == [1990]


def test_an_unknown_link_leaves_the_plans_own_threshold_to_a_policy_by_cost(plan):
    rehearsal = pair_rehearsal(plan, np.arange(100.0))
    policy = policy_at_work(WorthIt(ms_per_point=1e-9), gains(plan, rehearsal))
    observer = Observer(tracker=LinkTracker(), policy=policy)
    fork = plan.root.then
    assert observer.seen(0.0, None, fork, (), 0.0).threshold == fork.chooser.threshold
    told(observer, plan, ms=50.0)
    assert observer.seen(0.0, None, fork, (), 60.0).threshold == np.inf
    assert observer.seen(0.0, None, fork, (), 9e3).threshold == fork.chooser.threshold


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return tree_plan(tmp_path_factory.mktemp("tree"))


def chosen(observer, fork, now_ms):
    return fork.chooser.choose(observer.seen(None, None, fork, (), now_ms))


def test_an_unknown_bandwidth_is_tried_now_and_then_where_the_cloud_is_asked(tree):
    observer = Observer(tracker=LinkTracker(tries_after_s=1.0))
    choices = {at_ms: chosen(observer, tree.root, float(at_ms)) for at_ms in range(0, 2500, 100)}
    tried = {at_ms: choice.reason for at_ms, choice in choices.items() if choice.child == 1}
    assert tried == dict.fromkeys([0, 1100, 2200], "bandwidth unknown: tried")
    assert all(choice.child == 0 for at_ms, choice in choices.items() if at_ms not in tried)


def test_a_try_is_for_a_bandwidth_that_nobody_gives_and_a_cloud_that_may_be_asked(tree):
    class Silent:
        def bandwidth_bps(self, now_ms):
            return None

    assert chosen(Observer(tracker=LinkTracker(), bandwidth=Silent()), tree.root, 0.0).child == 0
    breaker = Breaker(BreakerSettings(failures=1, jitter=0))
    observer = Observer(tracker=LinkTracker(tries_after_s=1.0), breaker=breaker)
    breaker.failed(0.0, breaker.passes(0.0))
    assert chosen(observer, tree.root, 999.0).child == 0
    assert chosen(observer, tree.root, 1000.0).child == 1


def test_a_fork_without_a_way_to_the_cloud_uses_no_try_up(tree):
    observer = Observer(tracker=LinkTracker())
    home = tree.root.children[2]
    nowhere = tree.root.model_copy(update={"children": (home, home, home)})
    assert chosen(observer, nowhere, 0.0).child == 0
    assert chosen(observer, tree.root, 0.0).child == 1
