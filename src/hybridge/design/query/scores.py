"""Confidence scores of the base: the baselines a router has to beat, and where it starts.

Every score is higher where an input should rather be sent.
"""

from collections.abc import Callable

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from hybridge.registry import Registry

#: The confidence measures, in the order in which tables show them.
CONFIDENCES = ("entropy", "top1", "margin")
_LEAST = 1e-30

Measure = Callable[[Tensor], Tensor]
measures: Registry[Measure] = Registry("confidence measure")
"""Functions from logits ``(B, C)`` to scores ``(B,)``, by name.

All are on a logarithmic scale. The order of inputs is that of the plain measure, but inputs of
which the base is all but certain are still told apart, where a probability rounds to one.
"""


def _entropy(logits: Tensor) -> Tensor:
    """Return the logarithm of the entropy in nats."""
    log_probabilities = torch.log_softmax(logits, dim=1)
    entropy = -(log_probabilities.exp() * log_probabilities).sum(dim=1)
    return entropy.clamp_min(_LEAST).log()


def _top1(logits: Tensor) -> Tensor:
    """Return the log-odds against the most probable class."""
    ordered = torch.topk(logits, logits.shape[1], dim=1).values
    return torch.logsumexp(ordered[:, 1:], dim=1) - ordered[:, 0]


def _margin(logits: Tensor) -> Tensor:
    """Return ``log(1 - (p1 - p2))`` of the two largest probabilities."""
    ordered = torch.topk(torch.log_softmax(logits, dim=1), logits.shape[1], dim=1).values
    rest = torch.logsumexp(ordered[:, 1:], dim=1)  # log(1 - p1)
    return torch.logaddexp(rest, ordered[:, 1])


for _name, _measure in zip(CONFIDENCES, (_entropy, _top1, _margin), strict=True):
    measures.add(_name, _measure)


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
        return self._score(logits / self.temperature)


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
