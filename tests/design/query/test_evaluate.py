"""Routers and baselines over repeated halves."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hybridge.cli.summary import show_summary
from hybridge.design.query.evaluate import (
    EvaluateSettings,
    PairOutputs,
    ablations,
    evaluate,
    router_macs,
)
from hybridge.design.query.fit import fit_router, score_all
from hybridge.design.query.router import RouterSettings
from hybridge.errors import ConfigError, DataError
from hybridge.recipes.summary import summarise
from tiny_pairs import planted_data

QUICK = RouterSettings(hidden=(8, 4), epochs=2, folds=2)
SEED = 5
BASE_MACS, GLOBAL_MACS = 1000, 5000


@pytest.fixture(scope="module")
def pair() -> PairOutputs:
    data = planted_data(1200, seed=0)
    noise = torch.randn(1200, 4, generator=torch.Generator().manual_seed(0))
    return PairOutputs(data.base_logits, data.sent_log_probabilities + noise, data.labels)


def run(pair, router=QUICK, **settings):
    settings = EvaluateSettings(**{"splits": 2, **settings})
    return evaluate(pair, BASE_MACS, GLOBAL_MACS, router, settings, seed=SEED)


@pytest.fixture(scope="module")
def evaluation(pair):
    return run(pair)


def test_every_method_is_measured_at_every_coverage_of_every_split(evaluation):
    names = {name for name, fused in evaluation.results if fused}
    assert names == {name for name, fused in evaluation.results if not fused}
    assert {"router", "entropy", "top1_tempered", "random", "label_oracle"} <= names
    for result in evaluation.results.values():
        assert list(result.points) == [0.9, 0.8, 0.7, 0.6]
        lengths = [len(points) for points in result.points.values()]
        assert {*lengths, len(result.curves), len(result.matching)} == {2}


def test_thresholds_come_from_the_calibration_half_alone(pair):
    one = run(pair, splits=1)
    labels = pair.labels.clone()
    labels[one.first.reporting] = (labels[one.first.reporting] + 1) % 4
    other = run(replace(pair, labels=labels), splits=1)
    for key, result in one.results.items():
        for coverage, points in result.points.items():
            changed = other.results[key].points[coverage]
            assert [p.threshold for p in points] == [p.threshold for p in changed], key
            assert [p.accuracy for p in points] != [p.accuracy for p in changed], key
        matching = [p.threshold for p in result.matching]
        assert matching == [p.threshold for p in other.results[key].matching], key


def test_the_label_oracle_bounds_every_method(evaluation):
    coverages = np.linspace(0, 1, 30)
    for (name, fused), result in evaluation.results.items():
        for split, curve in enumerate(result.curves):
            bound = evaluation.results["label_oracle", fused].curves[split]
            best = np.interp(coverages, bound.coverage[::-1], bound.accuracy[::-1])
            accuracy = np.interp(coverages, curve.coverage[::-1], curve.accuracy[::-1])
            assert (best >= accuracy - 1e-9).all(), name


def test_random_routing_lies_on_the_line_between_base_and_global(pair, evaluation):
    curve = evaluation.results["random", False].curves[0]
    base, global_ = pair.take(evaluation.first.reporting).accuracies()
    line = curve.coverage * base + (1 - curve.coverage) * global_
    assert np.abs(curve.accuracy - line).max() < 0.05
    assert curve.accuracy[0] == pytest.approx(base)
    assert curve.accuracy[-1] == pytest.approx(global_)


def test_the_planned_coverage_is_nearly_realised(evaluation):
    for (name, fused), result in evaluation.results.items():
        for coverage, points in result.points.items():
            realised = np.mean([point.coverage for point in points])
            assert realised == pytest.approx(coverage, abs=0.06), (name, fused)


def test_the_routers_own_cost_is_counted(evaluation):
    cost = router_macs(evaluation.first.router.router)
    assert cost == 5 * 8 + 8 * 4 + 4  # entropy and four probabilities → 8 → 4 → 1
    for name, edge in (("router", BASE_MACS + cost), ("entropy", BASE_MACS)):
        for point in evaluation.results[name, False].points[0.7]:
            assert point.macs == pytest.approx(edge + (1 - point.coverage) * GLOBAL_MACS)


def test_a_router_that_is_trained_beats_confidence_on_a_planted_signal(pair):
    settings = RouterSettings(hidden=(32, 16), epochs=60, learning_rate=0.05, folds=2)
    results = run(pair, settings, splits=1).results
    router, best = (
        max(results[name, False].points[0.8][0].accuracy for name in names)
        for names in (["router"], ["entropy", "top1", "margin"])
    )
    assert router > best + 0.05


def test_extra_images_are_fitted_on_but_not_reported(pair):
    extra = pair.take(torch.arange(300))
    settings = EvaluateSettings(splits=1)
    got = evaluate(pair, BASE_MACS, GLOBAL_MACS, QUICK, settings, seed=SEED, extra=extra)
    assert len(got.first.router.held_out_scores) == len(pair.labels) // 2 + 300
    assert len(got.first.reporting) == len(pair.labels) // 2


def test_a_router_fitted_elsewhere_stands_on_the_same_axes(pair):
    router = fit_router(pair.router_data(None), QUICK, seed=0)
    settings = EvaluateSettings(splits=1)
    got = evaluate(
        pair, BASE_MACS, GLOBAL_MACS, QUICK, settings, seed=SEED, given={"appeal": router}
    )
    result, data = got.results["appeal", False], pair.router_data(None)
    calibration = score_all(router, data.take(got.first.calibration))
    for coverage, (point,) in result.points.items():
        kept = (calibration <= point.threshold).double().mean()
        assert kept == pytest.approx(coverage, abs=0.01)
    assert result.curves[0].macs[0] == BASE_MACS + router_macs(router)


def test_ablations_each_change_one_router():
    variants = ablations(RouterSettings())
    assert variants["router_scratch_no_penalty"].coverage_penalty == 0
    assert variants["router_scratch_no_oracle_weight"].oracle_weight == 0
    assert variants["router_scratch_relaxed"].loss == "relaxed"
    assert variants["router_embedding"].embedding


def test_ablations_are_measured_beside_the_router(pair):
    pair = replace(pair, embedding=pair.base_logits**2)
    names = {name for name, _ in run(pair, splits=1, ablations=True).results}
    assert {"router", *ablations(QUICK)} <= names


def test_an_embedding_that_is_asked_for_and_missing_is_refused(pair):
    with pytest.raises(ConfigError, match="penultimate"):
        run(pair, QUICK.model_copy(update={"embedding": True}))


def summary_of(evaluation):
    fake = SimpleNamespace(
        evaluation=evaluation,
        recipe=SimpleNamespace(name="tiny", mode="r", seed=SEED),
        split=SimpleNamespace(fingerprint="f" * 64),
        cycles=(),
    )
    return json.loads(json.dumps(summarise(fake), allow_nan=False))


def test_the_best_confidence_may_be_a_tempered_one(evaluation):
    tempered = evaluation.results["margin_tempered", False]
    better = {
        coverage: [point.model_copy(update={"accuracy": 0.99}) for point in points]
        for coverage, points in tempered.points.items()
    }
    results = evaluation.results | {("margin_tempered", False): replace(tempered, points=better)}
    summary = summary_of(replace(evaluation, results=results))
    for row in summary["router_minus_best_confidence"]:
        assert row["fused"] or row["best"] == "margin_tempered"
    closed = next(row for row in summary["scalars"] if row["method"] == "router")
    assert all(share is None or share < 0 for share in closed["gap_closed_mean"].values())
    show_summary(summary)


def test_a_router_as_dear_as_the_global_has_no_area(pair):
    settings = EvaluateSettings(splits=1)
    evaluation = evaluate(pair, 10, 20, QUICK, settings, seed=SEED)
    summary = summary_of(evaluation)
    assert {row["area_accuracy_over_macs_mean"] for row in summary["scalars"]} == {None}
    macs = router_macs(evaluation.first.router.router)
    assert summary["router_macs_m"] == macs / 1e6 > summary["global_macs_m"] == 20e-6
    assert summary["base_macs_m"] == 10e-6


def test_the_summary_is_json_with_accuracies_in_percent(evaluation):
    summary = summary_of(evaluation)
    assert summary["global_accuracy"] == pytest.approx(100 * evaluation.global_accuracy)
    points = summary["operating_points"]
    assert {point["method"] for point in points} >= {"router", "entropy", "label_oracle"}
    assert all(10 < point["accuracy_mean"] <= 100 for point in points)
    assert {point["coverage"] for point in points} == {0.9, 0.8, 0.7, 0.6}
    assert len(summary["router_minus_best_confidence"]) == 2 * 4


@pytest.mark.parametrize(("count", "classes"), [(2, 2), (4, 4), (7, 2), (40, 1)])
def test_too_few_images_or_classes_are_refused(pair, count, classes):
    few = replace(pair.take(torch.arange(count)), labels=torch.arange(count) % classes)
    with pytest.raises(DataError, match=rf"8 of them .* got {count} images of {classes}"):
        run(few, splits=1)


def test_as_few_images_as_are_allowed(pair):
    few = replace(pair.take(torch.arange(8)), labels=torch.arange(8) % 2)
    assert run(few, splits=1).results["router", True].points
