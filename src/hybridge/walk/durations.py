"""How long edge programs may take, from how long they took."""

import threading
from collections import deque

#: Runs of a program that are remembered.
_RUNS = 64
#: What is promised allows for a little more than was ever seen.
_MARGIN = 1.1


class Durations:
    """How long programs took of late. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._took_ms: dict[str, deque[float]] = {}

    def add(self, program: str, took_ms: float) -> None:
        """Note a duration."""
        with self._lock:
            self._took_ms.setdefault(program, deque(maxlen=_RUNS)).append(took_ms)

    def longest_ms(self, program: str) -> float:
        """Return what a program should not exceed: a little over its longest run of late.

        0 for one of which no run is known, such as the cloud's.
        """
        with self._lock:
            took_ms = self._took_ms.get(program)
            return _MARGIN * max(took_ms) if took_ms else 0.0
