"""The figures of a cloud server, read where Prometheus reads them."""

import math
import queue
import re
import threading
import time
from collections.abc import Iterator
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

from hybridge.errors import ConfigError

_SAMPLE = re.compile(r"([A-Za-z_:][\w:]*)(?:\{(.*)\})?[ \t]+(\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_MOST_BYTES, _PART_BYTES = 4_000_000, 1 << 16
_WITHIN_S = 1.5


class Scraper:
    """Reads a server's ``/metrics`` now and then; safe to use from several threads.

    Args:
        url: Where they are.
        every_s: How often they are read at most.

    Raises:
        ConfigError: The address is none of HTTP.
    """

    def __init__(self, url: str, every_s: float = 2.0) -> None:
        if not _is_http(url):
            raise ConfigError(
                f"expected the address of metrics, such as http://127.0.0.1:9090/metrics, "
                f"got {url!r}"
            )
        self._url = url
        self._every_s = every_s
        self._lock = threading.Lock()
        self._read_s = -math.inf
        self._found: dict[str, Any] = {}

    def figures(self) -> dict[str, Any]:
        """Return what the server says of itself, as `digest` does, or why it says nothing.

        Keys are those of `digest`, or ``fault`` alone.
        """
        with self._lock:
            if time.monotonic() - self._read_s >= self._every_s:
                self._found = self._read()
                self._read_s = time.monotonic()
            return self._found

    def _read(self) -> dict[str, Any]:
        try:
            return digest(_fetched(self._url).decode("utf-8", "replace"))
        except (OSError, HTTPException, ValueError) as error:
            return {"fault": f"no figures: {error}"}


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:  # brackets without their like
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc)


def _fetched(url: str) -> bytes:
    """Return what is at an address; `OSError` where it has not come altogether in time.

    The limit that sockets have is for each read of many, so a thread is left behind instead.
    """
    done: queue.SimpleQueue[bytes | Exception] = queue.SimpleQueue()

    def fetch() -> None:
        ends_s = time.monotonic() + _WITHIN_S
        try:
            with urlopen(url, timeout=_WITHIN_S) as page:
                content = b""
                while len(content) < _MOST_BYTES and (part := page.read1(_PART_BYTES)):
                    content += part
                    if time.monotonic() > ends_s:
                        raise TimeoutError("timed out")
            done.put(content)
        except Exception as error:
            done.put(error)

    threading.Thread(target=fetch, name="hybridge-scraper", daemon=True).start()
    try:
        found = done.get(timeout=_WITHIN_S)
    except queue.Empty:
        raise TimeoutError("timed out") from None
    if isinstance(found, Exception):
        raise found
    return found


def digest(text: str) -> dict[str, Any]:
    """Return what a page of metrics says of a Hybridge server.

    ``answered`` and ``failed`` count requests, ``shed`` those of the failed that were refused
    because there was too much to do; ``waiting`` counts rows; ``batch_rows`` is a mean, as are
    ``queue_ms``, ``run_ms`` and ``all_ms`` of what was answered. None where nothing was counted.
    """
    sums: dict[str, float] = {}
    for name, labels, value in samples(text):
        key = name
        if name == "hybridge_requests_total":
            key = "answered" if labels.get("status") == "OK" else "failed"
        elif "part" in labels:
            key = f"{name}/{labels['part']}"
        sums[key] = sums.get(key, 0.0) + value

    def mean(name: str, part: str = "") -> float | None:
        count = sums.get(f"{name}_count{part}", 0.0)
        return sums.get(f"{name}_sum{part}", 0.0) / count if count else None

    seconds = {
        part: mean("hybridge_request_seconds", f"/{part}") for part in ("queue", "run", "all")
    }
    return {
        "answered": sums.get("answered", 0.0),
        "failed": sums.get("failed", 0.0),
        "shed": sums.get("hybridge_shed_total", 0.0),
        "waiting": sums.get("hybridge_waiting_rows", 0.0),
        "batch_rows": mean("hybridge_batch_rows"),
        **{f"{part}_ms": None if value is None else 1e3 * value for part, value in seconds.items()},
    }


def samples(text: str) -> Iterator[tuple[str, dict[str, str], float]]:
    """Yield name, labels and value of every finite sample in Prometheus' text format."""
    for line in text.splitlines():
        match = None if line.startswith("#") else _SAMPLE.match(line)
        if match is None:
            continue
        try:
            value = float(match[3])
        except ValueError:
            continue
        if math.isfinite(value):
            yield match[1], dict(_LABEL.findall(match[2] or "")), value
