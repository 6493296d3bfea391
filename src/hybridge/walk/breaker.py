"""The circuit breaker: a cloud that fails is left alone for a while, then tried by one request."""

import random
import threading
from typing import Literal

from pydantic import Field

from hybridge.plan.tensors import Frozen

State = Literal["closed", "open", "half-open"]

#: Cool-downs after which whoever was let through will not come back to tell.
_LOST_AFTER = 10


class BreakerSettings(Frozen):
    """When the cloud is left alone, and for how long.

    Attributes:
        failures: Failures in a row that open the breaker.
        cooldown_ms: How long it stays open before the cloud is tried again.
        jitter: Share of the cool-down by which it varies, so that a fleet does not come back at
            one moment.
    """

    failures: int = Field(default=3, ge=1)
    cooldown_ms: float = Field(default=1000.0, gt=0, allow_inf_nan=False)
    jitter: float = Field(default=0.2, ge=0, lt=1)

    @property
    def longest_ms(self) -> float:
        """Longest time from a cloud's coming back to its being tried, if there are requests."""
        return self.cooldown_ms * (1 + self.jitter)


class Breaker:
    """Says whether the cloud may be asked. Safe to use from several threads.

    Closed, everything passes. After some failures in a row it opens: nothing passes. When the
    cool-down is over it is half open: one request passes, and what becomes of it closes or opens
    the breaker. One that says nothing for ten cool-downs is taken for lost.

    Whoever passes gets a ticket, and shows it when it tells what became of it: so stragglers of
    before it opened neither keep it open for longer nor take the turn of the one that tries. That
    the cloud answered is good news from anybody.

    Args:
        settings: When it opens.
        seed: Of the jitter.
    """

    def __init__(self, settings: BreakerSettings | None = None, seed: int = 0) -> None:
        self._settings = settings or BreakerSettings()
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._state: State = "closed"
        self._ticket = 1  # of all that pass until the next one tries
        self._failures = 0
        self._until_ms = 0.0

    @property
    def state(self) -> State:
        """What it is now; one whose cool-down is over is open until a request comes."""
        return self._state

    def would_pass(self, now_ms: float) -> bool:
        """Return whether the cloud might be asked now; nobody's turn is taken."""
        with self._lock:
            return self._state == "closed" or now_ms >= self._until_ms

    def passes(self, now_ms: float) -> int | None:
        """Return a ticket where the cloud may be asked now; whoever is let through has to ask it.

        A ticket is true, and None where nobody may.
        """
        with self._lock:
            if self._state == "closed":
                return self._ticket
            if now_ms < self._until_ms:
                return None
            self._state = "half-open"
            self._ticket += 1
            self._until_ms = now_ms + _LOST_AFTER * self._cooldown_ms()
            return self._ticket

    def succeeded(self) -> None:
        """Note that the cloud answered."""
        with self._lock:
            self._state, self._failures = "closed", 0

    def failed(self, now_ms: float, ticket: int | None, retry_after_ms: float = 0.0) -> None:
        """Note that it did not.

        Args:
            now_ms: The time.
            ticket: The request's; None for one that did not have to pass.
            retry_after_ms: How long the cloud wants to be left alone. Once open, the breaker
                stays so for as long, though for no more than ten cool-downs.
        """
        with self._lock:
            if self._state == "open" or ticket not in (self._ticket, None):
                return
            if self._state == "half-open":
                opens = ticket is not None
            else:
                self._failures += 1
                opens = self._failures >= self._settings.failures
            if opens:
                self._state = "open"
                longest_ms = _LOST_AFTER * self._settings.cooldown_ms
                wanted_ms = min(retry_after_ms, longest_ms)
                self._until_ms = now_ms + max(self._cooldown_ms(), wanted_ms)

    def unasked(self, ticket: int | None) -> None:
        """Note that one who was let through did not ask after all: the next may."""
        with self._lock:
            if self._state == "half-open" and ticket == self._ticket:
                self._state, self._until_ms = "open", 0.0

    def _cooldown_ms(self) -> float:
        jitter = self._settings.jitter * (2 * self._random.random() - 1)
        return self._settings.cooldown_ms * (1 + jitter)
