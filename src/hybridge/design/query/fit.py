"""Fit a router on kept outputs, and choose by cross-fitting how far to trust it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import log_softmax

from hybridge.design.query.features import answer_features
from hybridge.design.query.losses import hybrid_loss, relaxed_loss
from hybridge.design.query.oracle import routing_oracle, sending_gain
from hybridge.design.query.router import Anchor, Router, RouterSettings, fit_anchor
from hybridge.design.query.scores import Confidence, fit_temperature, measures

SHRINKAGES = (0.0, 0.25, 0.5, 0.75, 1.0)
_COVERAGES = np.linspace(0.5, 0.95, 10)


@dataclass(frozen=True)
class RouterData:
    """What a router is fitted on: outputs, kept, on images that no network has fitted.

    Letters: ``N`` inputs, ``C`` classes, ``F`` features.

    Attributes:
        base_logits: ``(N, C)``.
        sent_log_probabilities: Of the answer after sending (global's or fused), ``(N, C)``.
        labels: ``(N,)``.
        embedding: The base's penultimate features ``(N, F)``, or None.
    """

    base_logits: Tensor
    sent_log_probabilities: Tensor
    labels: Tensor
    embedding: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Tensor) -> "RouterData":
        """Return the rows at ``index`` ``(n,)``."""
        return replace(
            self,
            base_logits=self.base_logits[index],
            sent_log_probabilities=self.sent_log_probabilities[index],
            labels=self.labels[index],
            embedding=None if self.embedding is None else self.embedding[index],
        )

    @property
    def base_right(self) -> Tensor:
        """Where the base is right, boolean ``(N,)``."""
        return self.base_logits.argmax(dim=1) == self.labels

    @property
    def sent_right(self) -> Tensor:
        """Where the answer after sending is right, boolean ``(N,)``."""
        return self.sent_log_probabilities.argmax(dim=1) == self.labels

    @property
    def oracle(self) -> Tensor:
        """What the router should do, boolean ``(N,)``."""
        return routing_oracle(self.base_right, self.sent_right)


def concatenate(parts: list[RouterData]) -> RouterData:
    """Join data sets end to end."""
    embeddings = [part.embedding for part in parts if part.embedding is not None]
    return RouterData(
        torch.cat([part.base_logits for part in parts]),
        torch.cat([part.sent_log_probabilities for part in parts]),
        torch.cat([part.labels for part in parts]),
        torch.cat(embeddings) if embeddings else None,
    )


@dataclass(frozen=True)
class FittedRouter:
    """A router, and what its cross-fit says of it.

    Attributes:
        router: Fitted on all the data, in evaluation mode.
        held_out_scores: Score of each input by routers that have not seen it, on the scale of
            ``router``, ``(N,)``.
        shrinkage: Share of the fitted correction that held-out folds asked for.
    """

    router: Router
    held_out_scores: Tensor
    shrinkage: float


def fit_router(
    data: RouterData, settings: RouterSettings, seed: int, anchor: Anchor | None = None
) -> Router:
    """Fit a router on all of ``data``; the paper's ``arg min L_routing`` (algorithm 3, line 6).

    Args:
        data: Kept outputs.
        settings: What to build and how to fit it.
        seed: Of the initial weights and of the order of the data.
        anchor: Where an anchored router starts; None fits one to ``data``.
    """
    if anchor is None and settings.start == "confidence":
        anchor = fit_anchor(best_confidence(data), data.base_logits, data.oracle)
    with torch.random.fork_rng(devices=[]), _one_thread():
        torch.manual_seed(seed)
        width = None
        if settings.embedding and data.embedding is not None:
            width = data.embedding.shape[1]
        router = Router(data.base_logits.shape[1], settings, anchor, width)
        _descend(router, data, settings)
    return router.eval()


def cross_fit(data: RouterData, settings: RouterSettings, seed: int) -> FittedRouter:
    """Fit a router, its shrinkage towards the anchor, and honest scores of its own data.

    Each fold is scored by a router fitted on the others. Accuracy at a threshold comes from those
    scores: a router is more certain of inputs it was fitted on than of new ones. Routers of
    different folds differ in scale, so a held-out score counts by its rank within its fold, and
    is given as the final router's score of that rank.

    Args:
        data: Kept outputs.
        settings: What to build and how to fit it.
        seed: Of weights, order and folds.
    """
    anchored = settings.start == "confidence"
    shrinkages = SHRINKAGES if anchored else (1.0,)
    # Three numbers fitted to all the data: too few to learn what single inputs are.
    anchor = fit_anchor(best_confidence(data), data.base_logits, data.oracle) if anchored else None
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(data)))
    ranks = np.empty((len(shrinkages), len(data)))
    for fold in order.chunk(settings.folds):
        others = torch.ones(len(data), dtype=torch.bool)
        others[fold] = False
        router = fit_router(data.take(others.nonzero().squeeze(1)), settings, seed, anchor)
        for row, shrinkage in enumerate(shrinkages):
            ranks[row, fold.numpy()] = _ranks(
                score_all(_shrunk(router, shrinkage), data.take(fold))
            )
    best = _best_shrinkage(ranks, data) if anchored else 0
    router = _shrunk(fit_router(data, settings, seed, anchor), shrinkages[best])
    scale = score_all(router, data).double().numpy()
    held_out = torch.from_numpy(np.quantile(scale, ranks[best]))
    return FittedRouter(router, held_out, shrinkages[best])


@torch.no_grad()
def score_all(router: Router, data: RouterData) -> Tensor:
    """Return the router's scores ``(N,)`` of all of ``data``."""
    return router.eval().score(data.base_logits, data.embedding)


def best_confidence(data: RouterData) -> Confidence:
    """Return the confidence measure, tempered or not, that routes ``data`` best."""
    temperature = fit_temperature(data.base_logits, data.labels)
    gain = sending_gain(data.base_right, data.sent_right).numpy()
    candidates = [Confidence(name, t) for name in measures for t in (1.0, temperature)]
    with torch.no_grad():
        logits = data.base_logits.double()
        gains = [float(_gain_per_input(_ranks(c(logits)), gain).mean()) for c in candidates]
    return candidates[int(np.argmax(gains))]


def _descend(router: Router, data: RouterData, settings: RouterSettings) -> None:
    with torch.no_grad():
        features = answer_features(data.base_logits)
        start = None if router.anchor is None else router.anchor(data.base_logits)
        truth = data.labels.unsqueeze(1)
        base_truth = log_softmax(data.base_logits, dim=1).gather(1, truth).exp().squeeze(1)
        sent_truth = data.sent_log_probabilities.gather(1, truth).exp().squeeze(1)
    oracle = data.oracle
    coverage = settings.coverage
    if coverage is None:
        coverage = 1.0 - float(oracle.float().mean())
    steps = settings.epochs * max(1, len(data) // settings.batch_size)
    optimiser = torch.optim.SGD(
        router.parameters(),
        lr=settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    router.train()
    for batch in _batches(torch.arange(len(data)), settings):
        embedding = None if data.embedding is None else data.embedding[batch]
        z = router.decide(features[batch], None if start is None else start[batch], embedding)
        if settings.loss == "hybrid":
            loss = hybrid_loss(
                z, oracle[batch], coverage, settings.coverage_penalty, settings.oracle_weight
            )
        else:
            loss = relaxed_loss(
                z, base_truth[batch], sent_truth[batch], coverage, settings.coverage_penalty
            )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on one thread: matrices this small lose more by sharing than they gain."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _batches(rows: Tensor, settings: RouterSettings) -> Iterator[Tensor]:
    """Yield shuffled batches of equal size; a last short one would upset batch norm."""
    size = min(settings.batch_size, len(rows))
    for _ in range(settings.epochs):
        order = rows[torch.randperm(len(rows))]
        yield from order[: len(rows) // size * size].split(size)  # type: ignore[no-untyped-call]


def _shrunk(router: Router, shrinkage: float) -> Router:
    router.shrinkage.fill_(shrinkage)
    return router


def _best_shrinkage(ranks: NDArray[Any], data: RouterData) -> int:
    """Return the row of ``ranks`` that routes best, or row 0 where that is within noise."""
    gain = sending_gain(data.base_right, data.sent_right).numpy()
    per_input = np.stack([_gain_per_input(row, gain) for row in ranks])
    best = int(per_input.mean(axis=1).argmax())
    difference = per_input[best] - per_input[0]
    standard_error = difference.std() / np.sqrt(len(difference))
    return best if difference.mean() > standard_error else 0


def _ranks(scores: Tensor) -> NDArray[Any]:
    """Return each score's rank among ``(n,)`` scores, as a share of 1."""
    ranks = np.empty(len(scores))
    ranks[np.argsort(scores.numpy(), kind="stable")] = (np.arange(len(scores)) + 0.5) / len(scores)
    return ranks


def _gain_per_input(ranks: NDArray[Any], gain: NDArray[Any]) -> NDArray[Any]:
    """Return each input's gain, averaged over the coverages at which it is sent."""
    times_sent = (ranks[:, None] > _COVERAGES[None, :]).mean(axis=1)
    averaged: NDArray[Any] = times_sent * gain
    return averaged
