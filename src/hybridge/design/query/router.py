"""The router: a tiny network from the base's answer to "keep" or "send"."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import softplus

from hybridge.design.query.features import answer_features, feature_count
from hybridge.design.query.scores import Confidence
from hybridge.plan.tensors import Frozen

EMBEDDING_WIDTHS = (128, 64)


class RouterSettings(Frozen):
    """How a router is built and fitted.

    Attributes:
        start: ``confidence`` fits a correction to the best confidence score, shrunk as far as
            held-out folds ask for; ``scratch`` is the paper's free network.
        hidden: Widths of the two hidden layers.
        embedding: Whether the base's penultimate features are read too (paper, figure 1).
        loss: ``hybrid`` is eq. 7, ``relaxed`` is eq. 5 without an oracle.
        coverage_penalty: The paper's lambda.
        oracle_weight: Extra weight where the oracle sends.
        coverage: Coverage to train for; None takes the oracle's own.
        epochs: Passes over the router's data.
        batch_size: Inputs per step.
        learning_rate: Start of the cosine decay.
        momentum: Of SGD.
        weight_decay: Of SGD.
        folds: Folds of the cross-fit that chooses the shrinkage and the thresholds.
    """

    start: Literal["confidence", "scratch"] = "confidence"
    hidden: tuple[int, int] = (256, 64)
    embedding: bool = False
    loss: Literal["hybrid", "relaxed"] = "hybrid"
    coverage_penalty: float = Field(default=1.0, ge=0)
    oracle_weight: float = Field(default=2.0, ge=0)
    coverage: float | None = Field(default=None, ge=0, le=1)
    epochs: int = Field(default=50, ge=1)
    batch_size: int = Field(default=256, ge=2)
    learning_rate: float = Field(default=1e-2, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=1e-5, ge=0)
    folds: int = Field(default=5, ge=2)


class Anchor(nn.Module):
    """A confidence score on the scale of log-odds: where a cautious router starts.

    Args:
        confidence: The score to start from.
        slope: Log-odds per unit of score; positive, so the order is the confidence's own.
        offset: Log-odds at score zero.
    """

    slope: Tensor
    offset: Tensor

    def __init__(self, confidence: Confidence, slope: float, offset: float) -> None:
        super().__init__()
        self.confidence = confidence
        self.register_buffer("slope", torch.tensor(float(slope)))
        self.register_buffer("offset", torch.tensor(float(offset)))

    def forward(self, logits: Tensor) -> Tensor:
        """Return log-odds ``(B,)`` of sending, from the base's logits ``(B, C)``."""
        log_odds: Tensor = self.slope * self.confidence(logits) + self.offset
        return log_odds


def fit_anchor(confidence: Confidence, logits: Tensor, oracle: Tensor) -> Anchor:
    """Fit the log-odds of the oracle as a rising line over a confidence score.

    Args:
        confidence: The score to start from.
        logits: The base's logits, ``(N, C)``.
        oracle: Where the oracle sends, boolean ``(N,)``.
    """
    with torch.no_grad():
        score = confidence(logits.double())
    # A base that is equally unsure of everything must not make the score's scale explode.
    spread = score.std().clamp_min(0.1)
    x = (score - score.mean()) / spread
    raw = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS([raw], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        solver.zero_grad()
        value = (
            torch.nn.functional.binary_cross_entropy_with_logits(
                softplus(raw[0]) * x + raw[1], oracle.double()
            )
            + 1e-6 * raw.square().sum()
        )
        value.backward()  # type: ignore[no-untyped-call]
        return value

    solver.step(loss)  # type: ignore[no-untyped-call]
    rise, level = raw.detach()
    slope = float(softplus(rise) / spread)
    return Anchor(confidence, slope, float(level) - slope * float(score.mean()))


class Router(nn.Module):
    """BN(101) → 256 → BN → ReLU → 64 → ReLU → 2, on features of the base's softmax.

    Args:
        class_count: Number of classes, ``C``.
        settings: Widths and what is read.
        anchor: Confidence to start from, or None for a free router.
        embedding_width: Width ``F`` of the base's penultimate features, where they are read.
    """

    shrinkage: Tensor

    def __init__(
        self,
        class_count: int,
        settings: RouterSettings,
        anchor: Anchor | None = None,
        embedding_width: int | None = None,
    ) -> None:
        super().__init__()
        first, second = settings.hidden
        inputs = feature_count(class_count)
        self.embedder: nn.Module | None = None
        if embedding_width is not None:
            self.embedder = nn.Sequential(
                nn.BatchNorm1d(embedding_width),
                nn.Linear(embedding_width, EMBEDDING_WIDTHS[0]),
                nn.ReLU(),
                nn.Linear(*EMBEDDING_WIDTHS),
                nn.ReLU(),
            )
            inputs += EMBEDDING_WIDTHS[1]
        self.norm = nn.BatchNorm1d(feature_count(class_count))
        self.body = nn.Sequential(
            nn.Linear(inputs, first),
            nn.BatchNorm1d(first),
            nn.ReLU(),
            nn.Linear(first, second),
            nn.ReLU(),
        )
        self.head = nn.Linear(second, 2)
        self.anchor = anchor
        self.register_buffer("shrinkage", torch.tensor(1.0))
        if anchor is not None:
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)

    def forward(self, logits: Tensor, embedding: Tensor | None = None) -> Tensor:
        """Return router logits ``(B, 2)`` from base logits ``(B, C)`` and features ``(B, F)``."""
        start = self.anchor(logits) if self.anchor is not None else None
        return self.decide(answer_features(logits), start, embedding)

    def decide(
        self, features: Tensor, start: Tensor | None, embedding: Tensor | None = None
    ) -> Tensor:
        """Return router logits ``(B, 2)`` from what does not change while the router is fitted.

        Args:
            features: `answer_features` of the base's logits, ``(B, 1 + K * K)``.
            start: The anchor's log-odds ``(B,)``, or None.
            embedding: The base's penultimate features ``(B, F)``, or None.
        """
        seen = self.norm(features)
        if self.embedder is not None:
            assert embedding is not None, "this router reads the base's penultimate features"
            seen = torch.cat((seen, self.embedder(embedding)), dim=1)
        z: Tensor = self.shrinkage * self.head(self.body(seen))
        if start is None:
            return z
        return z + torch.stack((-start / 2, start / 2), dim=1)

    def score(self, logits: Tensor, embedding: Tensor | None = None) -> Tensor:
        """Return ``s = z1 - z0`` ``(B,)``: the paper's ``r1 - r0`` without its ties."""
        z = self(logits, embedding)
        difference: Tensor = z[:, 1] - z[:, 0]
        return difference
