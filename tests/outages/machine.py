"""What the machine itself does to time: how late a thread wakes that sleeps for a millisecond."""

import threading
import time

import numpy as np

_SLEEP_S = 1e-3


class Jitter:
    """Samples overshoots while the context lasts, on a thread that does nothing else."""

    def __init__(self) -> None:
        self._over_ms: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> "Jitter":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._stop.is_set():
            began_s = time.perf_counter()
            time.sleep(_SLEEP_S)
            self._over_ms.append((time.perf_counter() - began_s - _SLEEP_S) * 1e3)

    @property
    def p50_ms(self) -> float:
        """Median overshoot."""
        return float(np.median(self._over_ms))

    @property
    def p999_ms(self) -> float:
        """The overshoot that one in a thousand is above."""
        return float(np.quantile(self._over_ms, 0.999))

    @property
    def p100_ms(self) -> float:
        """Largest overshoot."""
        return max(self._over_ms)
