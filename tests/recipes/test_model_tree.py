"""A recipe of a tree, from images to a bundle, on few images and two short traces."""

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hybridge.design.modeltree.choices import KEEP, BlockChoice
from hybridge.design.modeltree.compose import PrefixRunner
from hybridge.design.modeltree.evaluators import LibraryEvaluator
from hybridge.design.modeltree.exact import ExactSettings
from hybridge.design.train.outputs import hash_network
from hybridge.errors import ConfigError
from hybridge.plan.answers import softmax
from hybridge.recipes import tree_library, tree_methods
from hybridge.recipes.load import validate
from hybridge.recipes.model_tree import TreeRun, run
from hybridge.recipes.tree_bundle import export_tree
from hybridge.recipes.tree_emulation import FORESIGHT
from hybridge.recipes.tree_finetune import finetune
from hybridge.recipes.tree_home import BestHome
from hybridge.recipes.tree_schema import TreeRecipe
from hybridge.recipes.tree_summary import summarise
from hybridge.runtime.edge.edge import EdgeRuntime

SIDE = 12
COUNTS = {"train": 120, "calibration": 40, "reporting": 41}
SLOW_LINKS = ((0.02, 0.05), (0.1, 0.4))
"""Mbit/s of each trace, which change every five seconds."""


def recipe(**changes: Any) -> TreeRecipe:
    train = {"epochs": 1, "batch_size": 40, "learning_rate": 0.05, "augment": "none"}
    content: dict[str, Any] = {
        "name": "tiny-tree",
        "data": {
            **{key: {"format": "arrays", "path": f"{key}.npz"} for key in COUNTS},
            "geometry": {"height": SIDE, "width": SIDE, "channels": 1},
        },
        "network": {"network": "tiny_cnn", "train": train},
        "library": {
            "options": ["C1-1", "F1-0.5"],
            "variants": {"images": 40, "epochs": 1, "batch_size": 20},
            "variants_of_block": 2,
            "together": train,
            "statistics_images": 40,
            "size_images": 10,
        },
        "search": {
            "searcher": "epsilon-greedy",
            "settings": {"episodes": 4},
            "accuracy_loss": 0.05,
            "compare": ["exact", "surgery"],
            "distilled": 1,
            "distill": {"images": 40, "train": train},
        },
        "contexts": [{"scenes": ["traces/4g_one.txt", "traces/wifi_two.txt"]}],
        "emulate_s": 4,
    }
    return validate(TreeRecipe, content | changes, "recipe")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("data")
    for seed, (name, count) in enumerate(COUNTS.items()):
        rng, labels = np.random.default_rng(seed), np.arange(count) % 3
        pixels = rng.integers(0, 60, (count, SIDE, SIDE, 1))
        for index, label in enumerate(labels):
            pixels[index, 4 * label : 4 * label + 4] += 150
        np.savez(folder / f"{name}.npz", pixels=pixels.astype(np.uint8), labels=labels)
    (folder / "traces").mkdir()
    for name, rates in zip(("4g_one", "wifi_two"), SLOW_LINKS, strict=True):
        lines = [f"{second} {rates[second // 5 % 2]}\n" for second in range(40)]
        (folder / "traces" / f"{name}.txt").write_text("".join(lines))
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("HYBRIDGE_CACHE", str(folder / "cache"))
        yield folder


@pytest.fixture(scope="module")
def found(root: Path, tmp_path_factory: pytest.TempPathFactory) -> TreeRun:
    return run(recipe(), root, tmp_path_factory.mktemp("run"))


def plain(run: TreeRun) -> dict[str, Any]:
    """What must not differ between two runs: all but seconds."""
    summary = json.loads(json.dumps(summarise(run)))
    del summary["library"], summary["search"]
    return summary


def test_every_method_is_judged_in_every_scene(found: TreeRun) -> None:
    assert [scene.scene.name for scene in found.scenes] == ["4g_one.txt", "wifi_two.txt"]
    kinds = {(row.scene, row.method, row.kind) for row in found.rows}
    for scene in found.scenes:
        for method in scene.methods:
            assert {(scene.scene.name, method, kind) for kind in ("offline", "emulated")} <= kinds
        assert (scene.scene.name, FORESIGHT, "emulated") in kinds
    assert all(0 <= row.accuracy <= 100 and row.latency_ms > 0 for row in found.rows)


def test_no_tree_is_worth_more_than_the_exact_one(found: TreeRun) -> None:
    for scene in found.scenes:
        problem, memo = scene.problem, {part: known.value for part, known in found.memo.items()}
        scores = {
            name: problem.score(scene.methods[name].tree, memo)
            for name in (tree_methods.TREE, tree_methods.EXACT)
        }
        assert scores[tree_methods.EXACT] >= scores[tree_methods.TREE] - 1e-9


