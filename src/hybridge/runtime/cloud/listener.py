"""What a service tells whoever counts, draws or writes down what it does."""

from dataclasses import dataclass
from typing import Protocol

from hybridge.plan.program import Program


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one request ended.

    Attributes:
        program: What it was for, or None where no such program is served.
        status: ``OK``, the name of the gRPC status, or ``CANCELLED`` where the client had gone.
        rows: How many inputs it had, or 0 where that was not known yet.
        cloud_ms: From its coming to its end.
        queue_ms: How long of that it waited for its batch, 0 where it was not computed.
        run_ms: How long its batch took, 0 where it was not computed.
        shed: Whether it was refused because more was asked than could be computed in time.
    """

    program: Program | None
    status: str
    rows: int = 0
    cloud_ms: float = 0.0
    queue_ms: float = 0.0
    run_ms: float = 0.0
    shed: bool = False


class Listener(Protocol):
    """Is told, in the service's event loop, and must not take long."""

    def on_outcome(self, outcome: Outcome) -> None:
        """Take note of a request that has ended."""
        ...

    def on_batch(self, program: Program, rows: int) -> None:
        """Take note of a batch that has been computed."""
        ...
