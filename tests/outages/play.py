"""Requests through a fault and out of it again, and what became of them.

A third of the way in, the world breaks; two thirds of the way, it heals. All requests want the
cloud. Beside each one of the middle third, the same input goes to a runtime without a cloud.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hybridge.plan.answers import softmax
from hybridge.plan.log import DecisionLog
from hybridge.runtime.edge.answer import Answer
from hybridge.runtime.edge.edge import EdgeRuntime
from hybridge.runtime.wire.message import Transport
from hybridge.walk.breaker import BreakerSettings
from hybridge.walk.observer import BREAKER_OPEN, TOO_SLOW
from outages.bundles import Stage
from outages.machine import Jitter

BREAKER = BreakerSettings(cooldown_ms=300.0)
DEADLINE_MS = 150.0
#: Lateness that the contract allows.
GRACE_MS = 10.0
#: How long to go on asking for the cloud to be found again.
_PATIENCE_S = 10.0
_WARM_UPS = 8
_HELD_BACK = (BREAKER_OPEN, TOO_SLOW)


@dataclass
class Tally:
    """What became of the requests of one fault.

    Attributes:
        requests: Requests made.
        answers: Answers that came.
        from_cloud: Of them, the cloud's.
        wrong: Of them, those that are neither the edge's own for that input, where they say they
            are the edge's, nor the cloud's own, where they say they are the cloud's.
        past_deadline_ms: How long after its deadline each answer came; negative where before.
        jitter_p50_ms: Median lateness of a thread that sleeps, at the same time.
        jitter_p100_ms: Its largest.
        fell_back: Requests answered by the edge although they wanted the cloud.
        added_ms: What each request that was held back took beyond a runtime without a cloud.
        recovered_ms: From the world's healing to the beginning of the first request that the cloud
            answered; None where there was none.
        failures: Why the cloud's answers are missing.
    """

    requests: int = 0
    answers: int = 0
    from_cloud: int = 0
    wrong: int = 0
    past_deadline_ms: list[float] = field(default_factory=list)
    jitter_p50_ms: float = 0.0
    jitter_p100_ms: float = 0.0
    fell_back: int = 0
    added_ms: list[float] = field(default_factory=list)
    recovered_ms: float | None = None
    failures: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def late(self) -> int:
        """Answers that came more than 10 ms after their deadline."""
        return sum(ms > GRACE_MS for ms in self.past_deadline_ms)

    @property
    def latest_ms(self) -> float:
        """How long after its deadline the latest answer came."""
        return max(self.past_deadline_ms)

    @property
    def added_median_ms(self) -> float | None:
        """What an outage costs a request once the cloud is left alone."""
        return float(np.median(self.added_ms)) if self.added_ms else None


class World:
    """What a fault breaks and heals; a subclass or the callables say how.

    Args:
        transport: The edge's way to the cloud.
        breaks: Makes the world bad.
        heals: Makes it good again; returns once it is.
        during: Called before each request while it is bad, with the request's number.
    """

    def __init__(
        self,
        transport: Transport,
        breaks: Callable[[], None] = lambda: None,
        heals: Callable[[], None] = lambda: None,
        during: Callable[[int], None] = lambda number: None,
    ) -> None:
        self.transport, self.breaks, self.heals, self.during = transport, breaks, heals, during


def play(
    stage: Stage,
    world: World,
    count: int,
    *,
    every_s: float = 0.004,
    threads: int = 1,
    log: Path | None = None,
) -> Tally:
    """Make ``count`` requests, or more until the cloud is found again, and return their tally.

    Args:
        stage: What is asked.
        world: What goes wrong meanwhile.
        count: How many requests.
        every_s: Pause of each thread between two of its requests.
        threads: Threads that make them.
        log: Where decisions are written.
    """
    tally = Tally()
    with (
        nullcontext() if log is None else DecisionLog(log) as decisions,
        EdgeRuntime(stage.bundle, world.transport, breaker=BREAKER, log=decisions) as edge,
        EdgeRuntime(stage.bundle) as alone,
        Jitter() as jitter,
    ):
        for _ in range(_WARM_UPS):  # the connection is made, and no longer counts
            edge.predict(stage.inputs[0], 5000.0)
        alone.predict(stage.inputs[0])

        def ask(number: int, beside: bool = False) -> Answer:
            time.sleep(every_s)
            if beside:
                world.during(number)
            return _ask(stage, edge, number, tally, alone if beside else None)

        thirds = (0, count // 3), (count // 3, 2 * count // 3), (2 * count // 3, count)
        _all(lambda number: ask(number), range(*thirds[0]), threads)
        world.breaks()
        _all(lambda number: ask(number, True), range(*thirds[1]), threads)
        world.heals()
        healed_s = time.perf_counter()

        def ask_on(number: int) -> None:
            began_s = time.perf_counter() + every_s
            if ask(number).source == "cloud" and tally.recovered_ms is None:
                tally.recovered_ms = (began_s - healed_s) * 1e3

        _all(ask_on, range(*thirds[2]), threads)
        while tally.recovered_ms is None and time.perf_counter() < healed_s + _PATIENCE_S:
            ask_on(tally.requests)
    tally.jitter_p50_ms, tally.jitter_p100_ms = jitter.p50_ms, jitter.p100_ms
    return tally


def _all(ask: Callable[[int], object], numbers: range, threads: int) -> None:
    if threads == 1:
        for number in numbers:
            ask(number)
        return

    def share(first: int) -> None:
        for number in numbers[first::threads]:
            ask(number)

    workers = [threading.Thread(target=share, args=(first,)) for first in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def _ask(
    stage: Stage, edge: EdgeRuntime, number: int, tally: Tally, alone: EdgeRuntime | None
) -> Answer:
    row = number % len(stage.inputs)
    began_s = time.perf_counter()
    answer = edge.predict(stage.inputs[row], DEADLINE_MS)
    took_ms = (time.perf_counter() - began_s) * 1e3
    logits = stage.global_ if answer.source == "cloud" else stage.base
    right = np.allclose(answer.probabilities, softmax(logits[row]), rtol=1e-3, atol=1e-5)
    with tally.lock:
        tally.requests += 1
        tally.answers += answer.label is not None
        tally.from_cloud += answer.source == "cloud"
        tally.fell_back += answer.source == "edge"
        tally.wrong += not right
        tally.failures.update([answer.failure] if answer.failure else [])
        tally.past_deadline_ms.append(took_ms - DEADLINE_MS)
    if alone is not None and answer.failure in _HELD_BACK:
        began_s = time.perf_counter()
        alone.predict(stage.inputs[row], DEADLINE_MS)
        alone_ms = (time.perf_counter() - began_s) * 1e3
        with tally.lock:
            tally.added_ms.append(took_ms - alone_ms)
    return answer
