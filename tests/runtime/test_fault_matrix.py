"""Every fault of link and cloud, between real processes: nothing lost, nothing wrong, none late."""

import pytest

from outages.bundles import make_stage
from outages.cases import CASES, Clouds
from outages.play import BREAKER, DEADLINE_MS, GRACE_MS

#: What a request may take on a busy machine before its probe counts as lost.
PROBE_MS = 2 * DEADLINE_MS


@pytest.fixture(scope="module")
def clouds(tmp_path_factory):
    with Clouds(make_stage(tmp_path_factory.mktemp("stage"))) as clouds:
        yield clouds


def assert_survived(case, tally, count, beyond_jitter_ms):
    assert tally.answers == tally.requests >= count
    assert tally.wrong == 0
    # Nobody can be more punctual than the machine itself.
    assert tally.latest_ms <= GRACE_MS + 2 * tally.jitter_p100_ms + beyond_jitter_ms
    assert tally.recovered_ms is not None
    assert case.cloud_answers or tally.fell_back > 0
    if tally.added_ms:
        assert tally.added_median_ms < 1


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_fault_costs_no_answer(clouds, case):
    assert_survived(case, case.play(clouds, 42), 42, beyond_jitter_ms=200)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_fault_costs_no_answer_of_a_thousand(clouds, case):
    tally = case.play(clouds, 1000)
    assert_survived(case, tally, 1000, beyond_jitter_ms=0)
    assert tally.recovered_ms <= BREAKER.longest_ms + PROBE_MS + 2 * tally.jitter_p100_ms
