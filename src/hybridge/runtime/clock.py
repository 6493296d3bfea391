"""The time a runtime goes by: the machine's own, or a test's."""

import math
import threading
import time
from typing import Protocol

from hybridge.errors import ConfigError

#: Longest time that anything is waited for.
DAY_MS = 86_400_000.0


def limit_ms(milliseconds: float, name: str) -> float:
    """Return a time limit, a day at most; raises `ConfigError` where it is NaN."""
    if math.isnan(milliseconds):
        raise ConfigError(f"expected {name} as a number of milliseconds, got nan")
    return min(milliseconds, DAY_MS)


class Clock(Protocol):
    """Tells the time and lets it pass."""

    def now_ms(self) -> float:
        """Return milliseconds since some fixed moment; never runs backwards."""
        ...

    def sleep_ms(self, duration_ms: float) -> None:
        """Return once ``duration_ms`` have passed; at once where that is not positive."""
        ...


class SystemClock:
    """The machine's monotonic clock."""

    def now_ms(self) -> float:
        """Return the monotonic clock's milliseconds."""
        return time.perf_counter() * 1e3

    def sleep_ms(self, duration_ms: float) -> None:
        """Sleep."""
        if duration_ms > 0:
            time.sleep(duration_ms / 1e3)


class ManualClock:
    """A clock that moves only when it is told to; sleeping moves it, and takes no time.

    Args:
        now_ms: Where it starts.
    """

    def __init__(self, now_ms: float = 0.0) -> None:
        self._now_ms = now_ms
        self._lock = threading.Lock()

    def now_ms(self) -> float:
        """Return the time that was last set."""
        return self._now_ms

    def sleep_ms(self, duration_ms: float) -> None:
        """Move the clock on by ``duration_ms`` where that is positive."""
        if duration_ms > 0:
            with self._lock:
                self._now_ms += duration_ms
