from collections import Counter

import pytest

from hybridge.links.faults import Fault, FaultSchedule


def test_each_fault_befalls_its_share():
    schedule = FaultSchedule([Fault("drop", 0.1), Fault("reset", 0.5)], seed=0)
    drawn = [schedule.draw(t) for t in range(10_000)]
    counts = Counter(fault and fault.kind for fault in drawn)
    assert counts["drop"] == pytest.approx(1000, rel=0.15)
    assert counts["reset"] == pytest.approx(4500, rel=0.1)


def test_a_fault_keeps_to_its_interval():
    outage = Fault("refuse", begins_s=2, ends_s=4)
    schedule = FaultSchedule([outage], seed=0)
    assert [schedule.draw(t) for t in (0, 1.9, 2, 3.9, 4)] == [None, None, outage, outage, None]


def test_a_seed_repeats_its_draws_whatever_the_times():
    faults = [Fault("drop", 1, begins_s=100), Fault("delay", 0.5, delay_ms=5)]
    early = FaultSchedule(faults, seed=1)
    late = FaultSchedule(faults, seed=1)
    times = [t / 10 for t in range(100)]
    assert [early.draw(t) for t in times] == [late.draw(t / 2) for t in times]


@pytest.mark.parametrize(
    "arguments",
    [
        {"kind": "drop", "probability": 1.1},
        {"kind": "drop", "begins_s": 2, "ends_s": 1},
        {"kind": "drop", "delay_ms": 3},
        {"kind": "delay"},
        {"kind": "delay", "delay_ms": -1},
    ],
)
def test_impossible_faults_are_refused(arguments):
    with pytest.raises(ValueError, match="expected"):
        Fault(**arguments)
