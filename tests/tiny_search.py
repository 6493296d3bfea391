"""A recipe of a joint search on images of a few pixels, and the images."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from hybridge.design.nets.weights import save_weights
from hybridge.recipes.load import validate
from hybridge.recipes.pair_schema import PairRecipe
from hybridge.recipes.supernet import WEIGHTS, new_supernet, run_hash

SIDE = 28


def source(key: str) -> dict[str, Any]:
    return {"format": "arrays", "path": f"{key}.npz"}


def write_images(folder: Path) -> None:
    """Write the images of `search_recipe`: of three classes, and nothing to tell them apart by."""
    rng = np.random.default_rng(0)
    for key, count in (("train", 16), ("validation", 16), ("router", 12), ("held_out", 40)):
        pixels = rng.integers(0, 256, (count, SIDE, SIDE, 1), np.uint8)
        np.savez(folder / f"{key}.npz", pixels=pixels, labels=np.arange(count) % 3)


def search_recipe() -> dict[str, Any]:
    return {
        "name": "tiny-pairs",
        "supernet": {
            "name": "tiny-supernet",
            "data": {
                "train": source("train"),
                "validation": source("validation"),
                "geometry": {"height": SIDE, "width": SIDE, "channels": 1},
            },
            "family": "elastic_small",
            "mean": [0.5],
            "std": [0.3],
            "shrink": {
                "batch_size": 8,
                "augment": "none",
                "phases": [
                    {"name": "full", "epochs": 1},
                    {"name": "depths", "epochs": 1, "depths": [1, 2, 3], "resolutions": [24, 28]},
                ],
            },
            "subnets": {"random": 0},
        },
        "search": {
            "limits": [{"macs_m": 2.5}],
            "evolution": {
                "generations": 1,
                "population": 3,
                "parents": 2,
                "survivors": 2,
                "redraws": 2,
            },
            "rungs": [
                {"calibration_images": 8, "validation_images": 8},
                {"calibration_images": 16},
            ],
            "methods": ["pair", "single", "random", "smallest + largest"],
            "random_pairs": 1,
        },
        "hybrid": {
            "held_out": source("held_out"),
            "router_images": source("router"),
            "evaluate": {"splits": 1, "coverages": [0.5]},
            "router": {"epochs": 2},
        },
    }


def opened(**changes: Any) -> PairRecipe:
    """Return the recipe with keys changed, by their path: ``search__limits=[...]``."""
    content = search_recipe()
    for path, value in changes.items():
        *above, key = path.split("__")
        place = content
        for each in above:
            place = place[each]
        place[key] = value
    return validate(PairRecipe, content, "recipe")


def write_supernet(recipe: PairRecipe, folder: Path) -> None:
    """Write the recipe's supernet as if it had been trained, with random weights."""
    network = new_supernet(recipe.supernet, 3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.nn.init.normal_(network.network.classifier.weight)  # so that images differ
    path = folder.parent / recipe.supernet.name / WEIGHTS
    save_weights(network.network, path, run_hash(recipe.supernet))
