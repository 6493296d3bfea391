"""Policies of the threshold: what a router's score has to exceed for an input to be sent.

A policy sees scores, prices and time as they come, and says the threshold of the next input.
"""

import math
import re
import threading
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Sequence
from typing import Annotated, Literal, Protocol

from pydantic import Field

from hybridge.cost.device import Device
from hybridge.cost.gain import Gains
from hybridge.errors import ConfigError
from hybridge.plan.tensors import Frozen

_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_HOUR_MS = 3.6e6


class Fixed(Frozen):
    """The plan's own threshold, whatever comes."""

    kind: Literal["fixed"] = "fixed"


class Coverage(Frozen):
    """Keeps a share of inputs on the edge, however the inputs drift.

    Attributes:
        coverage: Share that is kept.
    """

    kind: Literal["coverage"] = "coverage"
    coverage: Annotated[float, Field(ge=0, le=1)]


class WorthIt(Frozen):
    """Sends while the accuracy that is expected to be gained is worth what sending costs now.

    Attributes:
        ms_per_point: Milliseconds that one percentage point of accuracy is worth.
        mj_per_point: Millijoules of the device's that it is worth.
    """

    kind: Literal["cost"] = "cost"
    ms_per_point: _Positive | None = None
    mj_per_point: _Positive | None = None

    def points(self, extra_ms: float, extra_mj: float) -> float:
        """Return how many points sending has to gain where it costs so much more."""
        wanted = 0.0
        if self.ms_per_point is not None:
            wanted += extra_ms / self.ms_per_point
        if self.mj_per_point is not None:
            wanted += extra_mj / self.mj_per_point
        return wanted


class Budget(Frozen):
    """Sends no more than so much an hour, spread over the hardest inputs.

    Attributes:
        queries_per_hour: Inputs.
        bytes_per_hour: Encoded bytes.
    """

    kind: Literal["budget"] = "budget"
    queries_per_hour: _Positive | None = None
    bytes_per_hour: _Positive | None = None


Policy = Annotated[Fixed | Coverage | WorthIt | Budget, Field(discriminator="kind")]

_FORMS = "fixed, coverage:0.7, cost:20ms, cost:5mJ, budget:1000 (queries an hour) or budget:5MB"
_BYTES = {"B": 1.0, "KB": 1e3, "MB": 1e6, "GB": 1e9}


def parse_policy(text: str) -> Policy:
    """Read a policy as the command line has it.

    ``fixed``, ``coverage:0.7``, ``cost:20ms`` or ``cost:5mJ`` (what one point of accuracy is
    worth), ``budget:1000`` (queries an hour) or ``budget:5MB`` (bytes an hour).

    Raises:
        ConfigError: It is none of these.
    """
    found = re.fullmatch(r"(fixed|coverage|cost|budget)(?::([0-9.eE+-]+)([A-Za-z]*))?", text)
    if found is None:
        raise ConfigError(f"expected a policy such as {_FORMS}, got {text!r}")
    kind, number, unit = found.groups()
    if kind == "fixed" and number is None:
        return Fixed()
    try:
        value = float(number)
        match kind, unit.lower():
            case "coverage", "":
                return Coverage(coverage=value)
            case "cost", "ms":
                return WorthIt(ms_per_point=value)
            case "cost", "mj":
                return WorthIt(mj_per_point=value)
            case "budget", "":
                return Budget(queries_per_hour=value)
            case "budget", _ if unit.upper() in _BYTES:
                return Budget(bytes_per_hour=value * _BYTES[unit.upper()])
    except (TypeError, ValueError):
        pass
    raise ConfigError(f"expected a policy such as {_FORMS}, got {text!r}")


class ThresholdPolicy(Protocol):
    """A policy at work. Safe to use from several threads."""

    def threshold(
        self, own: float, extra_ms: float | None, extra_mj: float, now_ms: float
    ) -> float:
        """Return the threshold of the next input.

        Args:
            own: The plan's own.
            extra_ms: What sending is expected to take beyond keeping; None where nobody knows.
            extra_mj: What it is expected to draw.
            now_ms: The time.
        """

    def decided(self, score: float, sent: bool, now_ms: float) -> None:
        """Note an input's score, and whether it was to be sent."""

    def spent(self, payload_bytes: int) -> None:
        """Note a message that was sent."""


