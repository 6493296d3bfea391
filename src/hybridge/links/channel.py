"""A queue that a trace drains: what waiting for a link costs, exactly."""

from hybridge.links.trace import Trace


class Channel:
    """One sender's uplink: first in, first out, at the trace's bandwidth of the moment.

    Times are seconds on the trace's own axis. Messages must be offered in the order of time.

    Args:
        trace: Bandwidth over time.
    """

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.free_at_s = 0.0

    def send(self, at_s: float, payload_bytes: int, by_s: float | None = None) -> float | None:
        """Queue a message, and return when its last bit arrives, or None where that is too late.

        A message that cannot arrive by ``by_s`` is withdrawn then: what of it crossed until then
        has kept the link busy, the rest does not.

        Args:
            at_s: When the message is offered.
            payload_bytes: Its encoded size.
            by_s: When its sender gives up, or None for never.
        """
        arrives_s = self.preview(at_s, payload_bytes)
        if by_s is None or arrives_s <= by_s:
            self.free_at_s = arrives_s
            return arrives_s
        self.free_at_s = max(self.free_at_s, by_s)
        return None

    def preview(self, at_s: float, payload_bytes: int) -> float:
        """Return when a message's last bit would arrive, without queueing it.

        Args:
            at_s: When the message would be offered.
            payload_bytes: Its encoded size.

        Returns:
            The time; infinity where the trace has no bandwidth at all.
        """
        begins_s = max(at_s, self.free_at_s)
        needed = self.trace.bits_by(begins_s) + 8 * payload_bytes
        return max(begins_s, self.trace.time_of(needed))
