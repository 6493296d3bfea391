"""A recipe of a model tree, run: library, searches, what they come to offline and emulated."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hybridge.cost.reward import Reward
from hybridge.design.modeltree.choices import BlockChoice, Composition
from hybridge.design.modeltree.evaluators import DistillEvaluator, LibraryEvaluator
from hybridge.design.modeltree.problem import TreeProblem
from hybridge.design.modeltree.programs import Outlines
from hybridge.design.search.problem import Measured
from hybridge.design.search.run import SearchResult
from hybridge.design.store import Store
from hybridge.progress import track
from hybridge.recipes.tree_emulation import FORESIGHT, Rehearsed, Rehearser, play
from hybridge.recipes.tree_finetune import finetune
from hybridge.recipes.tree_home import BestHome
from hybridge.recipes.tree_library import Prepared, check, prepare
from hybridge.recipes.tree_methods import TREE, Method, branches_met, find_methods, find_tree
from hybridge.recipes.tree_scene import TreeScene, open_scene, problem_of, with_image_bytes
from hybridge.recipes.tree_schema import TreeRecipe

Memo = dict[Composition, Measured[float]]


@dataclass(frozen=True)
class TreeRow:
    """How a method does in a scene.

    Attributes:
        network: Name of the network.
        device: Name of the device.
        scene: Name of the scene.
        method: Name of the method.
        kind: ``offline``: expected over types of bandwidth; ``emulated``: over traces;
            ``measured``: between two processes.
        reward: Of latency and accuracy.
        latency_ms: Mean latency.
        accuracy: In percent of the reporting images.
    """

    network: str
    device: str
    scene: str
    method: str
    kind: str
    reward: float
    latency_ms: float
    accuracy: float


@dataclass(frozen=True)
class SearchRow:
    """Where a searcher stood after a candidate."""

    searcher: str
    seed: int
    evaluations: int
    seconds: float
    reward: float


@dataclass(frozen=True)
class DistilledRow:
    """A composition judged by the library, and trained as the paper does.

    Accuracies are in percent of the calibration images.
    """

    composition: tuple[str, ...]
    library: float
    distill: float


@dataclass(frozen=True)
class SceneResult:
    """What was found in a scene.

    Attributes:
        scene: Where.
        problem: Of the tree.
        methods: Every method, by name.
        home: What each does where the cloud does not answer.
        rehearsed: Each as a plan.
        rows: How they do.
    """

    scene: TreeScene
    problem: TreeProblem
    methods: dict[str, Method]
    home: BestHome
    rehearsed: dict[str, Rehearsed]
    rows: tuple[TreeRow, ...]


@dataclass(frozen=True)
class TreeRun:
    """What a recipe came to.

    Attributes:
        prepared: Network, library and images.
        scenes: What was found in each scene.
        search: Curves of searchers, in the first scene.
        distilled: The library against the paper's way.
        memo: Accuracies on the calibration images.
    """

    prepared: Prepared
    scenes: tuple[SceneResult, ...]
    search: tuple[SearchRow, ...]
    distilled: tuple[DistilledRow, ...]
    memo: Memo

    @property
    def rows(self) -> tuple[TreeRow, ...]:
        """How every method does in every scene."""
        return tuple(row for scene in self.scenes for row in scene.rows)


def run(recipe: TreeRecipe, root: Path, folder: Path) -> TreeRun:
    """Build the library, search every scene, and play what was found.

    A run that was cut off goes on where it stopped, and comes to the same.

    Args:
        recipe: What to do.
        root: Folder that data paths start from.
        folder: Where checkpoints are kept.

    Raises:
        ConfigError: The recipe cannot be run.
        DataError: A trace is missing, or cannot be read.
    """
    check(recipe, root)
    # Before anything is trained, since a trace may be missing or damaged.
    places = [
        open_scene(recipe, context, scene, root)
        for context in recipe.contexts
        for scene in context.scenes
    ]
    prepared = prepare(recipe, root, folder)
    evaluator = prepared.evaluator(prepared.calibration)
    memo: Memo = {}
    searched = [
        _search_scene(prepared, scene, evaluator, memo)
        for scene in track(places, "searching scenes")
    ]
    outlines = Outlines(prepared.library)
    chosen = (  # not looked at unless it is to be fine-tuned
        end.composition
        for each in searched
        for method in each.methods.values()
        for end in method.planned(outlines, each.home).endings.values()
    )
    tuned = finetune(prepared, chosen, folder)
    rehearser = Rehearser(tuned)
    return TreeRun(
        prepared=tuned,
        scenes=tuple(_judge(tuned, each, rehearser) for each in searched),
        search=tuple(_curves(recipe, searched[0].problem, memo)),
        distilled=tuple(_distilled(prepared, evaluator)),
        memo=memo,
    )


@dataclass(frozen=True)
class _Searched:
    """What was found in a scene, before it is judged on the reporting images."""

    scene: TreeScene
    problem: TreeProblem
    methods: dict[str, Method]
    home: BestHome


def _search_scene(
    prepared: Prepared, scene: TreeScene, evaluator: LibraryEvaluator, memo: Memo
) -> _Searched:
    problem = problem_of(prepared, scene, evaluator)
    methods = find_methods(prepared.recipe, scene, problem, memo)
    # What is known by now: the home must be the same whenever the tree is made a plan.
    return _Searched(scene, problem, methods, BestHome(problem, dict(memo)))


def _judge(prepared: Prepared, found: _Searched, rehearser: Rehearser) -> SceneResult:
    scene, problem = found.scene, found.problem
    rehearsed = {
        name: rehearser.rehearse(method, found.home) for name, method in found.methods.items()
    }
    rows = []
    for name, method in found.methods.items():
        rows.append(_offline(prepared, scene, problem, name, method, rehearsed[name]))
        rows.append(_emulated(prepared, scene, name, rehearsed[name]))
    reward = prepared.recipe.reward
    rows.append(_emulated(prepared, scene, FORESIGHT, rehearsed[TREE], reward))
    return SceneResult(scene, problem, found.methods, found.home, rehearsed, tuple(rows))


def _offline(
    prepared: Prepared,
    scene: TreeScene,
    problem: TreeProblem,
    name: str,
    method: Method,
    rehearsed: Rehearsed,
) -> TreeRow:
    """Return what is expected of a method, with every type of the scene as likely as another."""
    right = {
        (end.composition, end.cut): float(np.mean(answers == rehearsed.rehearsal.truth))
        for end, answers in rehearsed.answers()
    }
    if method.image_codec != prepared.recipe.image_codec:
        sent = rehearsed.rehearsal.payload_bytes.items()
        images = [sizes for (_, codec), sizes in sent if codec == method.image_codec]
        problem = with_image_bytes(problem, prepared, scene, float(np.mean(images)))
    met = list(branches_met(method, scene.types.typical_bps))
    latencies_ms = [problem.latency_ms(branch, kind) for branch, kind in met]
    accuracies = [right[_ending_of(prepared, problem, branch)] for branch, _ in met]
    latency_ms, accuracy = float(np.mean(latencies_ms)), float(np.mean(accuracies))
    return tree_row(prepared, scene, name, "offline", prepared.recipe.reward, latency_ms, accuracy)


def _ending_of(
    prepared: Prepared, problem: TreeProblem, branch: Sequence[BlockChoice]
) -> tuple[Composition, int | None]:
    """Return what a branch is made of, and the unit of the network before which it is cut."""
    cut = branch[-1].cut
    if cut is not None:
        cut += prepared.sliced.block_starts[len(branch) - 1]
    return problem.space.composition(branch), cut


def _emulated(
    prepared: Prepared,
    scene: TreeScene,
    name: str,
    rehearsed: Rehearsed,
    foresight: Reward | None = None,
) -> TreeRow:
    recipe = prepared.recipe
    played = play(rehearsed, scene, recipe.emulate_s, foresight=foresight)
    latency_ms, accuracy = float(played.latency_ms.mean()), float(played.right.mean())
    return tree_row(prepared, scene, name, "emulated", recipe.reward, latency_ms, accuracy)


def tree_row(
    prepared: Prepared,
    scene: TreeScene,
    method: str,
    kind: str,
    reward: Reward,
    latency_ms: float,
    accuracy: float,
) -> TreeRow:
    """Return how a method does in a scene; ``accuracy`` is a share from 0 to 1."""
    return TreeRow(
        network=prepared.recipe.network.network,
        device=scene.device.name,
        scene=scene.name,
        method=method,
        kind=kind,
        reward=reward.of(latency_ms, accuracy),
        latency_ms=latency_ms,
        accuracy=100 * accuracy,
    )


def _curves(recipe: TreeRecipe, problem: TreeProblem, memo: Memo) -> list[SearchRow]:
    """Return how each searcher of the comparison rises, over evaluations and seconds."""
    rows = []
    for searcher in recipe.search.compare:
        seeds = 1 if searcher in ("exact", "surgery") else recipe.search.seeds
        for seed in range(seeds):
            found: SearchResult[Any] = find_tree(problem, searcher, recipe, seed, memo)
            last = None
            for row in found.history:
                if row.score != last or row is found.history[-1]:
                    rows.append(SearchRow(searcher, seed, row.evaluations, row.seconds, row.score))
                last = row.score
    return rows


def _distilled(prepared: Prepared, evaluator: LibraryEvaluator) -> list[DistilledRow]:
    """Judge random compositions by the library, and by training each as the paper does."""
    search, seed = prepared.recipe.search, prepared.recipe.seed
    distil = DistillEvaluator(
        prepared.alone,
        prepared.train,
        prepared.calibration,
        Store(),
        search.distill,
        seed=seed,
    )
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(search.distilled):
        options = prepared.library.options.values()
        composition = tuple(str(rng.choice(each)) for each in options)
        rows.append(
            DistilledRow(
                composition,
                100 * evaluator.accuracy(composition).value,
                100 * distil.accuracy(composition).value,
            )
        )
    return rows
