"""Programs run at the pace of another device, so that a fast host can stand in for it."""

import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from hybridge.cost.device import Device
from hybridge.cost.price import compute_ms
from hybridge.errors import BundleError
from hybridge.runtime.clock import Clock
from hybridge.runtime.sessions import ProgramSession

Array = np.ndarray[Any, Any]


class Paced:
    """The edge's programs, run as fast as this machine can or at another device's pace.

    Args:
        sessions: Every program, by name.
        clock: The time to go by.
        device: Whose pace to keep, or None for this machine's own. One that is kept runs one
            program at a time, as the emulated device does.

    Raises `ConfigError` where ``device`` knows no speed for a program's layers.
    """

    def __init__(
        self, sessions: Mapping[str, ProgramSession], clock: Clock, device: Device | None = None
    ) -> None:
        self._sessions = sessions
        self._clock = clock
        self._turn = threading.Lock()
        self._takes_ms = (
            {}
            if device is None
            else {
                name: compute_ms(session.program.layers, device)
                for name, session in sessions.items()
            }
        )

    def run(self, program: str, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """Return the program's outputs, once the device would have them; raises as its session.

        Never earlier than they are computed: a pace that is faster than this machine is not kept.
        """
        session = self._sessions[program]
        if not self._takes_ms:
            return session.run(tensors)
        with self._turn:
            began_ms = self._clock.now_ms()
            outputs = session.run(tensors)
            passed_ms = self._clock.now_ms() - began_ms
            self._clock.sleep_ms(self._takes_ms[program] - passed_ms)
        return outputs

    def tried_ms(self) -> dict[str, float]:
        """Run every program on zeros; return how long the second run took, by program.

        The first warms it up, for the first request as well. A device that is stood in for is not
        waited for, but counts. A program that fails at zeros is left out.
        """
        found = {}
        for name, session in self._sessions.items():
            zeros = {
                spec.name: np.zeros((1, *spec.shape), spec.dtype) for spec in session.program.inputs
            }
            with suppress(BundleError):
                session.run(zeros)
                began_ms = self._clock.now_ms()
                session.run(zeros)
                took_ms = self._clock.now_ms() - began_ms
                found[name] = max(took_ms, self._takes_ms.get(name, 0.0))
        return found
