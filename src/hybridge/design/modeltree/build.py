"""A block library, built from images: every variant made, trained by itself, and kept on disk.

Letters: ``n`` images.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hybridge.data.dataset import Dataset
from hybridge.design.modeltree.compose import run
from hybridge.design.modeltree.library import Library, Variant
from hybridge.design.modeltree.sliced import SlicedNetwork
from hybridge.design.modeltree.variants import (
    UnitOption,
    VariantSettings,
    make_variant,
    train_variant,
)
from hybridge.design.store import Arrays, Store
from hybridge.design.train.outputs import hash_network
from hybridge.hashing import hash_json
from hybridge.progress import track

#: Enough to give a variant its form; its weights are then read from disk.
_FEW = 16


@dataclass(frozen=True)
class BuiltVariant:
    """What came of one variant.

    Attributes:
        unit: Index of its unit.
        option: What the unit becomes.
        error: Mean squared error of what it gives over the variance, after training.
        seconds: What making and training it took, now or when it was kept.
    """

    unit: int
    option: str
    error: float
    seconds: float


def build_library(
    sliced: SlicedNetwork,
    options: Mapping[int, tuple[UnitOption, ...]],
    dataset: Dataset,
    settings: VariantSettings,
    store: Store,
    *,
    seed: int,
) -> tuple[Library, tuple[BuiltVariant, ...]]:
    """Return a library with every option of every unit, each trained by itself.

    Args:
        sliced: The network.
        options: What each unit may become.
        dataset: Training images.
        settings: How variants are trained.
        store: Where they are kept.
        seed: Of images and their order.

    Raises:
        ConfigError: An option does not fit its unit.
    """
    base = [hash_network(sliced.network), dataset.fingerprint, settings.model_dump(), seed]
    keys = {
        # Units that begin alike may end elsewhere, where neighbours are joined.
        (index, option): hash_json(
            ["variant", *base, [sliced.units[at].nodes for at in option.window(index)], option.name]
        )
        for index in range(len(sliced.units))
        for option in options.get(index, ())
    }
    found = {at: store.get(key) for at, key in keys.items()}
    seen = calibration_pixels(dataset, settings.images, seed)
    if all(kept is not None for kept in found.values()):
        seen = seen[:_FEW]
    variants: dict[tuple[int, str], Variant] = {}
    built = []
    for index in track(range(len(sliced.units)), "building variants"):
        for option in options.get(index, ()):
            kept = found[index, option]
            if kept is None:
                variant, kept = _build(sliced, index, option, seen, settings, seed)
                store.put(keys[index, option], kept)
            else:
                variant = _restore(sliced, index, option, seen, kept, seed)
            variants[index, option.name] = variant
            error, seconds = float(kept["error"]), float(kept["seconds"])
            built.append(BuiltVariant(index, option.name, error, seconds))
        seen = run(sliced.modules[index], seen)
    return Library(sliced, variants), tuple(built)


def calibration_pixels(dataset: Dataset, count: int, seed: int) -> Tensor:
    """Return some random images of a dataset as pixels ``(n, H, W, C)``."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(dataset))[:count]
    return torch.from_numpy(dataset.pixels(np.sort(rows)))


def _build(
    sliced: SlicedNetwork,
    index: int,
    option: UnitOption,
    seen: Tensor,
    settings: VariantSettings,
    seed: int,
) -> tuple[Variant, Arrays]:
    """Return a variant, made and trained, and what is kept of it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        began = time.perf_counter()
        variant = make_variant(sliced, index, option, seen)
        error = train_variant(sliced, index, option, variant, seen, settings, seed)
        seconds = time.perf_counter() - began
    return variant, {**_arrays(variant), "error": np.array(error), "seconds": np.array(seconds)}


def _restore(
    sliced: SlicedNetwork, index: int, option: UnitOption, seen: Tensor, kept: Arrays, seed: int
) -> Variant:
    """Return a variant with the weights that are kept."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        variant = make_variant(sliced, index, option, seen[:_FEW])
    _fill(variant, kept)
    return variant


def _arrays(variant: Variant) -> dict[str, np.ndarray[Any, Any]]:
    return {
        f"{path}/{name}": value.detach().numpy()
        for path, module in variant.items()
        for name, value in module.state_dict().items()
    }


def _fill(variant: Variant, kept: Arrays) -> None:
    for path, module in variant.items():
        start = f"{path}/"
        weights = {
            name.removeprefix(start): torch.from_numpy(np.array(value))
            for name, value in kept.items()
            if name.startswith(start)
        }
        module.load_state_dict(weights)