def test_what_is_played_is_what_was_not_known(found: TreeRun, root: Path) -> None:
    for scene in found.scenes:
        (trace,) = scene.scene.traces.values()
        assert trace.duration_s == pytest.approx(20)
        assert scene.scene.types.typical_bps[0] < scene.scene.types.typical_bps[1]


def test_a_summary_is_what_a_machine_may_read(found: TreeRun) -> None:
    summary = json.loads(json.dumps(summarise(found)))
    assert {row["searcher"] for row in summary["search"]} == {"exact", "surgery"}
    assert len(summary["library_against_distill"]["compositions"]) == 1
    assert len(summary["trees"]) == 2
    assert summary["library"]["seconds_alone"] > 0


def test_an_interrupted_run_comes_to_the_same(
    found: TreeRun, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accuracy, calls = LibraryEvaluator.accuracy, []

    def failing(self: LibraryEvaluator, composition: tuple[str, ...]) -> Any:
        calls.append(composition)
        if len(calls) > 8:
            raise KeyboardInterrupt
        return accuracy(self, composition)

    monkeypatch.setenv("HYBRIDGE_CACHE", str(tmp_path / "cache"))
    with monkeypatch.context() as patched:
        patched.setattr(LibraryEvaluator, "accuracy", failing)
        with pytest.raises(KeyboardInterrupt):
            run(recipe(), root, tmp_path / "run")
    logits, ran = PrefixRunner.logits, []

    def counting(self: PrefixRunner, composition: tuple[str, ...]) -> Any:
        ran.append(composition)
        return logits(self, composition)

    monkeypatch.setattr(PrefixRunner, "logits", counting)
    assert plain(run(recipe(), root, tmp_path / "run")) == plain(found)
    first = len(ran)
    run(recipe(), root, tmp_path / "run")
    assert len(ran) == first  # what was measured is not measured again


@pytest.mark.slow
def test_a_bundle_says_what_the_rehearsal_on_modules_said(found: TreeRun, tmp_path: Path) -> None:
    scene = found.scenes[0]
    bundle = export_tree(found, scene, tmp_path / "bundle")
    assert bundle.metadata["method"] == tree_methods.TREE
    rehearsal, endings = bundle.rehearsal, scene.rehearsed[tree_methods.TREE].planned.endings
    assert rehearsal is not None
    for path, codec in rehearsal.probabilities:
        end = endings[path]
        if end.cut is None:
            runner = PrefixRunner(
                found.prepared.library, found.prepared.statistics, found.prepared.calibration.pixels
            )
            expected = softmax(runner.logits(end.composition).numpy())
            np.testing.assert_allclose(rehearsal.probabilities[path, codec], expected, atol=1e-4)
    with EdgeRuntime(bundle) as edge:
        answer = edge.predict(found.prepared.calibration.pixels[0].numpy())
    assert answer.source == "edge"


def test_a_home_keeps_what_is_left_where_nothing_was_measured(found: TreeRun) -> None:
    problem = found.scenes[0].problem
    first = BlockChoice(None, (KEEP,) * len(problem.space.blocks[0].slots))
    rest = BestHome(problem, {})((first,))
    assert all(choice.cut is None and set(choice.options) == {KEEP} for choice in rest)
    assert len(rest) == problem.space.levels - 1


def test_more_blocks_than_units_are_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="from 1 to 4 blocks"):
        run(recipe(slices={"blocks": 9}), root, tmp_path)


def test_a_space_too_large_for_the_yardstick_is_refused_before_it_is_built(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree_library, "build_library", pytest.fail)
    library = recipe().library.model_dump() | {"variants_of_block": None, "options": ["*"]}
    monkeypatch.setattr(tree_library, "ExactSettings", partial(ExactSettings, compositions=3))
    with pytest.raises(ConfigError, match="at most 3 compositions"):
        run(recipe(library=library), root, tmp_path)


def test_fine_tuning_changes_what_was_chosen_and_nothing_else(
    found: TreeRun, root: Path, tmp_path: Path
) -> None:
    prepared = found.prepared
    train = prepared.recipe.library.together
    assert train is not None
    search = prepared.recipe.search.model_copy(update={"finetune": train})
    asked = replace(prepared, recipe=prepared.recipe.model_copy(update={"search": search}))
    (index, option), *_ = [at for at, _ in prepared.library.variants()]
    chosen = tuple(option if at == index else KEEP for at in range(len(prepared.original)))
    before = hash_network(prepared.library)

    tuned = finetune(asked, [chosen, prepared.original], tmp_path)

    assert hash_network(prepared.library) == before
    assert tuned.library.fingerprint != prepared.library.fingerprint
    assert finetune(asked, [chosen], tmp_path).library.fingerprint == tuned.library.fingerprint
    pixels = prepared.reporting.pixels
    same, network = tuned.library.network(prepared.original).eval(), prepared.sliced.network.eval()
    assert same(pixels).equal(network(pixels))
    assert finetune(prepared, [chosen], tmp_path) is prepared
    assert finetune(asked, [prepared.original], tmp_path) is asked
