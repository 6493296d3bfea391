"""A tiny bundle on disk: hand-made programs with costs, rehearsed."""

from pathlib import Path

import numpy as np

from hybridge.data.dataset import ArrayDataset
from hybridge.plan.bundle import Bundle, save_bundle
from hybridge.plan.layers import Layer
from hybridge.plan.variants import with_threshold
from hybridge.runtime.rehearse import rehearse
from tiny_plans import NAMES, images, pair_plan

COUNT = 40
MACS = {"base": 2_000_000, "global": 10_000_000}


def make_bundle(folder: Path, name: str = "tiny", codec: str = "raw") -> Bundle:
    """A rehearsed selective query that sends half of its calibration data."""
    folder.mkdir(parents=True)
    plan = pair_plan(folder, codec=codec)
    programs = {
        key: program.model_copy(
            update={
                "layers": (
                    Layer(name="l", kind="conv", macs=MACS[key], parameters=9, output_bytes=4),
                )
            }
        )
        for key, program in plan.programs.items()
    }
    plan = plan.model_copy(update={"programs": programs})
    data = ArrayDataset(images(COUNT), np.arange(COUNT) % 3, NAMES)
    rehearsal = rehearse(plan, data)
    halved = with_threshold(plan, float(np.median(rehearsal.score[()])))
    return save_bundle(halved, folder / "bundle", rehearsal, {"name": name, "seed": 7})