def policy_at_work(
    policy: Policy, found: Gains | None, device: Device | None = None
) -> ThresholdPolicy | None:
    """Return a policy ready to follow inputs; None for the plan's own threshold.

    Args:
        policy: Which.
        found: What sending gains, and how scores lie, by calibration. Only `WorthIt` cannot do
            without; the others then begin with the plan's own threshold.
        device: Whose energy is weighed.

    Raises:
        ConfigError: The policy needs gains, or a device whose power is known, and there is none.
    """
    scores = () if found is None else found.scores
    match policy:
        case Coverage():
            return HoldsCoverage(policy.coverage, scores)
        case WorthIt():
            if found is None:
                raise ConfigError(
                    "a policy by cost needs to know what sending gains; give a bundle with its "
                    "rehearsal"
                )
            if policy.mj_per_point is not None and (device is None or device.power is None):
                raise ConfigError(
                    "a policy by energy needs a device whose power is known, got "
                    + ("none" if device is None else f"{device.name!r}")
                    + "; name one, as device= or with --device, or weigh milliseconds"
                )
            return WeighsCost(policy, found)
        case Budget():
            return SpendsBudget(policy, scores)
        case _:
            return None


class RecentScores:
    """The scores of the last inputs, sorted.

    Args:
        scores: To begin with, such as those of calibration; evenly thinned out.
        size: Most that are kept.
    """

    def __init__(self, scores: Sequence[float] = (), size: int = 256) -> None:
        step = max(len(scores) / size, 1.0)
        thinned = [sorted(scores)[int(turn * step)] for turn in range(min(len(scores), size))]
        # Oldest first: what comes out first is spread over all of them.
        self._order = deque(thinned[0::2] + thinned[1::2])
        self._sorted = sorted(thinned)
        self._size = size

    def __len__(self) -> int:
        return len(self._sorted)

    def add(self, score: float) -> None:
        """Take in a score in place of the oldest; one that is no number says nothing."""
        if math.isnan(score):
            return
        if len(self._order) == self._size:
            del self._sorted[bisect_left(self._sorted, self._order.popleft())]
        self._order.append(score)
        insort(self._sorted, score)

    def quantile(self, level: float) -> float:
        """Return the score that a share ``level`` lies at or below; infinite at the ends."""
        if level <= 0:
            return -math.inf
        if level >= 1:
            return math.inf
        return self._sorted[min(math.ceil(level * len(self._sorted)) - 1, len(self._sorted) - 1)]


#: Fewer scores than this say too little of how the next ones lie.
_LEAST_SCORES = 16
#: Inputs over which a coverage that went astray is brought back.
_CORRECTS_WITHIN = 50


class HoldsCoverage:
    """The quantile of recent scores, moved by what went astray so far."""

    def __init__(self, coverage: float, scores: Sequence[float] = ()) -> None:
        self._coverage = coverage
        self._recent = RecentScores(scores)
        self._owed = 0.0  # inputs that should have been kept and were not
        self._lock = threading.Lock()

    def threshold(
        self, own: float, extra_ms: float | None, extra_mj: float, now_ms: float
    ) -> float:
        """Return the threshold that is expected to keep the share."""
        with self._lock:
            if len(self._recent) < _LEAST_SCORES:
                return own
            return self._recent.quantile(self._coverage + self._owed / _CORRECTS_WITHIN)

    def decided(self, score: float, sent: bool, now_ms: float) -> None:
        """Take in a score, and whether the input was kept."""
        with self._lock:
            self._recent.add(score)
            owed = self._owed + self._coverage - (not sent)
            # What a long outage of the threshold owes is not paid back without end.
            self._owed = min(max(owed, -_CORRECTS_WITHIN), _CORRECTS_WITHIN)

    def spent(self, payload_bytes: int) -> None:
        """Bytes do not matter here."""


