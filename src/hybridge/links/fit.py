"""Fitting a link to measured transfers: ``T = f(S|W) + S / W + RTT`` (model tree, eq. 6).

Letters: ``M`` measured transfers.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from hybridge.errors import DataError
from hybridge.links.columns import column, parsed
from hybridge.links.lines import Lines
from hybridge.links.link import Link
from hybridge.links.trace import Floats

_MS_PER_BYTE = 8000.0  # times one over bits per second
_FASTEST_BPS = 1e15  # no link is faster


@dataclass(frozen=True, slots=True)
class FitErrors:
    """How far a link's transfers are from measured ones.

    Attributes:
        mean_share: Mean of the errors, each as a share of what was measured, regardless of sign.
        worst_share: The largest of them.
        bias_share: Their mean with the sign: above 0 where the link says too much.
        r_squared: Share of the variance that is explained; None where all took equally long.
    """

    mean_share: float
    worst_share: float
    bias_share: float
    r_squared: float | None


@dataclass(frozen=True, slots=True)
class Transfers:
    """Measured transfers.

    Attributes:
        payload_bytes: ``(M,)`` encoded sizes.
        transfer_ms: ``(M,)`` what they took, round trip included.
        bandwidth_bps: ``(M,)`` bandwidth at the time, or None where it was not written down.
    """

    payload_bytes: Floats
    transfer_ms: Floats
    bandwidth_bps: Floats | None


def read_transfers(path: Path) -> Transfers:
    """Return what a CSV file with named columns tells of transfers.

    Columns are ``payload_bytes``, ``transfer_ms`` and perhaps ``bandwidth_mbps``; others do not
    count. Raises `DataError` where the file cannot be read or one of the first two is missing.
    """
    lines = Lines.of(path)
    numbers, rows = parsed(lines)
    for name in ("payload_bytes", "transfer_ms"):
        if name not in rows[0]:
            raise lines.fault(
                numbers[0],
                f"expected columns payload_bytes, transfer_ms and perhaps bandwidth_mbps, "
                f"got no {name}; rename one",
            )

    def named(name: str) -> Floats:
        return column(lines, numbers, rows, rows[0].index(name))

    known = "bandwidth_mbps" in rows[0]
    return Transfers(
        named("payload_bytes"),
        named("transfer_ms"),
        named("bandwidth_mbps") * 1e6 if known else None,
    )


def fit_link(
    payload_bytes: ArrayLike,
    transfer_ms: ArrayLike,
    bandwidth_bps: ArrayLike | None = None,
    rtt_ms: float = 0.0,
) -> Link:
    """Return the link whose transfers come nearest to measured ones.

    ``f(S|W)`` is ``message_ms + byte_ms * S``, neither negative. Nearest is by squared errors as
    shares of what was measured, so that short transfers count as much as long ones.

    Where the bandwidth is not known, it is fitted instead of ``byte_ms``, which is then 0: from
    transfers alone, the two cannot be told apart.

    Args:
        payload_bytes: ``(M,)`` encoded sizes ``S``.
        transfer_ms: ``(M,)`` what they took, round trip included.
        bandwidth_bps: ``W`` at the time: one number, or ``(M,)``, of which the link gets the
            median; None where it is not known.
        rtt_ms: Round-trip time that ``transfer_ms`` contains.

    Raises:
        DataError: Too few transfers, or numbers that no transfers have; says which.
    """
    sizes, took_ms = _checked(payload_bytes, transfer_ms, rtt_ms)
    if bandwidth_bps is None:
        message_ms, byte_ms = _nonnegative_line(sizes, took_ms - rtt_ms, took_ms)
        if byte_ms < _MS_PER_BYTE / _FASTEST_BPS:
            raise DataError(
                "expected larger transfers to take longer, got none that do; measure larger ones, "
                "or give the bandwidth"
            )
        link = Link(_MS_PER_BYTE / byte_ms, rtt_ms, _source(sizes, "bandwidth"), message_ms)
        return _with_errors(link, sizes, took_ms, None)
    rates = np.broadcast_to(np.asarray(bandwidth_bps, np.float64), sizes.shape)
    if not ((rates > 0) & np.isfinite(rates)).all():
        raise DataError("expected bandwidths of more than 0 bit/s, got one that is not")
    beyond_ms = took_ms - rtt_ms - _MS_PER_BYTE * sizes / rates
    message_ms, byte_ms = _nonnegative_line(sizes, beyond_ms, took_ms)
    link = Link(float(np.median(rates)), rtt_ms, _source(sizes, "f(S|W)"), message_ms, byte_ms)
    return _with_errors(link, sizes, took_ms, rates)


def fit_errors(
    link: Link,
    payload_bytes: ArrayLike,
    transfer_ms: ArrayLike,
    bandwidth_bps: ArrayLike | None = None,
) -> FitErrors:
    """Return how far ``link`` is from measured transfers, of those it was fitted to or of others.

    Args:
        link: The link.
        payload_bytes: ``(M,)`` encoded sizes.
        transfer_ms: ``(M,)`` what they took, round trip included.
        bandwidth_bps: Bandwidth at the time: one number, or ``(M,)``; the link's where None.
    """
    sizes, took_ms = np.asarray(payload_bytes, np.float64), np.asarray(transfer_ms, np.float64)
    rates = link.bandwidth_bps if bandwidth_bps is None else np.asarray(bandwidth_bps, np.float64)
    said_ms = link.rtt_ms + link.message_ms + sizes * (link.byte_ms + _MS_PER_BYTE / rates)
    shares = (said_ms - took_ms) / took_ms
    variance = float(np.var(took_ms))
    return FitErrors(
        mean_share=float(np.abs(shares).mean()),
        worst_share=float(np.abs(shares).max()),
        bias_share=float(shares.mean()),
        r_squared=1 - float(np.mean((said_ms - took_ms) ** 2)) / variance if variance else None,
    )


def _checked(
    payload_bytes: ArrayLike, transfer_ms: ArrayLike, rtt_ms: float
) -> tuple[Floats, Floats]:
    sizes, took_ms = np.asarray(payload_bytes, np.float64), np.asarray(transfer_ms, np.float64)
    if sizes.shape != took_ms.shape or sizes.ndim != 1:
        raise DataError(
            f"expected one time for each size, got {sizes.shape} sizes and {took_ms.shape} times"
        )
    if not ((sizes >= 0) & np.isfinite(sizes)).all():
        raise DataError("expected sizes of 0 bytes or more, got one that is not")
    if not ((took_ms > 0) & np.isfinite(took_ms)).all():
        raise DataError("expected transfers of more than 0 ms, got one that is not")
    if len(np.unique(sizes)) < 2:
        raise DataError(
            f"expected transfers of at least two sizes, got {len(np.unique(sizes))}; "
            "measure small and large ones"
        )
    if not 0 <= rtt_ms < np.inf:
        raise DataError(f"expected a round trip of 0 ms or more, got {rtt_ms:g}")
    return sizes, took_ms


def _nonnegative_line(sizes: Floats, value_ms: Floats, scale_ms: Floats) -> tuple[float, float]:
    """Return the constant and the slope, neither negative, that fit best.

    Exactly, as there are but four cases: both free, either alone, none.

    Args:
        sizes: ``(M,)``.
        value_ms: ``(M,)`` what is fitted.
        scale_ms: ``(M,)`` what errors are shares of.
    """
    columns, target = np.stack([1 / scale_ms, sizes / scale_ms], axis=1), value_ms / scale_ms
    both = np.linalg.lstsq(columns, target, rcond=None)[0]
    if (both >= 0).all():
        return float(both[0]), float(both[1])
    alone = [max(0.0, float(each @ target) / float(each @ each)) for each in columns.T]
    constant, slope = (alone[0], 0.0), (0.0, alone[1])
    return min(constant, slope, key=lambda found: float(np.sum((columns @ found - target) ** 2)))


def _source(sizes: Floats, what: str) -> str:
    return f"{what} fitted to {len(sizes)} transfers of {sizes.min():,.0f} to {sizes.max():,.0f} B"


def _with_errors(link: Link, sizes: Floats, took_ms: Floats, rates: Floats | None) -> Link:
    errors = fit_errors(link, sizes, took_ms, rates)
    explained = "" if errors.r_squared is None else f", R² {errors.r_squared:.4f}"
    told = f"{link.provenance}, mean error {100 * errors.mean_share:.1f} %{explained}"
    return replace(link, provenance=told)
