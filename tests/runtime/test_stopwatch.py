from hybridge.runtime import stopwatch
from hybridge.runtime.stopwatch import interleaved_ms


def test_calls_take_turns_and_each_gets_its_own_time(monkeypatch):
    now_s = 0.0
    order = []

    def taking(name, ms):
        def call():
            nonlocal now_s
            order.append(name)
            now_s += ms / 1e3

        return call

    monkeypatch.setattr(stopwatch.time, "perf_counter", lambda: now_s)
    found = interleaved_ms([taking("slow", 40.0), taking("quick", 1.0)], rounds=3)
    assert found.round(6).tolist() == [40.0, 1.0]
    turns = [
        name for name, before in zip(order, [None, *order[:-1]], strict=True) if name != before
    ]
    assert turns == ["slow", "quick"] * 4


def test_a_load_in_a_few_rounds_does_not_count(monkeypatch):
    now_s = 0.0
    calls = 0

    def call():
        nonlocal now_s, calls
        calls += 1
        now_s += 0.05 if calls < 8 else 0.02

    monkeypatch.setattr(stopwatch.time, "perf_counter", lambda: now_s)
    assert round(interleaved_ms([call], rounds=9)[0], 6) == 20
