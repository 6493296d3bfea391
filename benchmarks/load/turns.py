"""What turns of a few seconds came to, and how they compare round by round."""

import statistics
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Turn:
    """What a server, or the bare session, did in one turn.

    Attributes:
        who: Its name.
        rows: Rows of a request, or of a batch.
        seconds: How long it took.
        requests: Requests that were answered in that time.
        server_ms: Processor time of the server for a request.
        client_ms: Processor time of the clients for a request.
        median_ms: What a request took, at the median.
        p99_ms: What one in a hundred exceeded.
    """

    who: str
    rows: int
    seconds: float
    requests: int
    server_ms: float
    client_ms: float = 0.0
    median_ms: float = 0.0
    p99_ms: float = 0.0

    @property
    def rows_per_s(self) -> float:
        """Rows computed in a second."""
        return self.requests * self.rows / self.seconds


@dataclass(frozen=True)
class Standing:
    """Where one stands after all rounds: medians.

    Attributes:
        who: Its name.
        rows: Rows of a request, or of a batch.
        requests_per_s: Requests that were answered in a second.
        rows_per_s: Rows of those.
        of_bare: Rows in a second, of those of the bare session at its best batch in that round.
        of_bare_by_cpu: The same for rows in a second of processor time, the server's alone.
        to_ours: Rows in a second, of those of our server in that round.
        server_ms: Processor time of the server for a request.
        client_ms: Processor time of the clients for a request.
        median_ms: What a request took.
        p99_ms: What one in a hundred exceeded.
    """

    who: str
    rows: int
    requests_per_s: float
    rows_per_s: float
    of_bare: float
    of_bare_by_cpu: float
    to_ours: float | None
    server_ms: float
    client_ms: float
    median_ms: float
    p99_ms: float


BARE, OURS = "bare session", "hybridge"


class Turns:
    """Turns of all, by who and rows; the first of each belong to one round, and so on."""

    def __init__(self) -> None:
        self._turns: dict[tuple[str, int], list[Turn]] = defaultdict(list)

    def add(self, turn: Turn) -> None:
        """Note a turn."""
        self._turns[turn.who, turn.rows].append(turn)

    def standings(self) -> list[Standing]:
        """Return where everybody stands: the bare session first, then by rows of a request."""
        best = max(
            (turns for (who, _), turns in self._turns.items() if who == BARE),
            key=lambda turns: _median(turns, lambda turn: turn.rows_per_s),
        )
        return [self._standing(turns, best) for turns in self._turns.values()]

    def _standing(self, turns: list[Turn], bare: list[Turn]) -> Standing:
        who, rows = turns[0].who, turns[0].rows
        ours = self._turns.get((OURS, rows))
        return Standing(
            who,
            rows,
            _median(turns, lambda turn: turn.requests / turn.seconds),
            _median(turns, lambda turn: turn.rows_per_s),
            _ratio(turns, bare, lambda turn: turn.rows_per_s),
            _ratio(turns, bare, lambda turn: turn.rows / turn.server_ms),
            None if who == BARE or not ours else _ratio(turns, ours, lambda t: t.rows_per_s),
            _median(turns, lambda turn: turn.server_ms),
            _median(turns, lambda turn: turn.client_ms),
            _median(turns, lambda turn: turn.median_ms),
            _median(turns, lambda turn: turn.p99_ms),
        )


def _median(turns: list[Turn], of: Callable[[Turn], float]) -> float:
    return statistics.median(of(turn) for turn in turns)


def _ratio(turns: list[Turn], others: list[Turn], of: Callable[[Turn], float]) -> float:
    return statistics.median(of(a) / of(b) for a, b in zip(turns, others, strict=True))
