"""Routers and every baseline on the same axes, over repeated random halves.

For each split, one half calibrates: routers, temperatures, fusion and all thresholds come from
it. The other half reports. Accuracies are shares here and percent in `Evaluation.summary`.

Letters: ``N`` images, ``K`` classes, ``F`` features.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from hybridge.cost.operating import Costs, Curve, OperatingPoint, UnitCost, measure_at, sweep
from hybridge.cost.target import Target, pick
from hybridge.data.splits import halves
from hybridge.design.query.fit import (
    FittedRouter,
    RouterData,
    best_confidence,
    concatenate,
    cross_fit,
    score_all,
)
from hybridge.design.query.fold import fold
from hybridge.design.query.fuse import fit_fusion
from hybridge.design.query.oracle import agreement_oracle, sending_gain
from hybridge.design.query.router import Router, RouterSettings
from hybridge.design.query.scores import CONFIDENCES, Confidence, fit_temperature, measures
from hybridge.errors import ConfigError, DataError
from hybridge.plan.answers import Fused
from hybridge.plan.tensors import Frozen
from hybridge.progress import track

METHODS = ("router", *CONFIDENCES, "random", "agreement_oracle", "label_oracle")
#: Every confidence baseline, tempered or not.
RIVALS = (*CONFIDENCES, *(f"{name}_tempered" for name in CONFIDENCES))
Floats = NDArray[np.float64]
_TIE_BREAK = 1e-3
_SPLITS_PER_SEED = 1000  # so that neighbouring seeds share no split


class EvaluateSettings(Frozen):
    """What is evaluated.

    Attributes:
        splits: Number of random halves.
        coverages: Shares to keep at which methods are compared, between 0 and 1.
        ablations: Whether routers that lack one part of the method are evaluated too, where the
            global answers alone.
    """

    splits: int = Field(default=5, ge=1)
    coverages: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        default=(0.9, 0.8, 0.7, 0.6), min_length=1
    )
    ablations: bool = False


@dataclass(frozen=True)
class PairOutputs:
    """What base and global say of the same images.

    Attributes:
        base_logits: ``(N, K)``.
        global_logits: ``(N, K)``.
        labels: ``(N,)``.
        embedding: The base's penultimate features ``(N, F)``, or None.
    """

    base_logits: Tensor
    global_logits: Tensor
    labels: Tensor
    embedding: Tensor | None = None

    def take(self, index: Tensor) -> "PairOutputs":
        """Return the rows at ``index`` ``(n,)``."""
        embedding = None if self.embedding is None else self.embedding[index]
        return PairOutputs(
            self.base_logits[index], self.global_logits[index], self.labels[index], embedding
        )

    def router_data(self, fusion: Fused | None) -> RouterData:
        """Return what a router is fitted on, where the answer after sending is fused or not."""
        if fusion is None:
            sent = torch.log_softmax(self.global_logits, dim=1)
        else:
            fused = fusion.log_scores(self.base_logits.numpy(), self.global_logits.numpy())
            sent = torch.log_softmax(torch.from_numpy(fused), dim=1).float()
        return RouterData(self.base_logits, sent, self.labels, self.embedding)

    def accuracies(self) -> tuple[float, float]:
        """Return the accuracy of base and of global."""
        base = (self.base_logits.argmax(dim=1) == self.labels).double().mean()
        global_ = (self.global_logits.argmax(dim=1) == self.labels).double().mean()
        return float(base), float(global_)


@dataclass(frozen=True)
class Scored:
    """Scores of one method on both halves, as float64 arrays.

    Attributes:
        calibration: ``(n,)``; what thresholds are chosen on.
        reporting: ``(m,)``.
        router_macs: What computing the score costs on top of the base.
    """

    calibration: Floats
    reporting: Floats
    router_macs: int = 0


@dataclass
class MethodResult:
    """One method over all splits.

    Attributes:
        method: Its name.
        fused: Whether sent inputs are answered by base and global together.
        points: Measured point of each split, by target coverage.
        curves: Curve of each split, on the reporting half.
        matching: Point of each split that was to match the cloud's accuracy.
    """

    method: str
    fused: bool
    points: dict[float, list[OperatingPoint]] = field(default_factory=dict)
    curves: list[Curve] = field(default_factory=list)
    matching: list[OperatingPoint] = field(default_factory=list)


@dataclass(frozen=True)
class FittedSplit:
    """What the first split fitted, for export.

    Attributes:
        router: Router for answers of the global alone.
        fused_router: Router for fused answers.
        fusion: How answers are fused.
        confidence: The confidence score that routes best on the calibration half.
        calibration: Images of the calibration half.
        reporting: Images of the reporting half.
    """

    router: FittedRouter
    fused_router: FittedRouter
    fusion: Fused
    confidence: Confidence
    calibration: Tensor
    reporting: Tensor


@dataclass(frozen=True)
class Evaluation:
    """All methods over all splits.

    Attributes:
        base_macs: ``R_base``.
        global_macs: ``R_global``.
        base_accuracy: On all images, as a share.
        global_accuracy: The same.
        global_reporting: The global's accuracy on each reporting half.
        results: By (method, fused).
        first: What the first split fitted.
        settings: What was evaluated.
    """

    base_macs: int
    global_macs: int
    base_accuracy: float
    global_accuracy: float
    global_reporting: list[float]
    results: dict[tuple[str, bool], MethodResult]
    first: FittedSplit
    settings: EvaluateSettings


def evaluate(
    pair: PairOutputs,
    base_macs: int,
    global_macs: int,
    router_settings: RouterSettings,
    settings: EvaluateSettings,
    *,
    seed: int,
    extra: PairOutputs | None = None,
    given: Mapping[str, Router] | None = None,
) -> Evaluation:
    """Fit and measure every method over repeated random halves.

    Args:
        pair: Outputs on images that neither network has fitted.
        base_macs: ``R_base``.
        global_macs: ``R_global``.
        router_settings: How routers are fitted.
        settings: What is evaluated.
        seed: Of halves, routers and the random baseline.
        extra: Outputs on more images that neither has fitted; routers are fitted on them too.
        given: Routers that were fitted elsewhere, with this base, by name: their thresholds alone
            come from the calibration half.

    Raises:
        ConfigError: Routers are to read the base's penultimate features, and there are none.
        DataError: There are too few images, or classes, to fit and judge a router.
    """
    check_images(pair.labels.numpy(), router_settings)
    if router_settings.embedding and pair.embedding is None:
        raise ConfigError(
            "the router is to read the base's penultimate features, but this base has none to "
            "give; set router.embedding to false, or take a base that is a Classifier"
        )
    routers = {"router": router_settings}
    lacking = ablations(router_settings) if settings.ablations else {}
    results: dict[tuple[str, bool], MethodResult] = {}
    global_reporting: list[float] = []
    first: FittedSplit | None = None
    for number in track(range(settings.splits), "evaluating splits"):
        own_seed = split_seed(seed, number)
        calibration, reporting = map(torch.from_numpy, halves(len(pair.labels), own_seed))
        half = _Half(pair, calibration, reporting, extra, own_seed)
        global_reporting.append(pair.take(reporting).accuracies()[1])
        fitted: dict[bool, FittedRouter] = {}
        for fused in (False, True):
            variants = routers if fused else routers | lacking
            for name, scored, router in half.methods(fused, variants, given or {}):
                if name == "router" and router is not None:
                    fitted[fused] = router
                costs = Costs(macs=UnitCost(base_macs + scored.router_macs, global_macs))
                result = results.setdefault((name, fused), MethodResult(name, fused))
                half.measure(result, scored, costs, settings.coverages)
        if first is None:
            first = FittedSplit(
                fitted[False], fitted[True], half.fusion, half.confidence, calibration, reporting
            )
    assert first is not None
    return Evaluation(
        base_macs, global_macs, *pair.accuracies(), global_reporting, results, first, settings
    )


def check_images(labels: NDArray[np.int64], router_settings: RouterSettings) -> None:
    """Raise `DataError` unless images with ``labels`` ``(N,)`` can be halved, fitted and judged."""
    classes, calibration = len(np.unique(labels)), len(labels) // 2
    least = 2 * router_settings.folds
    if classes < 2 or calibration < least:
        raise DataError(
            f"expected held-out images of at least 2 classes, {2 * least} of them (half calibrate, "
            f"in {router_settings.folds} folds), got {len(labels)} images of {classes}"
        )


def ablations(settings: RouterSettings) -> dict[str, RouterSettings]:
    """Return routers that each lack, or add, one part of ``settings``."""
    changes: dict[str, dict[str, object]] = {
        "router_scratch": {"start": "scratch"},
        "router_scratch_no_penalty": {"start": "scratch", "coverage_penalty": 0.0},
        "router_scratch_no_oracle_weight": {"start": "scratch", "oracle_weight": 0.0},
        "router_scratch_relaxed": {"start": "scratch", "loss": "relaxed"},
        "router_embedding": {"embedding": not settings.embedding},
    }
    return {name: settings.model_copy(update=change) for name, change in changes.items()}


class _Half:
    """One split: what is fitted on its calibration half and measured on its reporting half."""

    def __init__(
        self,
        pair: PairOutputs,
        calibration: Tensor,
        reporting: Tensor,
        extra: PairOutputs | None,
        seed: int,
    ) -> None:
        self.calibration, self.reporting = pair.take(calibration), pair.take(reporting)
        self.extra, self.seed = extra, seed
        seen = self.calibration
        self.fusion = fit_fusion(seen.base_logits, seen.global_logits, seen.labels)
        #: Of calibration and reporting, by whether sent inputs are fused.
        self.data = {
            fused: tuple(part.router_data(fusion) for part in (seen, self.reporting))
            for fused, fusion in ((False, None), (True, self.fusion))
        }
        self.confidence = best_confidence(self.data[False][0])

    def methods(
        self, fused: bool, variants: Mapping[str, RouterSettings], given: Mapping[str, Router]
    ) -> Iterator[tuple[str, Scored, FittedRouter | None]]:
        """Yield name and scores of every method, with the router where it is one."""
        fusion = self.fusion if fused else None
        calibration, reporting = self.data[fused]
        for name, settings in variants.items():
            if settings.embedding and calibration.embedding is None:
                continue
            router = self._fit(calibration, fusion, settings)
            held_out = router.held_out_scores[: len(calibration)]
            scored = Scored(
                _array(held_out),
                _array(score_all(router.router, reporting)),
                router_macs(router.router),
            )
            yield name, scored, router
        for name, fixed in given.items():
            seen, held = (_array(score_all(fixed, data)) for data in (calibration, reporting))
            yield name, Scored(seen, held, router_macs(fixed)), None
        for name, score in self._baselines().items():
            scored = Scored(score(self.calibration, calibration), score(self.reporting, reporting))
            yield name, scored, None

    def _fit(
        self, calibration: RouterData, fusion: Fused | None, settings: RouterSettings
    ) -> FittedRouter:
        data = calibration
        if self.extra is not None:
            data = concatenate([calibration, self.extra.router_data(fusion)])
        return cross_fit(data, settings, self.seed)

    def _baselines(self) -> dict[str, Callable[[PairOutputs, RouterData], Floats]]:
        temperature = fit_temperature(self.calibration.base_logits, self.calibration.labels)
        rng = np.random.default_rng(self.seed)
        baselines: dict[str, Callable[[PairOutputs, RouterData], Floats]] = {}
        for name in measures:
            baselines[name] = _confidence(Confidence(name))
            baselines[f"{name}_tempered"] = _confidence(Confidence(name, temperature))
        baselines["random"] = lambda pair, data: rng.random(len(data))
        baselines["agreement_oracle"] = _agreement
        baselines["label_oracle"] = _label
        return baselines

    def measure(
        self,
        result: MethodResult,
        scored: Scored,
        costs: Costs,
        coverages: tuple[float, ...],
    ) -> None:
        """Choose thresholds on the calibration half, and add what they bring to ``result``."""
        seen, held = self.data[result.fused]
        calibrated = sweep(
            scored.calibration, seen.base_right.numpy(), seen.sent_right.numpy(), costs
        )
        report = (scored.reporting, held.base_right.numpy(), held.sent_right.numpy(), costs)
        for coverage in coverages:
            threshold = pick(calibrated, Target(coverage=coverage)).threshold
            result.points.setdefault(coverage, []).append(measure_at(threshold, *report))
        cloud = self.calibration.accuracies()[1]
        best = float(calibrated.accuracy.max())
        threshold = pick(calibrated, Target(accuracy=min(cloud, best))).threshold
        result.matching.append(measure_at(threshold, *report))
        result.curves.append(sweep(*report))


def split_seed(seed: int, number: int) -> int:
    """Return the seed of a split's `hybridge.data.splits.halves`, from that of the evaluation."""
    return _SPLITS_PER_SEED * seed + number


