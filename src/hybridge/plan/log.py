"""The decision log: one JSON line for each request."""

import json
import logging
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from hybridge.closing import Closing
from hybridge.errors import DataError
from hybridge.plan.decision import Decision
from hybridge.plan.plan import Leaf

_logger = logging.getLogger(__name__)

_FIELDS = tuple(field.name for field in fields(Decision))


@dataclass(frozen=True, slots=True)
class Record:
    """One line of a log.

    Attributes:
        time_s: When the answer was given, in seconds since the epoch.
        label: The class that was answered, or None where no label was given.
        decision: How it came about.
    """

    time_s: float
    label: int | None
    decision: Decision


class DecisionLog(Closing):
    """Appends decisions to a file. A log that cannot be written never costs an answer.

    Args:
        path: The file; made where it is missing, with its folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        self._file: int | None = None
        self._warned = False
        self._torn = False

    def append(self, decision: Decision, time_s: float, label: int | None) -> None:
        """Write one line at once; warns once, through `logging`, where it cannot be written."""
        course: dict[str, Any] = {name: getattr(decision, name) for name in _FIELDS}
        course["leaf"] = decision.leaf.model_dump()
        data = json.dumps({"time_s": time_s, "label": label} | course).encode() + b"\n"
        with self._lock:
            try:
                self._write(data)
            except OSError as error:
                self._warn(error)

    def _write(self, data: bytes) -> None:
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        if self._torn:
            data = b"\n" + data
        self._torn = os.write(self._file, data) < len(data)
        if self._torn:
            raise OSError("the disk took only part of a line")

    def _warn(self, error: OSError) -> None:
        if not self._warned:
            _logger.warning("decision log %s cannot be written: %s", self.path, error)
        self._warned = True

    def close(self) -> None:
        """Close the file; appending opens it again."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None


def read_log(path: str | Path) -> Iterator[Record]:
    """Yield the records of a log in order; lines that were torn off while written are left out.

    Raises:
        DataError: The file cannot be read, or holds a line that is no record.
    """
    try:
        with Path(path).open("rb") as file:
            for number, line in enumerate(file, start=1):
                if (record := _parse_line(line, f"{path}, line {number}")) is not None:
                    yield record
    except OSError as error:
        raise DataError(f"cannot read decision log {path}: {error}") from error


def _parse_line(line: bytes, where: str) -> Record | None:
    try:
        line_fields = json.loads(line)
    except ValueError:
        return None
    try:
        course = {name: line_fields[name] for name in _FIELDS}
        course["path"] = tuple(course["path"])
        course["leaf"] = Leaf.model_validate(course["leaf"])
        return Record(line_fields["time_s"], line_fields["label"], Decision(**course))
    except (TypeError, KeyError, ValueError) as error:
        raise DataError(f"{where}: expected a decision, got other fields: {error}") from error
