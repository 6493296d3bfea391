"""How fast the link is and how long a message will take, from what is sent over it anyway."""

import math
import threading

from hybridge.links.recent import check_window_s

#: What a message counts once the next one is there, and so on.
_FADES_TO = 0.7
#: Most of a message's time that may be taken for the round trip: the shortest time that was seen
#: holds the sending of a message, too.
_MOST_ROUND_TRIP = 0.5
#: By how much a message may be slower than expected and still be believed whole. One that is so
#: much faster is believed at once: no message is faster than its link.
_MOST_SURPRISE = 4.0
#: A message that was given up would have taken longer; how much, nobody knows.
_LOST_TAKES = 1.5
#: Sizes that differ by less, relative to their mean, cannot tell bandwidth from round trip.
_LEAST_SPREAD = 0.05
#: After so long without a message, what was seen says nothing about the next one.
FORGETS_AFTER_S = 3.0


class LinkTracker:
    """A passive estimate of the link: older messages count less, outliers little.

    Nothing is sent to measure; so nothing is known before the first message. Bits and times are
    added up before they are divided, so that small messages, which take a round trip and little
    else, say little of the bandwidth. Safe to use from several threads.

    Args:
        forgets_after_s: Time without a message after which nothing is known again, so that
            somebody tries.
        tries_after_s: Time without a message after which somebody may try although too slow a
            reply is expected, and after which a message that was given up is forgotten: it may
            have been an outage. At most ``forgets_after_s``, and that where None.

    Raises `ConfigError` where either is no length of time.
    """

    def __init__(
        self, forgets_after_s: float = FORGETS_AFTER_S, tries_after_s: float | None = None
    ) -> None:
        self._lock = threading.Lock()
        self._forgets_after_ms = 1e3 * check_window_s(forgets_after_s)
        tries_after_s = forgets_after_s if tries_after_s is None else tries_after_s
        self._tries_after_ms = min(1e3 * check_window_s(tries_after_s), self._forgets_after_ms)
        self._last_try_ms = -math.inf
        self._last_lost = False
        self._last_ms = -math.inf
        self._shortest_ms = math.inf
        self._bits = self._times_ms = 0.0
        self._cloud_ms = 0.0
        self._sums = [0.0] * 5  # of 1, bytes, ms, bytes², bytes·ms; of the link alone

    def saw(self, payload_bytes: int, link_ms: float, cloud_ms: float, now_ms: float) -> None:
        """Note a message that was answered.

        Args:
            payload_bytes: Its encoded size.
            link_ms: From sending it to its reply, less the cloud's own time.
            cloud_ms: The cloud's own time.
            now_ms: When the reply came.
        """
        if link_ms <= 0 or payload_bytes <= 0:
            return  # too little to tell anything
        with self._lock:
            self._shortest_ms = min(self._shortest_ms, link_ms)
            self._forget_rate(now_ms)
            self._fold_rate(payload_bytes, self._less_round_trip(link_ms))
            known = bool(self._sums[0]) and _MOST_SURPRISE * cloud_ms >= self._cloud_ms
            self._cloud_ms += (1 - _FADES_TO if known else 1) * (cloud_ms - self._cloud_ms)
            self._fold_time(payload_bytes, link_ms, now_ms)
            self._last_lost = False

    def lost(self, payload_bytes: int, waited_ms: float, now_ms: float) -> None:
        """Note a message that was given up after ``waited_ms``: the link is no faster than that."""
        if waited_ms <= 0:
            return
        with self._lock:
            self._forget_rate(now_ms)
            if 8 * payload_bytes * self._times_ms <= self._bits * waited_ms:
                self._fold_rate(payload_bytes, waited_ms)
            expected_ms = self._link_ms(payload_bytes)
            longest_ms = max(waited_ms, expected_ms or 0.0)
            self._fold_time(payload_bytes, _LOST_TAKES * longest_ms, now_ms)
            self._last_lost = True

    def bandwidth_bps(self, now_ms: float) -> float | None:
        """Return the bandwidth in bits per second; None where no message was seen for a while."""
        with self._lock:
            known = self._times_ms and self._remembers(now_ms)
            return 1e3 * self._bits / self._times_ms if known else None

    def expected_ms(self, payload_bytes: float, now_ms: float) -> float | None:
        """Return how long a message of that size will take, reply included.

        None where no message has been seen for a while.
        """
        with self._lock:
            if not self._remembers(now_ms):
                return None
            link_ms = self._link_ms(payload_bytes)
            return None if link_ms is None else link_ms + self._cloud_ms

    def may_try(self, now_ms: float) -> bool:
        """Return whether one message may be sent that is expected to be too slow.

        True for one only, until so much time has passed again.
        """
        with self._lock:
            if now_ms - max(self._last_ms, self._last_try_ms) <= self._tries_after_ms:
                return False
            self._last_try_ms = now_ms
            return True

    def _remembers(self, now_ms: float) -> bool:
        remembers_ms = self._tries_after_ms if self._last_lost else self._forgets_after_ms
        return now_ms - self._last_ms <= remembers_ms

    def _forget_rate(self, now_ms: float) -> None:
        """Let a link that has changed meanwhile be known by its next message alone."""
        if not self._remembers(now_ms):
            self._bits = self._times_ms = 0.0

    def _less_round_trip(self, link_ms: float) -> float:
        return link_ms - min(self._shortest_ms, _MOST_ROUND_TRIP * link_ms)

    def _fold_rate(self, payload_bytes: int, transfer_ms: float) -> None:
        self._bits = _FADES_TO * self._bits + 8 * payload_bytes
        self._times_ms = _FADES_TO * self._times_ms + transfer_ms

    def _fold_time(self, payload_bytes: int, link_ms: float, now_ms: float) -> None:
        expected_ms = self._link_ms(payload_bytes)
        fresh = now_ms - self._last_ms <= self._forgets_after_ms
        if expected_ms is not None and fresh:
            link_ms = min(link_ms, _MOST_SURPRISE * expected_ms)
            fresh = _MOST_SURPRISE * link_ms >= expected_ms
        fades_to = _FADES_TO if fresh else 0.0
        news = (1.0, payload_bytes, link_ms, payload_bytes**2, payload_bytes * link_ms)
        self._sums = [fades_to * old + new for old, new in zip(self._sums, news, strict=True)]
        self._last_ms = now_ms

    def _link_ms(self, payload_bytes: float) -> float | None:
        """Return the line through what was seen, weighted by age, at a size."""
        count, sizes, times, squares, products = self._sums
        if not count:
            return None
        mean_bytes, mean_ms = sizes / count, times / count
        variance = squares / count - mean_bytes**2
        if variance > (_LEAST_SPREAD * mean_bytes) ** 2:
            slope = (products / count - mean_bytes * mean_ms) / variance
            # A line that falls, or meets nothing with less than no time, is noise.
            slope = min(max(slope, 0.0), mean_ms / mean_bytes)
        else:
            slope = self._less_round_trip(mean_ms) / mean_bytes
        return mean_ms + slope * (payload_bytes - mean_bytes)
