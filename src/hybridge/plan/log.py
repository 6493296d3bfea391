"""The decision log: one JSON line for each request, in files that rotate."""

import json
import logging
import math
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from pydantic import TypeAdapter, ValidationError

from hybridge.closing import Closing
from hybridge.errors import ConfigError, DataError
from hybridge.plan.decision import Decision
from hybridge.plan.errands import Errands

_logger = logging.getLogger(__name__)

_FIELDS = tuple(field.name for field in fields(Decision))
_BYTES_OF_MB = 1_000_000
#: Older files are looked for no further than this; `DecisionLog` keeps no more.
MOST_KEPT = 999
#: Most lines that wait for a slow disk, and how long closing waits for them.
_MOST_WAITING = 1000
_PATIENCE_S = 5.0


@dataclass(frozen=True, slots=True)
class Record:
    """One line of a log.

    Attributes:
        time_s: When the answer was given, in seconds since the epoch.
        label: The class that was answered, or None where no label was given.
        decision: How it came about.
        edge_label: The class that the edge alone would have answered, or None where the program
            that answers there did not run, or nobody wrote it down.
        truth: The right class, where whoever asked knew it, or None.
        image: Name of the file that holds the input, small, or None.
    """

    time_s: float
    label: int | None
    decision: Decision
    edge_label: int | None = None
    truth: int | None = None
    image: str | None = None


_RECORD = TypeAdapter(Record)


class DecisionLog(Closing):
    """Appends decisions to a file. A log that cannot be written never costs an answer.

    Nor does a slow disk, for whoever answers appends through `soon`: on a thread of the log's own.
    Where too many lines wait, more are lost, with a warning.

    A file that would become too large is renamed ``NAME.1``, what was ``NAME.1`` becomes
    ``NAME.2``, and so on; the oldest is given up. Safe to use from several threads.

    Args:
        path: The file; made where it is missing, with its folder.
        max_mb: Megabytes (of 1,000,000 bytes) that a file may hold; None lets it grow.
        keep: How many older files are kept.

    Raises:
        ConfigError: ``max_mb`` is not positive, or ``keep`` not from 1 to `MOST_KEPT`.
    """

    def __init__(self, path: str | Path, max_mb: float | None = None, keep: int = 5) -> None:
        if max_mb is not None and not 0 < max_mb < math.inf:
            raise ConfigError(f"expected a log of more than 0 megabytes, got max_mb={max_mb:g}")
        if not 1 <= keep <= MOST_KEPT:
            raise ConfigError(f"expected to keep 1 to {MOST_KEPT} older logs, got keep={keep}")
        self.path = Path(path)
        self._max_bytes = None if max_mb is None else max_mb * _BYTES_OF_MB
        self._keep = keep
        self._lock = threading.Lock()
        self._file: int | None = None
        self._warned = False
        self._torn = False
        self._errands = Errands(_MOST_WAITING, _PATIENCE_S)
        self._is_behind = False

    def soon(self, write: Callable[[], None]) -> None:
        """Have ``write``, which appends, called on another thread, one after another in order.

        Warns through `logging` where so much waits already that it will not be called, and once
        more only after nothing waited any longer.
        """
        if not self._errands.waiting:
            self._is_behind = False
        if self._errands.add(write):
            return
        if not self._is_behind:
            _logger.warning("decision log %s is too slow: lines are lost", self.path)
        self._is_behind = True

    def flush(self) -> bool:
        """Wait for what `soon` was given; returns whether all of it is done.

        What is not after five seconds is given up, with a warning.
        """
        given_up = self._errands.finish()
        if given_up:
            _logger.warning("decision log %s is too slow: %d lines are lost", self.path, given_up)
        return not given_up

    def append(
        self,
        decision: Decision,
        time_s: float,
        label: int | None,
        *,
        edge_label: int | None = None,
        truth: int | None = None,
        image: str | None = None,
    ) -> None:
        """Write one line at once; warns through `logging` when it first cannot be written.

        Once it could be written again, the next failure is warned of anew. Nor can a line be
        written that holds what JSON does not know; NumPy's numbers are written as numbers.

        The arguments are those of `Record`.
        """
        course: dict[str, Any] = {name: getattr(decision, name) for name in _FIELDS}
        course["leaf"] = decision.leaf.model_dump()
        line = {"time_s": time_s, "label": label} | course
        line |= {"edge_label": edge_label, "truth": truth, "image": image}
        with self._lock:
            try:
                self._write(json.dumps(line, default=_plain).encode() + b"\n")
                self._warned = False
            except (OSError, TypeError, ValueError) as error:
                self._warn(error)

    def _write(self, data: bytes) -> None:
        if self._file is None:
            self._open()
        assert self._file is not None
        if self._max_bytes is not None:
            self._make_room(len(data))
        if self._torn:
            data = b"\n" + data
        self._torn = os.write(self._file, data) < len(data)
        if self._torn:
            raise OSError("the disk took only part of a line")

    def _open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)

    def _make_room(self, more_bytes: int) -> None:
        """Begin a new file where this one would become too large."""
        assert self._file is not None
        assert self._max_bytes is not None
        mine = os.fstat(self._file)
        if mine.st_size == 0 or mine.st_size + more_bytes <= self._max_bytes:
            return
        # Another process that writes the same log may have renamed the file already.
        try:
            is_newest = os.path.samestat(mine, self.path.stat())
        except FileNotFoundError:
            is_newest = False
        if is_newest:
            self._rotate()
        os.close(self._file)
        self._file, self._torn = None, False
        self._open()

    def _rotate(self) -> None:
        for age in range(self._keep, 0, -1):
            younger = _aged(self.path, age - 1)
            if younger.exists():
                younger.replace(_aged(self.path, age))

    def _warn(self, error: Exception) -> None:
        if not self._warned:
            _logger.warning("decision log %s cannot be written: %s", self.path, error)
        self._warned = True

    def close(self) -> None:
        """Write what waits as `flush` does, and close the file; appending opens it again."""
        all_done = self.flush()
        self._errands.close()
        if not all_done:  # the thread that hangs has the file
            return
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None


