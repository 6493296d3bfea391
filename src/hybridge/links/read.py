"""Reading recorded links: every common format of bandwidth over time becomes a `Trace`.

What the formats have in common: a value holds from its time to the next one, the last value as
long as the median step (one second where there is no step); the clock is shifted to begin at 0;
lines of one time are merged into their mean. Blank lines do not count.

Letters: ``N`` pieces of the trace.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hybridge.errors import ConfigError
from hybridge.links.columns import read_columns
from hybridge.links.lines import Lines, held
from hybridge.links.trace import Trace, grid
from hybridge.registry import Registry

_MIN_BIN_S = 1e-3
#: A mahimahi line is an opportunity to deliver one packet of this size.
OPPORTUNITY_BITS = 1500 * 8
_COLUMNS = ("a time in seconds", "a bandwidth in Mbit/s", "a round trip in ms", "a share lost")
_OR_BYTES = "; if a line holds the bytes of one second, read it as the format 'bytes'"


@dataclass(frozen=True, slots=True)
class Recording:
    """What a file tells of a link.

    Attributes:
        trace: Bandwidth over time.
        kind: Name of the format it was read as.
        rtt_ms: ``(N,)`` round-trip times beside the pieces of the trace, or None where the file
            has none.
        loss: ``(N,)`` shares of packets lost, in [0, 1], likewise.
    """

    trace: Trace
    kind: str
    rtt_ms: tuple[float, ...] | None = None
    loss: tuple[float, ...] | None = None


def read_trace(path: Path | str, kind: str | None = None, bin_s: float = 1.0) -> Trace:
    """Return the bandwidth over time that a file holds; see `read_recording`."""
    return read_recording(path, kind, bin_s).trace


def read_recording(path: Path | str, kind: str | None = None, bin_s: float = 1.0) -> Recording:
    """Read what a file tells of a link.

    Formats, told from the first line unless ``kind`` names one:

    - ``mahimahi``: a whole number of milliseconds per line, each the time of an opportunity to
      deliver 1,500 bytes; several may share a millisecond. The trace ends, and begins again, at
      the last of them; silence before the first is an outage.
    - ``seconds``: ``seconds Mbit/s``, parted by blanks or a tab; a round-trip time (``41.0ms``)
      and a share of packets lost may follow.
    - ``csv``: named columns; see `hybridge.links.columns`.
    - ``bytes``: the bytes of one second per line. Never told from the content, which looks like
      mahimahi's.

    Args:
        path: The file.
        kind: Name of the format, or None to tell it from the content.
        bin_s: Seconds over which mahimahi's opportunities are averaged, from 0.001 on; the last
            bin is from half to one and a half as long, to reach as far as the file.

    Raises:
        DataError: The file is missing, no text, empty, or does not hold what its format wants;
            one line that names file, line and value.
        ConfigError: There is no such ``kind``, or ``bin_s`` is no length of a bin.
    """
    if not bin_s >= _MIN_BIN_S:
        raise ConfigError(f"expected a bin_s of {_MIN_BIN_S} or more seconds, got {bin_s}")
    if kind is not None:
        formats.get(kind)
    lines = Lines.of(Path(path))
    return formats.get(kind or _told(lines))(lines, bin_s)


def _told(lines: Lines) -> str:
    """Return the format that the first line speaks of."""
    number, first = lines.rows[0]
    fields = first.split()
    try:
        float(fields[0])
    except ValueError:
        return "csv"
    kind = {1: "mahimahi", 2: "seconds", 4: "seconds"}.get(len(fields))
    if kind is None:
        raise lines.fault(
            number,
            "expected one number (mahimahi), two (seconds, Mbit/s) or four (and round trip, "
            f"loss), got {len(fields)}; remove what is too much, or name the columns in a CSV file",
        )
    return kind


def _mahimahi(lines: Lines, bin_s: float) -> Recording:
    """Return the trace of opportunities to deliver a packet, averaged over bins."""
    at_ms = np.asarray([_whole(lines, number, text) for number, text in lines.rows])
    lines.check_clock(at_ms, remedy=_OR_BYTES)
    last = lines.rows[-1][0]
    if at_ms[-1] == 0:
        raise lines.fault(last, "expected opportunities (mahimahi) up to 1 ms or later, got 0 ms")
    duration_s = float(at_ms[-1]) / 1e3
    try:
        edges_s = grid(duration_s, bin_s)
    except ConfigError as error:
        raise lines.fault(last, f"{error}{_OR_BYTES}") from error
    if len(edges_s) > 2 and edges_s[-1] - edges_s[-2] < bin_s / 2:
        # A packet in a bin of a millisecond would be a peak that no link had.
        edges_s = np.delete(edges_s, -2)
    # An opportunity belongs to the bin that it begins; what lies beyond to the last.
    bins = (at_ms / round(bin_s * 1e3, 9)).astype(np.int64)
    counts = np.bincount(np.minimum(bins, len(edges_s) - 2), minlength=len(edges_s) - 1)
    bps = counts * OPPORTUNITY_BITS / np.diff(edges_s)
    return Recording(lines.trace(edges_s[:-1].tolist(), bps.tolist(), duration_s), "mahimahi")


def _whole(lines: Lines, number: int, text: str) -> float:
    what = "a whole number of milliseconds (mahimahi)"
    value = lines.number(number, text, what)
    if value != int(value):
        raise lines.fault(number, f"expected {what}, got {text}{_OR_BYTES}")
    return value


def _seconds(lines: Lines, _bin_s: float) -> Recording:
    """Return what lines of time, bandwidth and perhaps round trip and loss tell."""
    columns = len(lines.rows[0][1].split())
    rows = [_row(lines, number, text.split(), columns) for number, text in lines.rows]
    values = np.asarray([row[1:] for row in rows])
    values[:, 0] *= 1e6
    numbers = [number for number, _ in lines.rows]
    trace, values = held(lines, numbers, [row[0] for row in rows], values, 1.0)
    if columns == 2:
        return Recording(trace, "seconds")
    return Recording(trace, "seconds", tuple(values[:, 1].tolist()), tuple(values[:, 2].tolist()))


def _row(lines: Lines, number: int, fields: list[str], columns: int) -> list[float]:
    if columns not in (2, 4) or len(fields) != columns:
        wanted = columns if columns in (2, 4) else "2 or 4"
        raise lines.fault(
            number,
            f"expected {wanted} numbers (seconds, Mbit/s, and perhaps round trip and loss), "
            f"got {len(fields)}: {' '.join(fields)[:40]!r}",
        )
    row = [
        lines.number(number, field.removesuffix("ms") if at == 2 else field, what)
        for at, (field, what) in enumerate(zip(fields, _COLUMNS, strict=False))
    ]
    if columns == 4 and row[3] > 1:
        raise lines.fault(number, f"expected a share of packets lost up to 1, got {fields[3]}")
    return row


def seconds_text(trace: Trace) -> str:
    """Return ``trace`` as the format ``seconds``.

    What is read of it again is the same, to twelve digits, where the last piece is as long as the
    median one.
    """
    pieces = zip(trace.times_s, trace.bandwidth_bps, strict=True)
    return "".join(f"{time_s:.12g}\t{rate / 1e6:.12g}\n" for time_s, rate in pieces)


def _bytes(lines: Lines, _bin_s: float) -> Recording:
    """Return the trace of the bytes that crossed in each second."""
    bps = [8 * lines.number(number, text, "a number of bytes") for number, text in lines.rows]
    return Recording(lines.trace(range(len(bps)), bps, len(bps)), "bytes")


formats: Registry[Callable[[Lines, float], Recording]] = Registry("trace format")
"""What reads each format, by its name."""

formats.add("mahimahi", _mahimahi)
formats.add("seconds", _seconds)
formats.add("csv", lambda lines, _bin_s: Recording(read_columns(lines), "csv"))
formats.add("bytes", _bytes)
