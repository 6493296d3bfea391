"""Confidence scores of the base: the baselines a router has to beat, and where it starts.

Every score is higher where an input should rather be sent.
"""

from collections.abc import Callable

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from hybridge.registry import Registry

Measure = Callable[[Tensor], Tensor]
measures: Registry[Measure] = Registry("confidence measure")
"""Functions from log-probabilities ``(B, C)`` to scores ``(B,)``, by name."""


def _entropy(log_probabilities: Tensor) -> Tensor:
    return -(log_probabilities.exp() * log_probabilities).sum(dim=1)


def _top1(log_probabilities: Tensor) -> Tensor:
    return -log_probabilities.max(dim=1).values.exp()


def _margin(log_probabilities: Tensor) -> Tensor:
    largest = torch.topk(log_probabilities, 2, dim=1).values.exp()
    return largest[:, 1] - largest[:, 0]


measures.add("entropy", _entropy)
measures.add("top1", _top1)
measures.add("margin", _margin)


class Confidence(nn.Module):
    """A confidence measure of tempered logits, as a score.

    Args:
        measure: ``entropy``, ``top1`` or ``margin``.
        temperature: What the logits are divided by.
    """

    temperature: Tensor

    def __init__(self, measure: str, temperature: float = 1.0) -> None:
        super().__init__()
        self.measure = measure
        self._score = measures.get(measure)
        self.register_buffer("temperature", torch.tensor(float(temperature)))

    def forward(self, logits: Tensor) -> Tensor:
        """Return scores ``(B,)`` of logits ``(B, C)``."""
        return self._score(torch.log_softmax(logits / self.temperature, dim=1))


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """Return the temperature in [0.05, 20] that minimises the negative log-likelihood.

    Args:
        logits: A ``(N, C)`` tensor.
        labels: A ``(N,)`` tensor of classes.
    """

    def loss(log_temperature: float) -> float:
        scaled = logits / torch.tensor(log_temperature, dtype=logits.dtype).exp()
        return float(cross_entropy(scaled, labels))

    best = minimize_scalar(loss, bounds=(-3.0, 3.0), method="bounded")
    return float(torch.tensor(best.x).exp())
