"""A decision log read while it is written."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from hybridge.errors import DataError
from hybridge.plan.log import Record, open_log, parse_line


class LogFollower:
    """Returns what was added to a log since it was last asked, also where it rotated meanwhile.

    Not safe to use from several threads.

    Args:
        path: The log; it may be missing as yet.
        begin_bytes: How much of what is there already is read at the beginning, about.

    Attributes:
        unreadable: How many lines were no records.
    """

    def __init__(self, path: str | Path, begin_bytes: int = 4_000_000) -> None:
        self._path = Path(path)
        self._begin_bytes = begin_bytes
        self._file: tuple[int, int] | None = None
        self._offset = 0
        self.unreadable = 0

    def news(self) -> list[Record]:
        """Return the records of all lines that are whole by now and were not returned before.

        Raises `DataError` where the log cannot be read; one that is missing is empty.
        """
        records: list[Record] = []
        try:
            with ExitStack() as stack:
                for file, offset in self._places(open_log(self._path, stack)):
                    self._file, self._offset = _identity(file), offset
                    file.seek(offset)
                    for line in _whole_lines(file):
                        self._offset += len(line)
                        records += self._parsed(line)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise DataError(f"cannot read {self._path}: {error.strerror or error}") from error
        return records

    def _places(self, files: list[BinaryIO]) -> list[tuple[BinaryIO, int]]:
        """Return the files to read, the oldest first, and from where on."""
        known = [_identity(file) for file in files]
        sizes = [os.fstat(file.fileno()).st_size for file in files]
        if self._file in known:
            first = known.index(self._file)
            # One that was cut short is another log.
            offset = self._offset if self._offset <= sizes[first] else 0
        elif self._file is None:
            first, offset = _near_the_end(sizes, self._begin_bytes)
            offset = _next_line(files[first], offset)
        else:
            first, offset = 0, 0
        return [(file, 0 if turn else offset) for turn, file in enumerate(files[first:])]

    def _parsed(self, line: bytes) -> list[Record]:
        """Return the record of a line, unless it is empty or none; the latter is counted."""
        if line == b"\n":
            return []
        try:
            record = parse_line(line, str(self._path))
        except DataError:
            record = None
        if record is None:
            self.unreadable += 1
            return []
        return [record]


def _whole_lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines that have an end, with it; one at a time, however many there are."""
    while (line := file.readline()).endswith(b"\n"):
        yield line


def _next_line(file: BinaryIO, offset: int) -> int:
    """Return where the first line begins that begins at ``offset`` or later."""
    if offset == 0:
        return 0
    file.seek(offset - 1)
    file.readline()
    return file.tell()


def _identity(file: BinaryIO) -> tuple[int, int]:
    status = os.fstat(file.fileno())
    return status.st_dev, status.st_ino


def _near_the_end(sizes: list[int], begin_bytes: int) -> tuple[int, int]:
    """Return the file, and the place in it, from which on there are so many bytes."""
    for index in reversed(range(len(sizes))):
        if begin_bytes <= sizes[index]:
            return index, sizes[index] - begin_bytes
        begin_bytes -= sizes[index]
    return 0, 0
