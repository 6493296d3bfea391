"""When requests come: at a fixed rate, at random, or each when the one before is answered."""

import math
from dataclasses import dataclass

import numpy as np

from hybridge.cost.operating import Floats
from hybridge.errors import ConfigError

#: Requests of one replay, at most: a day at ten a second and more.
MAX_REQUESTS = 1_000_000


@dataclass(frozen=True, eq=False)
class Arrivals:
    """The times at which ``R`` requests come.

    Attributes:
        count: ``R``.
        times_ms: ``(R,)`` rising from 0 or later; None where each comes when the one before is
            answered.
    """

    count: int
    times_ms: Floats | None = None


def at_fixed_rate(per_s: float, count: int) -> Arrivals:
    """Return ``count`` requests that come ``per_s`` a second, the first at 0.

    Raises `ConfigError` where the rate is not positive or the count out of range.
    """
    _check_rate(per_s)
    _check_count(count)
    return Arrivals(count, np.arange(count, dtype=np.float64) * (1000 / per_s))


def at_random(per_s: float, count: int, seed: int) -> Arrivals:
    """Return ``count`` requests of a Poisson process, ``per_s`` a second on average.

    Args:
        per_s: Mean rate.
        count: How many requests.
        seed: Same seed, same times.

    Raises:
        ConfigError: The rate is not positive, the count out of range, or the seed negative.
    """
    _check_rate(per_s)
    _check_count(count)
    if seed < 0:
        raise ConfigError(f"expected a seed of 0 or more, got {seed}")
    gaps_ms = np.random.default_rng(seed).exponential(1000 / per_s, count)
    return Arrivals(count, np.cumsum(gaps_ms))


def back_to_back(count: int) -> Arrivals:
    """Return ``count`` requests, each of which comes when the one before is answered.

    Raises `ConfigError` where the count is out of range.
    """
    _check_count(count)
    return Arrivals(count)


def count_within(duration_s: float, per_s: float) -> int:
    """Return how many requests come within ``duration_s``, one at least.

    Raises `ConfigError` where the duration or the rate is not positive, or they are too many.
    """
    if not 0 < duration_s < math.inf:
        raise ConfigError(f"expected a duration of more than 0 seconds, got {duration_s:g}")
    _check_rate(per_s)
    count = max(1, round(min(duration_s * per_s, MAX_REQUESTS + 1.0)))
    _check_count(count)
    return count


def _check_rate(per_s: float) -> None:
    if not 0 < per_s < math.inf:
        raise ConfigError(f"expected a rate of more than 0 requests a second, got {per_s:g}")


def _check_count(count: int) -> None:
    if not 1 <= count <= MAX_REQUESTS:
        raise ConfigError(
            f"expected 1 to {MAX_REQUESTS:,} requests in one replay, got {count:,}"
            + ("; make it shorter or slower" if count > MAX_REQUESTS else "")
        )
