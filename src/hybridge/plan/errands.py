"""What need not be done at once: done one after another, on a thread of its own."""

import logging
import threading
from collections import deque
from collections.abc import Callable

_logger = logging.getLogger(__name__)

#: After so long without an errand the thread ends; the next errand begins another.
_IDLE_S = 0.25


class Errands:
    """Does what it is told to, later and in order. Safe to use from several threads.

    A process that ends does first what waits.

    Args:
        most: How many errands may wait.
        patience_s: How long `finish` waits for them.
    """

    def __init__(self, most: int, patience_s: float) -> None:
        self._most, self._patience_s = most, patience_s
        self._changed = threading.Condition()
        self._waiting: deque[Callable[[], None]] = deque()
        self._thread: threading.Thread | None = None
        self._is_busy = self._closed = False

    @property
    def waiting(self) -> int:
        """How many errands wait."""
        return len(self._waiting)

    def add(self, errand: Callable[[], None]) -> bool:
        """Return whether ``errand`` will be done: not where too many wait, or no thread begins."""
        with self._changed:
            if len(self._waiting) >= self._most:
                return False
            self._closed = False
            if self._thread is None:
                thread = threading.Thread(target=self._serve, name="hybridge-errands")
                try:
                    thread.start()
                except RuntimeError:  # there are too many already, or the process is ending
                    return False
                self._thread = thread
            self._waiting.append(errand)
            self._changed.notify_all()
            return True

    def finish(self) -> int:
        """Wait until all is done, or patience is over; returns how many errands are given up."""
        with self._changed:
            self._changed.wait_for(self._is_done, self._patience_s)
            given_up = len(self._waiting) + self._is_busy
            self._waiting.clear()
            return given_up

    def _is_done(self) -> bool:
        return not self._waiting and not self._is_busy

    def close(self) -> None:
        """Let the thread end; `add` begins another."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _serve(self) -> None:
        while (errand := self._next()) is not None:
            try:
                errand()
            except Exception:
                _logger.exception("an errand failed")

    def _next(self) -> Callable[[], None] | None:
        with self._changed:
            self._is_busy = False
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._waiting or self._closed, _IDLE_S)
            if not self._waiting:
                self._thread = None
                return None
            self._is_busy = True
            return self._waiting.popleft()
