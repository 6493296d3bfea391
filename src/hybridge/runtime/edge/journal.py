"""What an edge runtime writes down of each request."""

import time
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

    Args:
        plan: What is walked.
        log: Where decisions go.
        pictures: Where inputs go, or None.
    """

    def __init__(self, plan: Plan, log: DecisionLog, pictures: PictureRing | None = None) -> None:
        self._log = log
        self._pictures = pictures if plan.geometry is not None else None
        self._input = plan.input.name
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
        """Write one request down.

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
        image = None if self._pictures is None else self._pictures.add(values[self._input][0])
        self._log.append(
            decision, time.time(), label, edge_label=edge_label, truth=truth, image=image
        )
