"""What a device knows of its link: the bandwidth of the last moments, never the future."""

import math

from hybridge.errors import ConfigError
from hybridge.links.trace import Trace

#: Long enough that a trace at millisecond detail has a mean, short enough to follow it.
SENSE_WINDOW_S = 1.0


class RecentBandwidth:
    """The mean bandwidth of a trace over the window before a moment.

    Args:
        trace: Bandwidth over time.
        window_s: Length of the window; before so much has passed, it begins with the trace.

    Raises `ConfigError` where ``window_s`` is no length.
    """

    def __init__(self, trace: Trace, window_s: float = SENSE_WINDOW_S) -> None:
        self._trace = trace
        self._window_s = check_window_s(window_s)

    def bandwidth_bps(self, now_ms: float) -> float | None:
        """Return what is known at ``now_ms``, counted from the trace's beginning.

        None until any time has passed: nothing has been seen yet.
        """
        now_s = now_ms / 1e3
        if now_s <= 0:
            return None
        return self._trace.mean_between_bps(max(now_s - self._window_s, 0.0), now_s)


def check_window_s(window_s: float) -> float:
    """Return a window's length; raises `ConfigError` where it is none."""
    if not 0 < window_s < math.inf:
        raise ConfigError(f"expected a window of more than 0 seconds, got {window_s:g}")
    return window_s
