"""Recorded links in CSV files: columns are found by their names, units are read from them.

- Bandwidth: a name that ends in its unit, such as ``bandwidth_mbps``, ``throughput_kbps``,
  ``Downlink (Mbit/s)`` or ``bps``; and ``app_throughput``, which is in kbit/s (the Lumos data set).
  A capital B means bytes to some and bits to others, so ``MBps`` is refused.
- Time: ``time``, ``timestamp``, ``elapsed`` or ``t``, with ``s`` or ``ms`` as their unit, seconds
  where there is none; or a unit alone (``seconds``, ``ms``).
- Or else how long each line holds: ``duration`` or ``delivery_time``, likewise.
"""

import csv
import re
from collections.abc import Sequence

import numpy as np

from hybridge.errors import DataError
from hybridge.links.lines import Lines, held
from hybridge.links.trace import Floats, Trace

_UNITS_S = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("ms", "msec", "millis", "millisecond", "milliseconds"), 1e-3),
}
_CLOCKS = {"time", "timestamp", "elapsed", "t"}
_DURATIONS = {"duration", "delivery"}
_PREFIXES = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}
_BITS_PER_SECOND = re.compile(
    r"(?:^|[^A-Za-z]|(?<=[a-z])(?=[A-Z]))([kKmMgG]?)(?:bps|bits?/s)[)\]]?$"
)
#: Columns of known data sets whose names do not tell their unit.
_KNOWN_BPS = {"app_throughput": 1e3}
_SHOWN_COLUMNS, _SHOWN_LETTERS = 12, 40


def read_columns(lines: Lines) -> Trace:
    """Return the trace of a CSV file.

    Raises `DataError` where not exactly one column holds the bandwidth and one the time, or where
    a value is none.
    """
    numbers, rows = parsed(lines)
    names, (first, *_) = rows[0], numbers
    rates = {at: unit for at, name in enumerate(names) if (unit := _bps(name)) is not None}
    clocks = {at: unit for at, name in enumerate(names) if (unit := _seconds(name)) is not None}
    rate = _only(lines, first, names, list(rates), "bandwidth", "bandwidth_mbps or throughput_kbps")
    clock = _only(lines, first, names, list(clocks), "time", "time_s, time_ms or duration_s")
    bps = column(lines, numbers, rows, rate) * rates[rate]
    times = column(lines, numbers, rows, clock)
    if _words(names[clock]) & _DURATIONS:
        return _one_after_another(lines, times * clocks[clock], bps)
    return held(lines, numbers[1:], times, bps[:, None], clocks[clock])[0]


def _one_after_another(lines: Lines, lengths_s: Floats, bps: Floats) -> Trace:
    """Return the trace of values that each hold for a length; those that hold for none are left."""
    kept = lengths_s > 0
    if not kept.any():
        raise DataError(f"{lines.path}: expected a duration of more than 0, got none")
    ends_s = np.cumsum(lengths_s[kept])
    starts_s = [0.0, *ends_s[:-1].tolist()]
    return lines.trace(starts_s, bps[kept].tolist(), float(ends_s[-1]))


def parsed(lines: Lines) -> tuple[list[int], list[list[str]]]:
    """Return the rows of the file, the names of columns first, and the numbers of their lines.

    Raises `DataError` where rows differ in length, or there are none below the names.
    """
    head = lines.rows[0][1]
    delimiter = max(",;\t", key=head.count)
    reader = csv.reader((text for _, text in lines.rows), delimiter=delimiter, strict=True)
    numbers: list[int] = []
    rows: list[list[str]] = []
    begins = 0
    try:
        for row in reader:
            numbers.append(lines.rows[begins][0])
            rows.append([cell.strip() for cell in row])
            begins = reader.line_num
    except csv.Error as error:
        at = lines.rows[begins][0]
        raise lines.fault(at, f"expected a row of a CSV file: {error}") from error
    for number, row in zip(numbers, rows, strict=True):
        if len(row) != len(rows[0]):
            raise lines.fault(
                number, f"expected {len(rows[0])} columns, as on line {numbers[0]}, got {len(row)}"
            )
    return numbers, rows


def column(lines: Lines, numbers: Sequence[int], rows: Sequence[Sequence[str]], at: int) -> Floats:
    """Return the numbers of column ``at``; raises `DataError` where there are none."""
    what = f"a number in column {rows[0][at]!r}"
    if len(rows) == 1:
        raise lines.fault(numbers[0], "expected lines of values below the names, got none")
    pairs = zip(numbers[1:], rows[1:], strict=True)
    return np.asarray([lines.number(number, row[at], what) for number, row in pairs])


def _only(
    lines: Lines, first: int, names: Sequence[str], found: Sequence[int], what: str, such: str
) -> int:
    """Return the one column that is ``found``, or raise."""
    if len(found) == 1:
        return found[0]
    if found:
        raise lines.fault(
            first,
            f"expected one column of {what}, got {', '.join(repr(names[at]) for at in found)}; "
            "keep the one that you mean",
        )
    shown = ", ".join(repr(name[:_SHOWN_LETTERS]) for name in names[:_SHOWN_COLUMNS])
    raise lines.fault(
        first,
        f"expected a column of {what} with its unit in its name, such as {such}, "
        f"got {shown}{' …' if len(names) > _SHOWN_COLUMNS else ''}; rename it",
    )


def _bps(name: str) -> float | None:
    """Return the bits per second of the unit in a column's name, or None where it has none."""
    if name in _KNOWN_BPS:
        return _KNOWN_BPS[name]
    found = _BITS_PER_SECOND.search(name.lower() if name.isupper() else name)
    return None if found is None else _PREFIXES[found[1].lower()]


def _seconds(name: str) -> float | None:
    """Return the seconds of the unit in a time column's name, or None where it is none."""
    words = _words(name)
    units = words & _UNITS_S.keys()
    if not words or len(units) > 1 or words - units - _CLOCKS - _DURATIONS:
        return None
    return _UNITS_S[units.pop()] if units else 1.0


def _words(name: str) -> set[str]:
    return set(re.findall(r"[a-z]+", name.lower()))
