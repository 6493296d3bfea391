"""``check``, ``train`` and ``evaluate``, on a recipe that trains in a second."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from hybridge.plan.bundle import load_bundle
from hybridge.plan.rehearsal import query_rate

RECIPE = {
    "name": "tiny",
    "data": {
        "train": {"format": "arrays", "path": "train.npz"},
        "held_out": {"format": "arrays", "path": "held_out.npz"},
    },
    "base": {"network": "tiny_cnn", "train": {"epochs": 1, "augment": "none"}},
    "global": {"network": "small_cnn", "train": {"epochs": 1, "augment": "none"}},
    "router": {"epochs": 1, "folds": 2},
    "evaluate": {"splits": 2, "coverages": [0.7]},
    "deploy": {"codec": "raw"},
}
RECIPES = Path(__file__).parents[2] / "recipes"
SHIPPED = sorted(RECIPES.glob("*.yaml"))
METHODS = {"router", "entropy", "top1", "margin", "random", "agreement_oracle", "label_oracle"}


def write_arrays(path, count, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    pixels = rng.integers(0, 128, (count, 28, 28, 1), np.uint8)
    pixels += (labels * 127 // classes).astype(np.uint8)[:, None, None, None]
    np.savez(path, pixels=pixels, labels=labels)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with data and a recipe, and nothing else."""
    folder = tmp_path_factory.mktemp("recipes")
    write_arrays(folder / "train.npz", 48)
    write_arrays(folder / "held_out.npz", 40, seed=1)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    return folder


@pytest.fixture(autouse=True)
def places(workplace, monkeypatch):
    monkeypatch.setenv("HYBRIDGE_DATA", str(workplace))
    monkeypatch.setenv("HYBRIDGE_CACHE", str(workplace / "cache"))
    monkeypatch.chdir(workplace)


@pytest.fixture(scope="module")
def trained(workplace):
    """A run, trained once for all tests that look at what it left."""
    from typer.testing import CliRunner

    from hybridge.cli.main import app

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HYBRIDGE_DATA", str(workplace))
        patch.setenv("HYBRIDGE_CACHE", str(workplace / "cache"))
        patch.chdir(workplace)
        arguments = ["train", "recipe.yaml", "--json", "new/out.json", "--seed", "3"]
        result = CliRunner().invoke(app, arguments)
    assert (result.exit_code, result.exception) == (0, None), result.output
    return result.stdout


def test_train_writes_the_figures(trained, workplace):
    summary = json.loads((workplace / "new/out.json").read_text())
    assert (summary["mode"], summary["seed"], summary["splits"]) == ("r", 3, 2)
    assert 0 <= summary["base_accuracy"] <= 100
    points = summary["operating_points"]
    assert {(row["method"], row["fused"]) for row in points} == {
        (method, fused) for method in METHODS for fused in (False, True)
    }
    fields = {
        *("method", "fused", "coverage", "accuracy_mean", "accuracy_std"),
        *("accuracy_kept_mean", "gain_over_global_mean", "macs_m"),
    }
    assert all(fields <= row.keys() for row in points)
    rates = summary["query_rate_to_match_cloud"]
    assert all({"method", "fused", "mean", "std"} <= row.keys() for row in rates)


def test_train_prints_tables(trained):
    for part in ("base", "global", "70%", "router, fused", "label oracle", "95 % interval"):
        assert part in trained
    assert "runs/tiny/bundle" in trained


def test_train_writes_a_bundle_and_a_report(trained, workplace):
    bundle = load_bundle(workplace / "runs/tiny/bundle")
    assert bundle.metadata["recipe"]["seed"] == 3
    assert query_rate(bundle.plan, bundle.rehearsal) <= 0.3
    assert "<svg" in (workplace / "runs/tiny/report.html").read_text()


def test_evaluate_gives_the_same_figures_and_trains_nothing(trained, call, workplace):
    before = {path: path.stat().st_mtime_ns for path in (workplace / "runs").rglob("*")}
    called = call("evaluate", "recipe.yaml", "--seed", 3, "--json", "again.json")
    assert called.status == 0
    assert "router, fused" in called.out
    again = (workplace / "again.json").read_text()
    assert again == (workplace / "new/out.json").read_text()
    assert {path: path.stat().st_mtime_ns for path in (workplace / "runs").rglob("*")} == before


def test_evaluate_before_training_is_refused(call, workplace):
    called = call("evaluate", "recipe.yaml", "--out", "elsewhere", "--json", "none.json")
    called.assert_refused("has not been trained", "hybridge train")
    assert not (workplace / "none.json").exists()
    assert not (workplace / "elsewhere").exists()


