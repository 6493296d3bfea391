"""A recipe, from images to a bundle, on images so small that networks train in a second."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hybridge.cost.operating import OperatingPoint
from hybridge.data.dataset import subset
from hybridge.design.nets import build
from hybridge.design.nets.weights import save_weights
from hybridge.design.query.evaluate import PairOutputs
from hybridge.design.train.checkpoint import load_checkpoint
from hybridge.errors import ConfigError, InfeasibleError
from hybridge.plan.bundle import Bundle
from hybridge.recipes import hybrid
from hybridge.recipes.hybrid import HybridRun
from hybridge.recipes.load import validate
from hybridge.recipes.report import training_report
from hybridge.recipes.schema import HybridRecipe
from hybridge.recipes.summary import summarise
from hybridge.runtime.edge.edge import EdgeRuntime
from hybridge.runtime.sessions import ProgramSession

SIDE = 12
METHODS = {"router", "entropy", "top1", "margin", "random", "agreement_oracle", "label_oracle"}


def images(folder: Path, name: str, count: int, class_count: int = 3) -> None:
    """Write images whose class is where they are bright, some of them hard to tell."""
    rng = np.random.default_rng(len(name))
    labels = rng.permutation(np.arange(count) % class_count)
    pixels = rng.integers(0, 120, (count, SIDE, SIDE, 1))
    strength = rng.integers(10, 120, count)
    for index, label in enumerate(labels):
        pixels[index, 4 * label : 4 * label + 4] += strength[index]
    np.savez(folder / f"{name}.npz", pixels=pixels.astype(np.uint8), labels=labels)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for name, count in (("train", 120), ("router", 60), ("held_out", 121)):
        images(folder, name, count)
    images(folder, "four_classes", 120, class_count=4)
    return folder


def content(**changes: Any) -> dict[str, Any]:
    train = {"epochs": 2, "batch_size": 32, "learning_rate": 0.05, "augment": "none"}
    on = {**train, "epochs": 1}
    recipe: dict[str, Any] = {
        "name": "tiny",
        "data": {
            **{
                key: {"format": "arrays", "path": f"{key}.npz"}
                for key in ("train", "router", "held_out")
            },
            "geometry": {"height": SIDE, "width": SIDE, "channels": 1},
        },
        "base": {"network": "tiny_cnn", "train": train},
        "global": {"network": "small_cnn", "train": {**train, "epochs": 4}},
        "router": {"epochs": 3, "batch_size": 32, "folds": 2},
        "alternate": {"cycles": 1, "base": on, "global": on, "router_epochs": 2},
        "evaluate": {"splits": 2, "coverages": [0.8, 0.5]},
        "deploy": {"target": {"coverage": 0.6}, "codec": "webp"},
    }
    return recipe | changes


def recipe(**changes: Any) -> HybridRecipe:
    return validate(HybridRecipe, content(**changes), "recipe")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def run(data: Path, folder: Path) -> HybridRun:
    return hybrid.run(recipe(), data, folder)


@pytest.fixture(scope="module")
def deployed(run: HybridRun, folder: Path) -> tuple[Bundle, OperatingPoint]:
    return hybrid.deploy(run, folder / "bundle", run.recipe.deploy)


def test_summary_holds_what_a_machine_may_read(run: HybridRun) -> None:
    summary = json.loads(json.dumps(summarise(run)))
    assert 0 <= summary["base_accuracy"] <= 100
    assert summary["splits"] == 2
    points = summary["operating_points"]
    assert {point["method"] for point in points} == METHODS
    assert {point["coverage"] for point in points} == {0.8, 0.5}
    assert {point["fused"] for point in points} == {True, False}
    keys = {"accuracy_mean", "accuracy_std", "accuracy_kept_mean", "gain_over_global_mean"}
    assert all(keys | {"macs_m"} <= set(point) for point in points)
    for rate in summary["query_rate_to_match_cloud"]:
        assert 0 <= rate["mean"] <= 1
        assert {"method", "fused", "std"} <= set(rate)


def test_routers_own_cost_is_counted(run: HybridRun) -> None:
    by_method = {
        point["method"]: point["macs_m"]
        for point in summarise(run)["operating_points"]
        if point["coverage"] == 0.5 and not point["fused"]
    }
    realised = {
        point["method"]: point["coverage_realised_mean"]
        for point in summarise(run)["operating_points"]
        if point["coverage"] == 0.5 and not point["fused"]
    }
    global_m = 1e-6 * run_macs(run)
    difference = by_method["router"] - by_method["entropy"]
    of_sending = global_m * (realised["entropy"] - realised["router"])
    assert difference - of_sending > 0.01


def run_macs(run: HybridRun) -> int:
    from hybridge.design.graph.count import count_macs

    return count_macs(run.global_, torch.from_numpy(run.data.held_out.pixels(np.arange(1))))


def test_trained_networks_are_evaluated_without_training(
    run: HybridRun, data: Path, folder: Path
) -> None:
    again = hybrid.run(recipe(), data, folder, training=False)
    assert summarise(again) == summarise(run)


def test_networks_of_another_recipe_are_refused(run: HybridRun, data: Path, folder: Path) -> None:
    base = {**content()["base"], "mean": [0.5], "std": [0.3]}
    for training in (True, False):
        with pytest.raises(ConfigError, match="another network"):
            hybrid.run(recipe(base=base), data, folder, training=training)


def test_evaluation_alone_refuses_untrained_networks(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has not been trained"):
        hybrid.run(recipe(), data, tmp_path / "new", training=False)
    assert not (tmp_path / "new").exists()


def test_bundle_realises_the_planned_query_rate_exactly(
    run: HybridRun, deployed: tuple[Bundle, OperatingPoint]
) -> None:
    bundle, point = deployed
    calibration = subset(run.data.held_out, run.evaluation.first.calibration.numpy())
    with EdgeRuntime(bundle) as edge:
        answers = edge.predict_batch(calibration.pixels(np.arange(len(calibration))))
    asked = [answer.failure is not None for answer in answers]
    assert np.mean(asked) == 1 - point.coverage
    assert 1 - point.coverage <= 0.4


def test_planned_accuracy_is_by_routers_that_had_not_seen_the_image(
    run: HybridRun, deployed: tuple[Bundle, OperatingPoint]
) -> None:
    bundle, point = deployed
    rehearsal = bundle.rehearsal
    assert rehearsal is not None
    held_out = rehearsal.held_out_score[()]
    sent = held_out > point.threshold
    ((path, step),) = bundle.plan.steps("cloud")
    answers = np.where(sent, rehearsal.answers(path, step.codec), rehearsal.answers((0,)))
    assert point.accuracy == (answers == rehearsal.truth).mean()


def test_a_bundle_is_rehearsed_for_every_baseline(deployed: tuple[Bundle, OperatingPoint]) -> None:
    rehearsal = deployed[0].rehearsal
    assert rehearsal is not None
    assert {codec for _, codec in rehearsal.alone} == {"raw", "jpeg-90", "webp"}


def test_exported_programs_compute_what_the_networks_do(
    run: HybridRun, deployed: tuple[Bundle, OperatingPoint]
) -> None:
    bundle, _ = deployed
    pixels = run.data.held_out.pixels(np.arange(20))
    router = run.evaluation.first.fused_router.router
    with torch.no_grad():
        logits = run.base(torch.from_numpy(pixels))
        expected = {
            "base": {"logits": logits, "score": router.score(logits)},
            "global": {"logits": run.global_(torch.from_numpy(pixels))},
        }
    for name, outputs in expected.items():
        got = ProgramSession(bundle.plan.programs[name]).run({"pixels": pixels})
        for output, value in outputs.items():
            np.testing.assert_allclose(got[output], value.numpy(), atol=1e-4)


def test_infeasible_target_leaves_nothing_behind(run: HybridRun, tmp_path: Path) -> None:
    deploy = recipe(deploy={"target": {"macs_m": 0.0001}}).deploy
    with pytest.raises(InfeasibleError, match="nearest feasible"):
        hybrid.deploy(run, tmp_path / "bundle", deploy)
    assert not list(tmp_path.iterdir())


def test_report_stands_alone(run: HybridRun, deployed: tuple[Bundle, OperatingPoint]) -> None:
    bundle, point = deployed
    page = training_report(run, point, bundle).html()
    assert page.count("<svg") >= 3
    assert "label oracle" in page
    assert run.split.fingerprint[:16] in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_all_three_are_trained_in_cycles(data: Path, tmp_path: Path) -> None:
    trained = hybrid.run(recipe(mode="rbg", evaluate={"splits": 1}), data, tmp_path)
    (cycle,) = trained.cycles
    assert 0 < cycle.sent_share < 1
    assert cycle.global_loss is not None
    again = hybrid.run(recipe(mode="rbg", evaluate={"splits": 1}), data, tmp_path, training=False)
    assert again.evaluation.base_accuracy == trained.evaluation.base_accuracy
    assert again.evaluation.global_accuracy == trained.evaluation.global_accuracy
    on = {**content()["alternate"], "router_epochs": 3}
    other = recipe(mode="rbg", evaluate={"splits": 1}, alternate=on)
    with pytest.raises(ConfigError, match=r"base_rbg.* of another training .*train' again"):
        hybrid.run(other, data, tmp_path, training=False)


def test_class_counts_that_differ_are_named(data: Path, tmp_path: Path) -> None:
    changed = content()["data"] | {"train": {"format": "arrays", "path": "four_classes.npz"}}
    with pytest.raises(ConfigError, match=r"data.train has 4 classes, data.held_out has 3"):
        hybrid.run(recipe(data=changed), data, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"base": {"network": "tiny_cn", "train": {"epochs": 1}}}, "did you mean 'tiny_cnn'"),
        ({"global": {"network": "small_cnn"}}, "give 'weights', or 'train'"),
        ({"deploy": {"codec": "webq"}}, "deploy.codec"),
        ({"base": {"network": "tiny_cnn", "weights": "none.safetensors"}}, "none.safetensors"),
        ({"base": {"network": "some.module:network", "train": {"epochs": 1}}}, "'mean' and 'std'"),
    ],
)
def test_faults_are_found_before_anything_runs(
    data: Path, tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    with pytest.raises(ConfigError, match=named):
        hybrid.run(recipe(**changes), data, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_every_fault_is_named_at_once(data: Path) -> None:
    found = recipe(
        base={"network": "tiny_cn", "train": {"epochs": 1}}, deploy={"codec": "webq"}
    ).faults(data)
    assert len(found) == 2


def test_networks_from_weights_go_to_the_device_of_the_process(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hybrid, "own_device", lambda: torch.device("meta"))
    configs = {}
    for key, name in (("base", "tiny_cnn"), ("global", "small_cnn")):
        save_weights(build(name, 3), tmp_path / f"{name}.safetensors")
        configs[key] = {"network": name, "weights": str(tmp_path / f"{name}.safetensors")}
    given = recipe(**configs)
    opened = hybrid.open_data(given, data)
    pair = hybrid._Networks(given, data, tmp_path, opened, True).networks()
    assert [network.mean.device.type for network in pair] == ["meta", "meta"]


def test_costs_are_counted_on_the_device_of_the_networks(
    run: HybridRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing can be computed, costs still can."""
    pair = PairOutputs(torch.zeros(121, 3), torch.zeros(121, 3), torch.arange(121) % 3)
    monkeypatch.setattr(hybrid, "_pair_outputs", lambda *_: pair)
    monkeypatch.setattr(hybrid, "evaluate", lambda _, *macs, **__: macs[:2])
    base, global_ = (copy.deepcopy(network).to("meta") for network in (run.base, run.global_))
    found = hybrid.evaluate_pair(run.recipe, run.data, base, global_)
    assert found == (run.evaluation.base_macs, run.evaluation.global_macs)


def test_twins_of_a_base_that_has_weights_are_trained_too(data: Path, tmp_path: Path) -> None:
    """Else what they make of their images would be chance, and so the weights of the base."""
    save_weights(build("tiny_cnn", 3), tmp_path / "base.safetensors")
    base = content()["base"] | {"weights": str(tmp_path / "base.safetensors")}
    hybrid.run(recipe(base=base, mode="rb"), data, tmp_path / "run")
    for number in (0, 1):
        checkpoint = load_checkpoint(tmp_path / "run/checkpoints" / f"twin{number}.safetensors")
        assert checkpoint.counters["epochs_done"] == base["train"]["epochs"]
