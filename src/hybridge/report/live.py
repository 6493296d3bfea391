"""What a live page shows: the last requests of a log, and what they come to."""

import math
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, quantiles
from typing import Any

from hybridge.plan.follow import LogFollower
from hybridge.plan.log import Record
from hybridge.report.prometheus import Scraper

#: Requests that are drawn, and over which figures are taken.
RECENT = 200
#: The log is looked at no more often.
_LEAST_GAP_S = 0.25

Plain = dict[str, Any]


@dataclass(frozen=True)
class Known:
    """What the log does not say.

    Attributes:
        class_names: Name of each class.
        threshold: The plan's own, for where no policy moves it.
    """

    class_names: Sequence[str] = ()
    threshold: float | None = None


class LiveView:
    """The state of a log, as plain data; safe to use from several threads.

    Args:
        path: The log.
        known: What it does not say.
        cloud: Reads the server's own figures, or None.
        recent: How many requests are remembered.
    """

    def __init__(
        self,
        path: Path,
        known: Known | None = None,
        cloud: Scraper | None = None,
        recent: int = RECENT,
    ) -> None:
        self._path, self._known, self._cloud = path, known or Known(), cloud
        self._follower = LogFollower(path)
        self._recent: deque[Record] = deque(maxlen=recent)
        self._seen = 0
        self._looked_s = -math.inf
        self._lock = threading.Lock()

    def state(self) -> Plain:
        """Return all that the page shows.

        Raises `DataError` where the log cannot be read.
        """
        cloud = None if self._cloud is None else self._cloud.figures()
        with self._lock:
            if time.monotonic() - self._looked_s >= _LEAST_GAP_S:
                news = self._follower.news()
                self._recent.extend(news)
                self._seen += len(news)
                self._looked_s = time.monotonic()
            records = list(self._recent)
            seen, unreadable = self._seen, self._follower.unreadable
        return {
            "log": str(self._path),
            "seen": seen,
            "unreadable": unreadable,
            "figures": figures(records, self._known),
            "requests": [self._request(record) for record in records],
            "cloud": cloud,
        }

    def _request(self, record: Record) -> Plain:
        decision = record.decision
        return {
            "time_s": _moment(record.time_s),
            "label": self._name(record.label),
            "right": None if record.truth is None else record.label == record.truth,
            "source": decision.source,
            "sent": decision.wanted,
            "reason": decision.reason,
            "score": plain_number(decision.score),
            "threshold": plain_number(_threshold(record, self._known)),
            "latency_ms": plain_number(decision.latency_ms),
            "edge_ms": plain_number(decision.edge_ms),
            "link_ms": plain_number(decision.link_ms),
            "cloud_ms": plain_number(decision.cloud_ms),
            "payload_bytes": decision.payload_bytes,
            "bandwidth_bps": plain_number(decision.bandwidth_bps),
            "breaker": decision.breaker,
            "image": record.image,
        }

    def _name(self, label: int | None) -> str | None:
        if label is None:
            return None
        names = self._known.class_names
        return names[label] if 0 <= label < len(names) else str(label)


def figures(records: Sequence[Record], known: Known) -> Plain | None:
    """Return what some requests come to; None where there are none.

    ``coverage`` is the share that was kept, ``fell_back`` the share that was sent and came home
    without an answer. ``link_ms`` and ``cloud_ms`` are means over those that were asked.
    """
    if not records:
        return None
    decisions = [record.decision for record in records]
    asked = [decision for decision in decisions if decision.asked]
    judged = [record.label == record.truth for record in records if record.truth is not None]
    latency_ms = [decision.latency_ms for decision in decisions]
    lasted_s = records[-1].time_s - records[0].time_s
    return {
        "requests": len(records),
        "last_s": _moment(records[-1].time_s),
        "per_s": (len(records) - 1) / lasted_s if lasted_s > 0 else None,
        "coverage": fmean(not decision.wanted for decision in decisions),
        "fell_back": fmean(each.wanted and each.source == "edge" for each in decisions),
        "threshold": plain_number(_threshold(records[-1], known)),
        "moved": decisions[-1].threshold is not None,
        "bandwidth_bps": _newest(decision.bandwidth_bps for decision in reversed(decisions)),
        "expected_ms": _newest(decision.expected_ms for decision in reversed(decisions)),
        "breaker": decisions[-1].breaker,
        "p50_ms": plain_number(_quantile(latency_ms, 50)),
        "p95_ms": plain_number(_quantile(latency_ms, 95)),
        "edge_ms": plain_number(fmean(decision.edge_ms for decision in decisions)),
        "link_ms": plain_number(fmean(each.link_ms for each in asked)) if asked else None,
        "cloud_ms": plain_number(fmean(each.cloud_ms for each in asked)) if asked else None,
        "payload_bytes": fmean(decision.payload_bytes for decision in decisions),
        "accuracy": fmean(judged) if judged else None,
    }


def plain_number(value: float | None) -> float | str | None:
    """Return a number as JSON can hold it: infinities by name, None for what is no number."""
    if value is None or math.isnan(value):
        return None
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def _moment(time_s: float) -> float | None:
    return time_s if math.isfinite(time_s) else None


def _threshold(record: Record, known: Known) -> float | None:
    moved = record.decision.threshold
    return known.threshold if moved is None else moved


def _newest(values: Any) -> float | str | None:
    return plain_number(next((value for value in values if value is not None), None))


def _quantile(values: list[float], percent: int) -> float:
    if len(values) == 1:
        return values[0]
    return quantiles(values, n=100, method="inclusive")[percent - 1]
