"""What an edge runtime writes down of each request."""

import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from hybridge.plan.decision import Decision
from hybridge.plan.log import DecisionLog
from hybridge.plan.plan import Leaf, Path, Plan
from hybridge.runtime.edge.pictures import PictureRing

Array = np.ndarray[Any, Any]


class Journal:
    """Writes decisions, with what the edge alone would have answered, and perhaps the input.

    Nobody waits for disks: lines and pictures are written on the log's own thread. A picture that
    others would push out before it is written is left out.

    Args:
        plan: What is walked.
        log: Where decisions go.
        pictures: Where inputs go, or None.
    """

    def __init__(self, plan: Plan, log: DecisionLog, pictures: PictureRing | None = None) -> None:
        self._log = log
        self._pictures = pictures if plan.geometry is not None else None
        self._input = plan.input.name
        self._lock = threading.Lock()
        self._inputs: deque[list[Array]] = deque()
        leaves = dict(plan.leaves())
        self._homes: dict[Path, Leaf | None] = {
            path: None if (home := plan.home_leaf(path)) is None else leaves[home]
            for path in leaves
        }

    def write(
        self,
        decision: Decision,
        values: Mapping[str, Array],
        probabilities: Array,
        label: int | None,
        truth: int | None,
    ) -> None:
        """Have one request written down soon.

        Args:
            decision: How it went.
            values: Everything that was computed, each ``(1, ...)``, by name.
            probabilities: What was answered: ``(C,)``.
            label: The class that was answered, or None where none was given.
            truth: The right one, where it is known.
        """
        if decision.source == "edge":
            edge_label: int | None = int(probabilities.argmax())
        else:
            home = self._homes[decision.path]
            edge_label = None if home is None else int(home.combine.probabilities(values).argmax())
        pictures, time_s = self._pictures, time.time()
        held = [] if pictures is None else self._held(values[self._input][0], pictures.keep)

        def write() -> None:
            pixels = held[:1]  # a copy: others may push them out meanwhile
            image = pictures.add(pixels[0]) if pictures is not None and pixels else None
            self._log.append(
                decision, time_s, label, edge_label=edge_label, truth=truth, image=image
            )

        self._log.soon(write)

    def _held(self, pixels: Array, most: int) -> list[Array]:
        """Return a list that holds a copy of ``pixels`` until ``most`` others have come.

        A copy, for whoever asked may put the next image where this one was.
        """
        held = [pixels.copy()]
        with self._lock:
            self._inputs.append(held)
            if len(self._inputs) > most:
                self._inputs.popleft().clear()
        return held

    def flush(self) -> None:
        """Wait until what was to be written is, or it takes too long."""
        self._log.flush()
