import pytest

from hybridge.walk.durations import Durations


def test_what_a_program_should_not_exceed_is_a_little_over_its_longest_run_of_late():
    durations = Durations()
    assert durations.longest_ms("base") == 0.0
    for took_ms in [500.0, 100.0, *[10.0] * 63]:  # of the last 64: 100 and what follows
        durations.add("base", took_ms)
    assert 100 < durations.longest_ms("base") < 120
    durations.add("base", 10.0)
    assert durations.longest_ms("base") == pytest.approx(11.0, abs=0.9)
    assert durations.longest_ms("other") == 0.0
