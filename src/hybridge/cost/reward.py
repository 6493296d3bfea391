"""One number for latency and accuracy together (model tree, eq. 7)."""

import numpy as np
from pydantic import Field

from hybridge.cost.price import Amount
from hybridge.errors import ConfigError
from hybridge.plan.tensors import Frozen


class Reward(Frozen):
    """What a latency and an accuracy are worth together; the defaults are the paper's.

    Section VII normalises latency from 0 to 500 ms and accuracy from 50 to 100 %, and gives them
    300 and 100 of 400 points. Nothing is clipped: what is slower than the limit, or less accurate
    than the floor, is worth less than nothing in that part.

    Attributes:
        latency_weight: Points of an answer that takes no time.
        latency_limit_ms: Latency that is worth no points.
        accuracy_weight: Points of being always right.
        accuracy_floor: Accuracy that is worth no points, as a share.
    """

    latency_weight: float = Field(default=300, ge=0, allow_inf_nan=False)
    latency_limit_ms: float = Field(default=500, gt=0, allow_inf_nan=False)
    accuracy_weight: float = Field(default=100, ge=0, allow_inf_nan=False)
    accuracy_floor: float = Field(default=0.5, ge=0, lt=1)

    def of(self, latency_ms: Amount, accuracy: Amount) -> Amount:
        """Return the reward of a latency and an accuracy, or of each of two arrays.

        Args:
            latency_ms: Latency: one number, or ``(N,)``.
            accuracy: Share of inputs answered right, from 0 to 1: one number, or ``(N,)``.

        Raises:
            ConfigError: A latency is negative, an accuracy is no share, or one is NaN.
        """
        if not np.all(np.greater_equal(latency_ms, 0)):
            raise ConfigError(f"expected latencies of at least 0 ms, got {latency_ms}")
        if not np.all(np.greater_equal(accuracy, 0) & np.less_equal(accuracy, 1)):
            raise ConfigError(f"expected accuracies as shares from 0 to 1, got {accuracy}")
        speed = (self.latency_limit_ms - latency_ms) / self.latency_limit_ms
        excess = (accuracy - self.accuracy_floor) / (1 - self.accuracy_floor)
        return self.latency_weight * speed + self.accuracy_weight * excess
