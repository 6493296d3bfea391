"""The lines of a recorded link, and the trace that times and values on them make."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hybridge.errors import DataError
from hybridge.links.trace import Floats, Trace

#: What is longer is no recording of a link, and would fill the memory.
_MAX_BYTES = 64 * 2**20
#: A clock beyond this counts milliseconds, even if it starts in 1970.
_MAX_CLOCK_S = 1e11
#: No link is faster; a unit must be wrong.
_MAX_BPS = 1e15
_SHOWN_LETTERS = 40


@dataclass(frozen=True)
class Lines:
    """The lines of a text file that are neither blank nor comments, which begin with ``#``.

    Attributes:
        path: The file.
        rows: Number and text of each line, the first being 1; at least one.
    """

    path: Path
    rows: tuple[tuple[int, str], ...]

    @classmethod
    def of(cls, path: Path) -> "Lines":
        """Read a file; raises `DataError` unless it is text with anything on it."""
        try:
            if path.is_dir():
                raise DataError(f"{path}: expected a file, got a folder; name a file in it")
            if path.exists() and not path.is_file():
                raise DataError(f"{path}: expected a file, got a device or pipe; copy it to a file")
            if path.stat().st_size > _MAX_BYTES:
                raise DataError(
                    f"{path}: expected at most {_MAX_BYTES >> 20} MiB of text, "
                    f"got {path.stat().st_size >> 20}; cut it"
                )
            text = path.read_bytes().decode("utf-8-sig")
        except (OSError, ValueError) as error:  # a name with a null byte is a ValueError
            if isinstance(error, UnicodeDecodeError):
                raise DataError(f"{path}: expected text, got binary data") from error
            reason = getattr(error, "strerror", None) or error
            raise DataError(f"cannot read {str(path)!r}: {reason}") from error
        if any(letter < " " and letter not in "\t\r\n\f" for letter in set(text)):
            raise DataError(f"{path}: expected text, got binary data")
        rows = tuple(
            (number, line.strip())
            for number, line in enumerate(text.split("\n"), 1)
            if line.strip() and not line.lstrip().startswith("#")
        )
        if not rows:
            raise DataError(f"{path}: expected lines of numbers, got an empty file")
        return cls(path, rows)

    def fault(self, number: int, message: str) -> DataError:
        """Return the error that says what is wrong with line ``number``."""
        return DataError(f"{self.path}, line {number}: {message}")

    def number(self, number: int, text: str, what: str) -> float:
        """Return ``text``, from line ``number``, as a finite number of 0 or more."""
        try:
            value = float(text)
        except ValueError:
            shown = text if len(text) <= _SHOWN_LETTERS else f"{text[:_SHOWN_LETTERS]}…"
            raise self.fault(number, f"expected {what}, got {shown!r}") from None
        if not 0 <= value < math.inf:
            raise self.fault(number, f"expected {what} of 0 or more, got {text}; correct the line")
        return value

    def check_clock(
        self, clock: Floats, numbers: Sequence[int] | None = None, remedy: str = ""
    ) -> None:
        """Raise `DataError` where times go back.

        Args:
            clock: ``(M,)`` times, in the file's unit.
            numbers: ``(M,)`` numbers of their lines, where they are not all of the file's.
            remedy: What else might be wrong.
        """
        back = np.flatnonzero(np.diff(clock) < 0)
        if not back.size:
            return
        at = int(back[0])
        before, number = (numbers or [number for number, _ in self.rows])[at : at + 2]
        raise self.fault(
            number,
            f"expected a time of at least {clock[at]:.15g}, as on line {before}, "
            f"got {clock[at + 1]:.15g}; sort the lines by time, "
            f"or cut the file where its clock was set back{remedy}",
        )

    def trace(self, times_s: Sequence[float], bps: Sequence[float], duration_s: float) -> Trace:
        """Return the trace; raises `DataError` where these make none."""
        fastest = max(bps)
        if fastest > _MAX_BPS:
            raise DataError(
                f"{self.path}: expected bandwidths up to {_MAX_BPS:g} bit/s, got {fastest:g}; "
                "check the unit"
            )
        try:
            return Trace(times_s, bps, duration_s)
        except ValueError as error:
            raise DataError(f"{self.path}: {error}; check its times") from error


def held(
    lines: Lines,
    numbers: Sequence[int],
    clock: Sequence[float] | Floats,
    values: Floats,
    unit_s: float,
) -> tuple[Trace, Floats]:
    """Return the trace of values that each hold until the next, and the values of its pieces.

    Args:
        lines: The file.
        numbers: ``(M,)`` numbers of the lines.
        clock: ``(M,)`` times on them, in the file's unit.
        values: ``(M, C)`` bandwidth in bits per second, and what else is recorded beside it.
        unit_s: Seconds of the file's unit of time.

    Returns:
        The trace of ``N`` pieces, and ``(N, C)``.

    Raises `DataError` where the clock goes back, or counts what can be no seconds.
    """
    times = np.asarray(clock, np.float64)
    lines.check_clock(times, numbers)
    if times[-1] * unit_s > _MAX_CLOCK_S:
        raise lines.fault(
            numbers[-1],
            f"expected a time in seconds, got {times[-1]:.15g}, which is more than 3,000 years; "
            "if it counts milliseconds, name it time_ms in a CSV file",
        )
    starts, piece, counts = np.unique(
        (times - times[0]) * unit_s, return_inverse=True, return_counts=True
    )
    merged = np.stack([np.bincount(piece, weights=column) / counts for column in values.T], axis=1)
    steps = np.diff(starts)
    last_s = float(np.median(steps)) if steps.size else 1.0
    trace = lines.trace(starts.tolist(), merged[:, 0].tolist(), float(starts[-1]) + last_s)
    return trace, merged
