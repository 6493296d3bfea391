"""A tree that was found, exported: a bundle with a program for every distinct block variant."""

from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import JsonValue

from hybridge import __version__
from hybridge.data.dataset import ArrayDataset, Dataset
from hybridge.design.modeltree.choices import KEEP, plain_tree
from hybridge.design.modeltree.make_plan import TreePlan
from hybridge.design.modeltree.programs import Exports
from hybridge.plan.bundle import Bundle, save_bundle
from hybridge.plan.plan import Plan
from hybridge.recipes.model_tree import SceneResult, TreeRun
from hybridge.recipes.tree_library import Prepared
from hybridge.recipes.tree_methods import TREE
from hybridge.runtime.rehearse import rehearse


def export_tree(run: TreeRun, found: SceneResult, folder: Path, method: str = TREE) -> Bundle:
    """Export what a method found in a scene, rehearse it on the calibration images, and save it.

    Args:
        run: Whose library.
        found: What was found in a scene.
        folder: Where the bundle is written.
        method: Which of its methods.

    Raises:
        ConfigError: A block cannot be exported, or the file computes something else.
    """
    prepared, calibration = run.prepared, run.prepared.calibration
    images = ArrayDataset(
        calibration.pixels.numpy(), calibration.labels.numpy(), prepared.train.class_names
    )
    with TemporaryDirectory() as directory:
        exports = Exports(prepared.library, prepared.statistics, Path(directory))
        return export_with_endings(run, found, folder, method, exports, images)[0]


def export_with_endings(
    run: TreeRun,
    found: SceneResult,
    folder: Path,
    method: str,
    exports: Exports,
    images: Dataset,
) -> tuple[Bundle, TreePlan]:
    """Export as `export_tree` does; return the plan with what its leaves answer with, as well.

    Args:
        run: Whose library.
        found: What was found in a scene.
        folder: Where the bundle is written.
        method: Which of its methods.
        exports: Makes the programs; those that it has made for other methods are not made again.
        images: What is rehearsed on.
    """
    prepared, chosen = run.prepared, found.methods[method]
    planned = chosen.planned(exports, found.home, prepared.train.class_names)
    plan = _with_its_own_programs(planned.plan)
    metadata: dict[str, JsonValue] = {
        "name": prepared.recipe.name,
        "hybridge": __version__,
        "recipe": prepared.recipe.model_dump(mode="json", by_alias=True),
        "scene": found.scene.name,
        "device": found.scene.device.name,
        "method": method,
        "tree": list(plain_tree(chosen.tree)),
        "types_mbps": [bps / 1e6 for bps in found.scene.types.typical_bps],
        "link": asdict(found.scene.link),
        "branches": _branches(prepared, planned),
    }
    return save_bundle(plan, folder, rehearse(plan, images), metadata), planned


def _with_its_own_programs(plan: Plan) -> Plan:
    """Return a plan without programs that only others run."""
    used = {step.program for _, step in plan.steps()}
    programs = {name: program for name, program in plan.programs.items() if name in used}
    return plan.model_copy(update={"programs": programs})


def _branches(prepared: Prepared, planned: TreePlan) -> list[JsonValue]:
    """Return what every leaf of a plan compresses, and before which layer it is cut."""
    layers = [places[0].path for places in prepared.sliced.layers]
    return [
        {
            "path": list(path),
            "compressed": {
                layer: option
                for layer, option in zip(layers, end.composition, strict=True)
                if option != KEEP
            },
            "cut": None if end.cut is None else layers[end.cut],
        }
        for path, end in planned.endings.items()
    ]
