"""A tree that was found, exported: a bundle with a program for every distinct block variant."""

from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import JsonValue

from hybridge import __version__
from hybridge.data.arrays import ArrayDataset
from hybridge.design.modeltree.choices import plain_tree
from hybridge.design.modeltree.make_plan import make_plan
from hybridge.design.modeltree.programs import Exports
from hybridge.plan.bundle import Bundle, save_bundle
from hybridge.recipes.model_tree import BestHome, SceneResult, TreeRun
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
    prepared, chosen = run.prepared, found.methods[method]
    calibration = prepared.calibration
    with TemporaryDirectory() as directory:
        exports = Exports(prepared.library, prepared.statistics, Path(directory))
        planned = make_plan(
            chosen.space,
            chosen.tree,
            chosen.borders_bps,
            exports,
            BestHome(found.problem, run.memo),
            image_codec=chosen.image_codec,
            class_names=prepared.train.class_names,
        )
        data = ArrayDataset(
            calibration.pixels.numpy(), calibration.labels.numpy(), prepared.train.class_names
        )
        rehearsal = rehearse(planned.plan, data)
        metadata: dict[str, JsonValue] = {
            "name": prepared.recipe.name,
            "hybridge": __version__,
            "recipe": prepared.recipe.model_dump(mode="json", by_alias=True),
            "scene": found.scene.name,
            "device": found.scene.device.name,
            "method": method,
            "tree": plain_tree(chosen.tree),
        }
        return save_bundle(planned.plan, folder, rehearsal, metadata)
