"""How fast the link is, from what the runtime sends over it anyway."""

import math
import threading

#: What a message counts once the next one is there, and so on.
_FADES_TO = 0.7
#: Most of a message's time that may be taken for the round trip: the shortest time that was seen
#: holds the sending of a message, too.
_MOST_ROUND_TRIP = 0.5


class Goodput:
    """A passive estimate of the bandwidth: payload bits over transfer time, older ones less.

    Bits and times are added up before they are divided, so that small messages, which take a round
    trip and little else, say little.

    Of each message's time the shortest one seen is taken off, half of it at most: that is about
    the round trip, which every message pays. Nothing is sent to measure; so nothing is known
    before the first message, and nothing new while none is sent. Safe to use from several threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shortest_ms = math.inf
        self._bits = self._times_ms = 0.0

    def saw(self, payload_bytes: int, link_ms: float) -> None:
        """Note a message that was answered.

        Args:
            payload_bytes: Its encoded size.
            link_ms: From sending it to its reply, less the cloud's own time.
        """
        if link_ms <= 0 or payload_bytes <= 0:
            return  # too little to tell anything
        with self._lock:
            self._shortest_ms = min(self._shortest_ms, link_ms)
            transfer_ms = link_ms - min(self._shortest_ms, _MOST_ROUND_TRIP * link_ms)
            self._fold(payload_bytes, transfer_ms)

    def lost(self, payload_bytes: int, waited_ms: float) -> None:
        """Note a message that was given up after ``waited_ms``: the link is no faster than that."""
        if waited_ms <= 0:
            return
        with self._lock:
            if 8 * payload_bytes * self._times_ms <= self._bits * waited_ms:
                self._fold(payload_bytes, waited_ms)

    def bandwidth_bps(self, now_ms: float) -> float | None:
        """Return the estimate, whatever the time; None before the first message."""
        with self._lock:
            return 1e3 * self._bits / self._times_ms if self._times_ms else None

    def _fold(self, payload_bytes: int, transfer_ms: float) -> None:
        self._bits = _FADES_TO * self._bits + 8 * payload_bytes
        self._times_ms = _FADES_TO * self._times_ms + transfer_ms