def router_macs(router: Router) -> int:
    """Return ``R_router``: the multiply-accumulates of the router's layers, as a device runs it."""
    layers = [m for m in fold(router).modules() if isinstance(m, torch.nn.Linear)]
    return sum(layer.in_features * layer.out_features for layer in layers)


def _array(scores: Tensor) -> Floats:
    if not torch.isfinite(scores).all():
        raise DataError("a router gave scores that are not finite; expected finite base logits")
    return scores.double().numpy()


def _confidence(confidence: Confidence) -> Callable[[PairOutputs, RouterData], Floats]:
    def score(pair: PairOutputs, data: RouterData) -> Floats:
        with torch.no_grad():
            scores: Floats = confidence(pair.base_logits.double()).numpy()
        return scores

    return score


def _agreement(pair: PairOutputs, data: RouterData) -> Floats:
    """Send where base and global disagree; among equals, the less certain first."""
    apart = agreement_oracle(pair.base_logits.argmax(dim=1), pair.global_logits.argmax(dim=1))
    return apart.double().numpy() + _TIE_BREAK * _confidence(Confidence("entropy"))(pair, data)


def _label(pair: PairOutputs, data: RouterData) -> Floats:
    """Send where sending helps, keep where it hurts; among equals, the less certain first."""
    gain = sending_gain(data.base_right, data.sent_right).double().numpy()
    return gain + _TIE_BREAK * _confidence(Confidence("entropy"))(pair, data)
