from hybridge.runtime.clock import ManualClock, SystemClock


def test_system_clock_never_runs_backwards():
    clock = SystemClock()
    times_ms = [clock.now_ms() for _ in range(100)]
    assert times_ms == sorted(times_ms)


def test_system_clock_sleeps_at_least_that_long():
    clock = SystemClock()
    began_ms = clock.now_ms()
    clock.sleep_ms(2)
    assert clock.now_ms() - began_ms >= 2


def test_manual_clock_moves_by_sleeping_alone():
    clock = ManualClock(5)
    clock.sleep_ms(10)
    clock.sleep_ms(-3)
    assert clock.now_ms() == 15