def _plain(value: object) -> object:
    """Return NumPy's number as Python's; raises `TypeError` for what else JSON does not know."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r} cannot be written as JSON")


def _aged(path: Path, age: int) -> Path:
    return path.with_name(f"{path.name}.{age}") if age else path


def open_log(path: str | Path, stack: ExitStack) -> list[BinaryIO]:
    """Return the open files of a log, the oldest first, as they were at one moment.

    Args:
        path: The newest file; it may be missing while older ones are there.
        stack: Closes them.

    Raises:
        OSError: There is no such file, or one cannot be read.
    """
    found: list[BinaryIO] = []
    seen = set()
    # The newest first: a file that is renamed meanwhile is met again, and none is missed.
    for age in range(MOST_KEPT + 1):
        try:
            file = stack.enter_context(_aged(Path(path), age).open("rb"))
        except FileNotFoundError:
            if age:
                break
            continue
        identity = os.fstat(file.fileno())
        if (identity.st_dev, identity.st_ino) not in seen:
            seen.add((identity.st_dev, identity.st_ino))
            found.append(file)
    if not found:
        raise FileNotFoundError(2, "there is no such file", str(path))
    return found[::-1]


def read_log(path: str | Path) -> Iterator[Record]:
    """Yield the records of a log in order, those of files that were rotated away first.

    Lines that were torn off while written are left out.

    Raises:
        DataError: The file cannot be read, or holds a line that is no record.
    """
    try:
        with ExitStack() as stack:
            for file in open_log(path, stack):
                for number, line in enumerate(file, start=1):
                    if (record := parse_line(line, f"{file.name}, line {number}")) is not None:
                        yield record
    except OSError as error:
        raise DataError(f"cannot read decision log {path}: {error.strerror or error}") from error


def parse_line(line: bytes, where: str) -> Record | None:
    """Return the record in a line; None where the line is torn.

    Raises `DataError`, which names ``where``, for a whole line that holds something else.
    """
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        return None
    try:
        # What a decision says stands beside the rest.
        return _RECORD.validate_python({**content, "decision": content})
    except ValidationError as error:
        first = error.errors()[0]
        fault = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    except TypeError:
        fault = f"got {type(content).__name__}"
    raise DataError(f"{where}: expected a decision, got other fields: {fault}")
