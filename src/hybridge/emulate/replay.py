"""A recorded log under another policy: what it would have sent, and what that would have come to.

Every request keeps its score, its time, and what was known of the link; the policy says anew
whether it is sent. What then becomes of it is what was recorded where the choice is the same, and
what is to be expected where it is not.

Letters: ``R`` requests, ``N`` rehearsed inputs.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from hybridge.cost.device import Device
from hybridge.cost.gain import bins_by_score, gains
from hybridge.cost.operating import Bools, Floats
from hybridge.cost.reach import Query, selective_query
from hybridge.errors import ConfigError, DataError
from hybridge.plan.log import Record
from hybridge.plan.observation import Observation
from hybridge.plan.plan import Fork, Plan
from hybridge.plan.rehearsal import Rehearsal
from hybridge.walk.observer import sending_mj
from hybridge.walk.threshold import Fixed, Policy, policy_at_work


@dataclass(frozen=True, eq=False)
class Replayed:
    """What became of ``R`` requests; every array is ``(R,)``, in the order of their forks.

    Attributes:
        sent: Whether the input was sent, be the cloud asked or not.
        right: Whether the answer is right: 1 or 0 where that is known, else how likely it is.
        known: Whether it is known: the truth is, and so is what was or would be answered.
        latency_ms: From the request to its answer; NaN where nothing says how long asking takes.
        measured: Whether that was measured: where the choice is the recorded one.
        payload_bytes: Encoded bytes sent.
    """

    sent: Bools
    right: Floats
    known: Bools
    latency_ms: Floats
    measured: Bools
    payload_bytes: Floats

    def __len__(self) -> int:
        return len(self.sent)

    def summary(self) -> "ReplaySummary":
        """Return the figures of all requests together."""
        timed = not np.isnan(self.latency_ms).any()
        return ReplaySummary(
            requests=len(self),
            sent=float(self.sent.mean()),
            accuracy=float(self.right.mean()),
            accuracy_known=_mean(self.right[self.known]),
            accuracy_expected=_mean(self.right[~self.known]),
            share_known=float(self.known.mean()),
            latency_ms=float(self.latency_ms.mean()) if timed else None,
            p95_ms=float(np.quantile(self.latency_ms, 0.95)) if timed else None,
            share_measured=float(self.measured.mean()),
            payload_bytes=float(self.payload_bytes.mean()),
        )


@dataclass(frozen=True, slots=True)
class ReplaySummary:
    """The figures of a replay.

    Attributes:
        requests: How many there were.
        sent: Share that was sent.
        accuracy: Share answered right, known and expected together.
        accuracy_known: The same over those of which it is known; None where there are none.
        accuracy_expected: What is expected of the others; None where there are none.
        share_known: Share of requests of which it is known.
        latency_ms: Mean latency, or None where nothing says how long asking takes.
        p95_ms: Latency that 95 % do not exceed, or None likewise.
        share_measured: Share of requests whose latency was measured.
        payload_bytes: Mean encoded bytes sent.
    """

    requests: int
    sent: float
    accuracy: float
    accuracy_known: float | None
    accuracy_expected: float | None
    share_known: float
    latency_ms: float | None
    p95_ms: float | None
    share_measured: float
    payload_bytes: float


def _mean(values: Floats) -> float | None:
    return float(values.mean()) if len(values) else None


class Recording:
    """A log, ready to be replayed.

    Args:
        records: Of one bundle's plan, in any order.
        plan: That plan: one fork by score.
        rehearsal: Its own: what is expected of a choice that was not made.
        device: Whose energy a policy weighs.

    Raises:
        ConfigError: The plan is not one fork by score.
        PlanError: The rehearsal does not fit the plan.
        DataError: There are no records, or they are another plan's.
    """

    def __init__(
        self,
        records: Iterable[Record],
        plan: Plan,
        rehearsal: Rehearsal,
        device: Device | None = None,
    ) -> None:
        query = selective_query(plan)
        if query is None:
            raise ConfigError(
                "expected a plan with one fork by score, an answer at once for what is kept and "
                "one cloud step for what is sent; nothing else has a threshold to try policies on"
            )
        rehearsal.check_fits(plan)
        self._plan, self._rehearsal, self._device = plan, rehearsal, device
        self._records = sorted(records, key=_forked_ms)
        self._check()
        self._forecast = _Forecast(self._records, rehearsal, query)
        self._recorded_sent = np.array([each.decision.wanted for each in self._records])

    def _check(self) -> None:
        if not self._records:
            raise DataError("expected a log of one request or more, got an empty one")
        leaves = dict(self._plan.leaves())
        for record in self._records:
            decision = record.decision
            if decision.score is None or leaves.get(decision.path) != decision.leaf:
                raise DataError(
                    "the log was written with another plan than this bundle's; give the bundle "
                    "that wrote it"
                )

    def as_recorded(self) -> Replayed:
        """Return what really became of the requests."""
        return self._outcome(self._recorded_sent)

    def under(self, policy: Policy) -> Replayed:
        """Return what would have become of them under a policy.

        Raises `ConfigError` where the policy needs to know more than the rehearsal does.
        """
        return self._outcome(self._sent_by(policy))

    def _sent_by(self, policy: Policy) -> Bools:
        """Return which inputs the policy sends, in the order in which it meets them."""
        found = None if isinstance(policy, Fixed) else gains(self._plan, self._rehearsal)
        at_work = policy_at_work(policy, found, self._device)
        fork = next(each.node for each in self._plan.nodes() if isinstance(each.node, Fork))
        assert fork.chooser.kind == "score_threshold"
        payload_bytes = self._forecast.payload_bytes.round().astype(int).tolist()
        sent = np.zeros(len(self._records), bool)
        for index, record in enumerate(self._records):
            decision, threshold, now_ms = record.decision, None, _forked_ms(record)
            assert decision.score is not None
            if at_work is not None:
                extra_ms = decision.expected_ms
                extra_mj = sending_mj(self._device, extra_ms or 0.0)
                threshold = at_work.threshold(fork.chooser.threshold, extra_ms, extra_mj, now_ms)
            seen = Observation(decision.score, threshold=threshold)
            sent[index] = fork.chooser.choose(seen).child == 1
            if at_work is not None:
                at_work.decided(decision.score, bool(sent[index]), now_ms)
                if sent[index] and payload_bytes[index]:
                    at_work.spent(payload_bytes[index])
        return sent

    def _outcome(self, sent: Bools) -> Replayed:
        forecast, same = self._forecast, sent == self._recorded_sent
        decisions = [record.decision for record in self._records]
        recorded_ms = np.array([decision.latency_ms for decision in decisions])
        edge_ms = np.array([decision.edge_ms for decision in decisions])
        # Sent where it was kept: the cloud answers, if it would have been asked at all.
        asks_anew = sent & ~same & forecast.open
        from_cloud = asks_anew | (sent & same & forecast.from_cloud)
        expected = np.where(from_cloud, forecast.cloud_right, forecast.edge_right)
        truths = np.where(from_cloud, forecast.cloud_known, forecast.edge_known)
        known = ~np.isnan(truths)
        return Replayed(
            sent=sent,
            right=np.where(known, truths, expected),
            known=known,
            latency_ms=np.where(
                same, recorded_ms, edge_ms + np.where(asks_anew, forecast.asking_ms, 0.0)
            ),
            measured=same,
            payload_bytes=np.where(sent, forecast.payload_bytes, 0.0),
        )


def _forked_ms(record: Record) -> float:
    """Return when a request met its fork."""
    decision = record.decision
    return 1e3 * record.time_s - decision.latency_ms + decision.edge_ms


class _Forecast:
    """What is known and what is expected of every request, at home and sent.

    Attributes, each ``(R,)``:
        edge_known: Whether the edge's answer is right; NaN where that is not known.
        cloud_known: Whether the cloud's is.
        edge_right: How often the edge is right at such scores.
        cloud_right: How often the cloud is.
        from_cloud: Whether the cloud did answer.
        open: Whether the cloud would have been asked, had the input been sent.
        asking_ms: How long asking was expected to take.
        payload_bytes: Encoded bytes that are sent if the input is: what was recorded where it was.
    """

    def __init__(self, records: list[Record], rehearsal: Rehearsal, query: Query) -> None:
        score = np.array([record.decision.score for record in records], np.float64)

        def at_scores(values: Floats) -> Floats:
            return bins_by_score(rehearsal, values).at(score)

        edge = rehearsal.answers(query.kept) == rehearsal.truth
        cloud = rehearsal.answers(query.sent, query.codec) == rehearsal.truth
        self.edge_right, self.cloud_right = at_scores(edge), at_scores(cloud)
        self.from_cloud = np.array([record.decision.source == "cloud" for record in records])
        self.edge_known = np.array([_is_right(record, _edge_label(record)) for record in records])
        self.cloud_known = np.where(
            self.from_cloud, [_is_right(record, record.label) for record in records], np.nan
        )
        told = [
            record.decision.link_ms + record.decision.cloud_ms
            for record in records
            if record.decision.source == "cloud"
        ]
        usual_ms = float(np.mean(told)) if told else np.nan
        self.asking_ms = np.array(
            [_or(record.decision.expected_ms, usual_ms) for record in records]
        )
        self.open = np.array([_would_ask(record) for record in records])
        usual_bytes = at_scores(rehearsal.payload_bytes[query.sent, query.codec])
        self.payload_bytes = np.where(
            [record.decision.wanted for record in records],
            [record.decision.payload_bytes for record in records],
            np.where(self.open, usual_bytes, 0.0),
        )


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def _edge_label(record: Record) -> int | None:
    return record.label if record.decision.source == "edge" else record.edge_label


def _is_right(record: Record, label: int | None) -> float:
    if record.truth is None or label is None:
        return np.nan
    return float(label == record.truth)


def _would_ask(record: Record) -> bool:
    """Return whether the cloud would have been asked, by what was known at the time."""
    decision = record.decision
    if decision.breaker == "open":
        return False
    if decision.deadline_ms is None:
        return True
    left_ms = decision.deadline_ms - decision.edge_ms
    return left_ms > max(decision.expected_ms or 0.0, 0.0)