class WeighsCost:
    """The score from which on the gain that calibration saw is worth the cost of now."""

    def __init__(self, policy: WorthIt, found: Gains) -> None:
        self._policy, self._gains = policy, found

    def threshold(
        self, own: float, extra_ms: float | None, extra_mj: float, now_ms: float
    ) -> float:
        """Return the threshold at these prices; the plan's own where they are not known."""
        if extra_ms is None:
            return own
        return self._gains.threshold(self._policy.points(extra_ms, extra_mj))

    def decided(self, score: float, sent: bool, now_ms: float) -> None:
        """Nothing is remembered."""

    def spent(self, payload_bytes: int) -> None:
        """Nothing is remembered."""


#: Tokens that may be saved up: so much time of refilling, and no less than so many messages.
_SAVES_MS = _HOUR_MS / 12
_SAVES_MESSAGES = 2.0
_FADES_TO = 0.98
#: Scores that a budget remembers: what one in so many has can still be told apart.
_BUDGET_SCORES = 1024


class SpendsBudget:
    """A bucket of tokens, and the quantile of recent scores that spends them as they come.

    What is sent is paid for once it was: what nobody could be asked for costs nothing. A message
    may cost more than there is; nothing is sent then until the debt is paid.
    """

    def __init__(self, policy: Budget, scores: Sequence[float] = ()) -> None:
        buckets = [
            each for each in (policy.queries_per_hour, policy.bytes_per_hour) if each is not None
        ]
        if len(buckets) != 1:
            raise ConfigError("a budget is queries_per_hour or bytes_per_hour; give one of them")
        self._counts_bytes = policy.bytes_per_hour is not None
        self._per_ms = buckets[0] / _HOUR_MS
        self._tokens = max(self._per_ms * _SAVES_MS, 1.0)
        # Tokens of a message, as they were of late; of bytes nobody knows before the first.
        self._costs = None if self._counts_bytes else 1.0
        self._credit = 0.0  # messages that should have been sent and were not
        self._gap_ms: float | None = None
        self._last_ms: float | None = None
        self._recent = RecentScores(scores, _BUDGET_SCORES)
        self._lock = threading.Lock()

    def threshold(
        self, own: float, extra_ms: float | None, extra_mj: float, now_ms: float
    ) -> float:
        """Return the threshold that spends about what comes in; infinity where nothing is left."""
        with self._lock:
            self._refill(now_ms)
            if self._tokens < (self._costs or 1.0):
                return math.inf
            if self._costs is None or len(self._recent) < _LEAST_SCORES or not self._gap_ms:
                return own
            # Twice what comes in while the bucket is full, nothing once it is empty.
            rate = 2 * self._per_ms * self._tokens / self._most
            share = min(rate * self._gap_ms / self._costs, 1.0)
            self._credit = min(self._credit + share, 1.0)
            threshold = self._recent.quantile(1 - share)
            # Many inputs may share the score of the quantile: one of them goes when it is due.
            return math.nextafter(threshold, -math.inf) if self._credit >= 1 else threshold

    def decided(self, score: float, sent: bool, now_ms: float) -> None:
        """Take in a score, and whether the input was to be sent."""
        with self._lock:
            self._recent.add(score)
            if sent:
                self._credit = max(self._credit - 1, -1.0)

    def spent(self, payload_bytes: int) -> None:
        """Pay for a message."""
        with self._lock:
            if not self._counts_bytes:
                self._tokens -= 1
                return
            self._tokens -= payload_bytes
            before = payload_bytes if self._costs is None else self._costs
            self._costs = max(0.9 * before + 0.1 * payload_bytes, 1.0)

    @property
    def _most(self) -> float:
        return max(self._per_ms * _SAVES_MS, _SAVES_MESSAGES * (self._costs or 1.0))

    def _refill(self, now_ms: float) -> None:
        if self._last_ms is not None:
            gap_ms = max(now_ms - self._last_ms, 0.0)
            self._tokens = min(self._tokens + self._per_ms * gap_ms, self._most)
            older = gap_ms if self._gap_ms is None else self._gap_ms
            self._gap_ms = _FADES_TO * older + (1 - _FADES_TO) * gap_ms
        self._last_ms = now_ms