def test_check(call):
    called = call("check", "recipe.yaml")
    assert (called.status, called.out, called.err) == (0, "recipe.yaml: ok\n", "")
    assert json.loads(call("check", "recipe.yaml", "--json").out) == {"ok": True, "faults": []}


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Return a folder of data in which the files of shipped recipes are, if empty."""
    monkeypatch.setenv("HYBRIDGE_DATA", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("recipe", SHIPPED, ids=lambda path: path.stem)
def test_check_takes_every_kind(call, recipe, data):
    """Without data, all that is missing is data, whatever kind of recipe it is."""
    told = json.loads(call("check", recipe, "--json").out)
    assert [fault for fault in told["faults"] if str(data) not in fault] == []


@pytest.mark.parametrize(
    ("command", "recipe", "right"),
    [
        (["train"], "cifar10_pairs", "hybridge search"),
        (["evaluate"], "vgg11_tree", "hybridge tree search"),
        (["search"], "small_supernet", "hybridge supernet train"),
        (["supernet", "train"], "cifar10_resnet", "hybridge train"),
        (["tree", "search"], "cifar10_pairs", "hybridge search"),
        (["tree", "measure"], "cifar10_pairs", "hybridge search"),
    ],
)
def test_a_recipe_of_another_kind_is_told_by_its_command(call, command, recipe, right):
    called = call(*command, RECIPES / f"{recipe}.yaml")
    called.assert_refused(f"{recipe}.yaml", f"a recipe of '{right}'")


def test_check_names_every_fault(call):
    overrides = ["--set", "base.network=tiny_cn", "--set", "data.train.path=gone.npz"]
    called = call("check", "recipe.yaml", *overrides)
    called.assert_refused("did you mean 'tiny_cnn'?", "gone.npz")


def test_check_as_json_lists_the_faults(call):
    overrides = ["--set", "base.network=tiny_cn", "--set", "data.train.path=gone.npz"]
    called = call("check", "recipe.yaml", *overrides, "--json")
    assert called.status == 2
    told = json.loads(called.out)
    assert not told["ok"]
    assert len(told["faults"]) == 2


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["gone.yaml"], ["gone.yaml", "No such file"]),
        (["recipe.yaml", "--set", "evaluate.splitz=3"], ["'evaluate.splitz'", "'splits'"]),
        (["recipe.yaml", "--set", "routr.epochs=3"], ["'routr'", "'router'"]),
        (["recipe.yaml", "--set", "splits"], ["--set key.path=value"]),
        (["recipe.yaml", "--mode", "rx"], ["mode", "'rbg'", "'rx'"]),
        (["recipe.yaml", "--splits", "0"], ["evaluate.splits"]),
        (["recipe.yaml", "--set", "data.held_out.path=gone.npz"], ["gone.npz", "HYBRIDGE_DATA"]),
        (["recipe.yaml", "--set", "deploy.codec=web"], ["deploy.codec", "'webp'"]),
        (["recipe.yaml", "--mode", "rb"], ["needs 'data.train' and 'data.router'"]),
    ],
)
@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_a_recipe_that_cannot_work(call, workplace, command, arguments, parts):
    call(command, *arguments, "--out", "bad", "--json", "bad.json").assert_refused(*parts)
    assert not (workplace / "bad").exists()
    assert not (workplace / "bad.json").exists()


def test_class_counts_that_differ(call, workplace):
    write_arrays(workplace / "four.npz", 40, classes=4)
    changed = ["--set", "data.held_out.path=four.npz", "--out", "bad"]
    call("train", "recipe.yaml", *changed).assert_refused("3 classes", "4")
    assert not (workplace / "bad").exists()


def test_what_cannot_be_written_is_told_before_anything_runs(call, workplace):
    (workplace / "file").write_text("")
    started = ["train", "recipe.yaml", "--out", "late"]
    call(*started, "--json", "file/out.json").assert_refused("--json", "file")
    call(*started, "--json", ".").assert_refused("--json", "got a folder")
    call("train", "recipe.yaml", "--out", "file").assert_refused("--out", "file")
    assert not (workplace / "late").exists()


def test_a_folder_that_is_no_bundle_is_not_replaced(call, workplace):
    kept = workplace / "mine/bundle/letter.txt"
    kept.parent.mkdir(parents=True)
    kept.write_text("dear")
    call("train", "recipe.yaml", "--out", "mine").assert_refused("not a bundle")
    assert [path.name for path in (workplace / "mine").rglob("*")] == ["bundle", "letter.txt"]


@pytest.mark.slow
def test_an_infeasible_target_leaves_no_bundle(trained, call, workplace):
    target = ["--set", "deploy.target={macs_m: 0.001}", "--json", "never.json"]
    changed = ["train", "recipe.yaml", "--seed", 3, "--out", "runs/infeasible", *target]
    (workplace / "runs/infeasible").mkdir()
    (workplace / "runs/tiny/checkpoints").rename(workplace / "runs/infeasible/checkpoints")
    try:
        call(*changed).assert_refused("nearest feasible")
    finally:
        (workplace / "runs/infeasible/checkpoints").rename(workplace / "runs/tiny/checkpoints")
    assert not (workplace / "never.json").exists()
    assert not (workplace / "runs/infeasible/bundle").exists()
    assert not (workplace / "runs/infeasible/report.html").exists()


def test_nets_lists_the_registry(call):
    from hybridge.design.nets import networks

    rows = json.loads(call("nets", "--json").out)
    assert [row["name"] for row in rows] == networks.names()
    small = {row["name"]: row for row in rows}["cifar_resnet20"]
    assert small["resolution"] == 32
    assert round(small["macs"] / 1e6, 1) == 40.6
    assert "ResNet-20" in small["about"]


def test_nets_takes_a_pattern(call):
    listed = call("nets", "*_cnn").out
    assert "tiny_cnn" in listed
    assert "resnet" not in listed
    call("nets", "foo*").assert_refused("'foo*'")
