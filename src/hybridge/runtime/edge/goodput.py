"""How fast the link is, from what the runtime sends over it anyway."""

import math
import threading

#: Weight of the newest message against all before it.
_WEIGHT = 0.3
#: Most of a message's time that may be taken for the round trip: the shortest time that was seen
#: holds the sending of a message, too.
_MOST_ROUND_TRIP = 0.5


class Goodput:
    """A passive estimate of the bandwidth: payload bits over transfer time, newer ones more.

    Of each message's time the shortest one seen is taken off, half of it at most: that is about
    the round trip, which every message pays. Nothing is sent to measure; so nothing is known
    before the first message, and nothing new while none is sent. Safe to use from several threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shortest_ms = math.inf
        self._bandwidth_bps: float | None = None

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
            self._fold(8000 * payload_bytes / transfer_ms)

    def lost(self, payload_bytes: int, waited_ms: float) -> None:
        """Note a message that was given up after ``waited_ms``: the link is no faster than that."""
        if waited_ms <= 0:
            return
        with self._lock:
            most_bps = 8000 * payload_bytes / waited_ms
            if self._bandwidth_bps is None or self._bandwidth_bps > most_bps:
                self._fold(most_bps)

    def bandwidth_bps(self, now_ms: float) -> float | None:
        """Return the estimate, whatever the time; None before the first message."""
        return self._bandwidth_bps

    def _fold(self, newest_bps: float) -> None:
        known = self._bandwidth_bps
        self._bandwidth_bps = (
            newest_bps if known is None else known + _WEIGHT * (newest_bps - known)
        )
