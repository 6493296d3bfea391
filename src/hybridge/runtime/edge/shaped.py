"""Any transport, made as slow and as faulty as a link, without root."""

import math
import threading

from hybridge.closing import Closing
from hybridge.errors import ConfigError, TransportError
from hybridge.links.channel import Channel
from hybridge.links.faults import Fault, FaultSchedule
from hybridge.links.recent import SENSE_WINDOW_S, RecentBandwidth
from hybridge.links.trace import Trace
from hybridge.runtime.clock import Clock, SystemClock, limit_ms
from hybridge.runtime.wire.message import LateError, Message, Reply, Transport, UnsentError


class Shaped(Closing):
    """Delays what crosses another transport by a link's queue and round trip, and breaks it.

    A message waits for its turn on the uplink, drains at the trace's bandwidth, and pays the
    round trip; then it is sent on, in what is left of its time. The trace, and the schedule of
    faults, begin when this is made. Same trace, seed and times: same delays and faults.

    Args:
        transport: What moves the messages; closed with this.
        trace: Bandwidth of the uplink over time.
        rtt_ms: Round-trip time, added to every message.
        faults: What goes wrong, or None for nothing.
        clock: The time it goes by.
        timeout_ms: Time limit of a message that is sent without one.
        sense_window_s: Over how much time before a moment `bandwidth_bps` is a mean.

    Raises `ConfigError` where ``rtt_ms``, ``timeout_ms`` or ``sense_window_s`` is no time.
    """

    def __init__(
        self,
        transport: Transport,
        trace: Trace,
        rtt_ms: float = 0.0,
        faults: FaultSchedule | None = None,
        clock: Clock | None = None,
        timeout_ms: float = 1000.0,
        sense_window_s: float = SENSE_WINDOW_S,
    ) -> None:
        if not 0 <= rtt_ms < math.inf:
            raise ConfigError(f"expected rtt_ms of 0 or more milliseconds, got {rtt_ms}")
        self.timeout_ms = limit_ms(timeout_ms, "timeout_ms")
        self._transport = transport
        self._rtt_ms = rtt_ms
        self._faults = faults
        self._clock = clock or SystemClock()
        self._began_ms = self._clock.now_ms()
        self._lock = threading.Lock()
        self._channel = Channel(trace)
        self._recent = RecentBandwidth(trace, sense_window_s)

    def send(self, message: Message, timeout_ms: float | None = None) -> Reply:
        """Send ``message`` over the link; raises as the transport beneath does.

        Raises `LateError` at the limit where the link takes too long, `TransportError` for faults.
        """
        within_ms = self.timeout_ms if timeout_ms is None else limit_ms(timeout_ms, "timeout_ms")
        # Under the lock, messages enter queue and schedule in the order of time.
        with self._lock:
            now_ms = self._clock.now_ms() - self._began_ms
            fault = self._faults.draw(now_ms / 1e3) if self._faults else None
            link_ms = self._link_ms(message, now_ms, within_ms, fault)
        if link_ms is None or link_ms > within_ms:
            self._clock.sleep_ms(within_ms)
            raise LateError(f"the shaped link did not deliver within {within_ms:.0f} ms")
        self._clock.sleep_ms(link_ms)
        if fault is not None and fault.kind == "refuse":
            raise UnsentError("the shaped link refused the connection")
        if fault is not None and fault.kind == "reset":
            raise TransportError("the shaped link reset the connection")
        passed_ms = self._clock.now_ms() - self._began_ms - now_ms
        return self._transport.send(message, max(within_ms - passed_ms, 0.0))

    def bandwidth_bps(self, now_ms: float) -> float | None:
        """Return the trace's mean over the last moments, as a device that measures knows it.

        ``now_ms`` goes by this transport's clock. None where no time has passed.
        """
        return self._recent.bandwidth_bps(now_ms - self._began_ms)

    def _link_ms(
        self, message: Message, now_ms: float, within_ms: float, fault: Fault | None
    ) -> float | None:
        """Return how long the link takes to deliver or to fail, or None where it never does."""
        if fault is not None and fault.kind == "refuse":
            return self._rtt_ms  # no connection, so that nothing is sent
        arrives_s = self._channel.send(
            now_ms / 1e3, message.payload_bytes, (now_ms + within_ms) / 1e3
        )
        if arrives_s is None or (fault is not None and fault.kind == "drop"):
            return None
        late_ms = fault.delay_ms if fault is not None else 0.0
        return arrives_s * 1e3 - now_ms + self._rtt_ms + late_ms

    def close(self) -> None:
        """Close the transport beneath."""
        self._transport.close()
