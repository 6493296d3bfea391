"""What happens to a server, as events: one line of JSON each, or one line of text.

An event has a name and plain fields. None holds what clients sent, a token or a key: a request is
told of by its program, its status and its times.
"""

import json
import logging
import sys
import time
from typing import Any, TextIO

from hybridge.runtime.cloud.listener import Outcome

_log = logging.getLogger("hybridge.cloud")

#: Events of one kind are written at most this often; those between are counted.
_EVERY_S = 1.0


def tell(event: str, *, level: int = logging.INFO, **fields: Any) -> None:
    """Write down an event.

    Args:
        event: Its name, in one word.
        level: How grave it is, as `logging` has it.
        fields: Plain data that belong to it.
    """
    words = ", ".join(f"{name} {value}" for name, value in fields.items())
    text = f"{event}: {words}" if words else event
    _log.log(level, "%s", text, extra={"event": event, "fields": fields})


class JsonLines(logging.Formatter):
    """One line of JSON for each record: ``time_s``, ``level``, ``event`` and its fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; what is logged elsewhere in hybridge is an event ``log``."""
        line: dict[str, Any] = {
            "time_s": round(record.created, 3),
            "level": record.levelname.lower(),
            "event": getattr(record, "event", "log"),
        }
        if line["event"] == "log":
            line["text"] = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            line["error"] = f"{type(error).__name__}: {error}"
        line.update(getattr(record, "fields", {}))
        return json.dumps(line, default=str)


def log_as_json(stream: TextIO | None = None) -> None:
    """Write everything that hybridge logs as lines of JSON, on standard error unless told."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("hybridge")
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(logging.INFO)


class Journal:
    """Writes down requests that were refused, failed or took long.

    A flood of refusals is no flood of lines: one a second for each program and status, with the
    number of those since the last.

    Args:
        slow_ms: How long a request may take before it is told of.
    """

    def __init__(self, slow_ms: float = 1000.0) -> None:
        self._slow_ms = slow_ms
        self._told_s: dict[tuple[str, ...], float] = {}
        self._held_back: dict[tuple[str, ...], int] = {}

    def on_outcome(self, outcome: Outcome) -> None:
        """Write down a request, unless it went well."""
        program = "" if outcome.program is None else outcome.program.name
        if outcome.status not in ("OK", "CANCELLED"):
            self._tell_sometimes("refused", program, status=outcome.status)
        elif outcome.cloud_ms > self._slow_ms:
            self._tell_sometimes(
                "slow",
                program,
                status=outcome.status,
                rows=outcome.rows,
                cloud_ms=round(outcome.cloud_ms, 1),
                queue_ms=round(outcome.queue_ms, 1),
                run_ms=round(outcome.run_ms, 1),
            )

    def on_batch(self, program: object, rows: int) -> None:
        """Batches are counted elsewhere."""

    def _tell_sometimes(self, event: str, program: str, *, status: str, **fields: Any) -> None:
        key = (event, program, status)
        now_s = time.monotonic()
        if now_s - self._told_s.get(key, -_EVERY_S) < _EVERY_S:
            self._held_back[key] = self._held_back.get(key, 0) + 1
            return
        self._told_s[key] = now_s
        count = 1 + self._held_back.pop(key, 0)
        tell(event, program=program, status=status, count=count, **fields)
