"""A recipe of a supernet, run: trained phase by phase, then some of its subnets judged."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hybridge.data.dataset import Dataset, subset
from hybridge.design.nets.network import PixelNetwork
from hybridge.design.nets.weights import (
    check_run,
    load_weights,
    save_weights,
    stored_class_count,
)
from hybridge.design.supernet.judge import Judged, Subnet, judge, judge_alone
from hybridge.design.supernet.shrink import shrink, supernet_of
from hybridge.design.supernet.supernet import Supernet
from hybridge.design.train.loop import EpochRecord
from hybridge.design.train.processes import own_device
from hybridge.errors import ConfigError, DataError
from hybridge.hashing import hash_json
from hybridge.progress import track
from hybridge.recipes.networks import drawn_from
from hybridge.recipes.supernet_schema import SupernetRecipe
from hybridge.recipes.training import CHECKPOINTS, LOGS, train_network

WEIGHTS = "supernet.safetensors"
_SOME_CLASSES = 10
_COMMAND = "hybridge supernet train"


@dataclass(frozen=True)
class SupernetRun:
    """What a recipe came to.

    Attributes:
        recipe: As it was run.
        network: The supernet, trained.
        history: What came of every epoch of every phase.
        judged: Subnets by what they are called: smallest, random, largest, and those of ``alone``.
        alone: How those do that were trained by themselves.
    """

    recipe: SupernetRecipe
    network: PixelNetwork
    history: dict[str, tuple[EpochRecord, ...]]
    judged: dict[str, Judged]
    alone: dict[str, Judged]


def check(recipe: SupernetRecipe, root: Path) -> None:
    """Raise `ConfigError` naming everything that would stop the recipe, without running it."""
    if faults := recipe.faults(root):
        raise ConfigError("; ".join(faults))


def run(recipe: SupernetRecipe, root: Path, folder: Path) -> SupernetRun:
    """Train a supernet, or read its weights where the recipe has any, and judge some subnets.

    A run that was cut off goes on where it stopped, and comes to the same.

    Args:
        recipe: What to do.
        root: Folder that data paths start from.
        folder: For checkpoints, logs and the weights, which `load_supernet` reads.

    Raises:
        ConfigError: The recipe cannot be run, or the training diverged.
        DataError: Images or weights are missing, damaged, or of another supernet.
    """
    check(recipe, root)
    history: dict[str, tuple[EpochRecord, ...]] = {}
    if recipe.weights is None:
        network, history = _trained(recipe, root, folder)
    else:
        network = read_supernet(recipe, root)
    save_weights(network.network, folder / WEIGHTS, run_hash(recipe))
    judged = {
        name: _judge(recipe, root, network, subnet)
        for name, subnet in track(_named(recipe).items(), "judging subnets")
    }
    alone = {
        name: _train_alone(recipe, root, folder, subnet)
        for name, subnet in zip(recipe.subnets.alone, recipe.alone(), strict=True)
    }
    return SupernetRun(recipe, network, history, judged, alone)


def _trained(
    recipe: SupernetRecipe, root: Path, folder: Path
) -> tuple[PixelNetwork, dict[str, tuple[EpochRecord, ...]]]:
    """Return the supernet after all phases, in evaluation mode, and what came of every epoch."""
    train = recipe.data.train.open(recipe.geometry(), root)
    network = new_supernet(recipe, train.class_count)
    history = shrink(
        network,
        train,
        recipe.shrink,
        recipe.phases(),
        seed=recipe.seed,
        checkpoints=folder / CHECKPOINTS,
        logs=folder / LOGS,
    )
    return network.to(own_device()).eval(), history


def find_supernet(recipe: SupernetRecipe, root: Path, folder: Path) -> PixelNetwork:
    """Return a supernet by what is there: the recipe's weights, those in its folder, or neither.

    Where there are none it is trained, and leaves them in the folder.

    Args:
        recipe: Of the supernet.
        root: Folder that data paths start from.
        folder: Of its runs.

    Raises:
        ConfigError: The recipe cannot be run, or another has left weights in the folder.
        DataError: Images or weights are missing, damaged, or of another supernet.
    """
    if recipe.weights is not None:
        return read_supernet(recipe, root)
    if (folder / WEIGHTS).exists():
        return load_supernet(recipe, folder)
    return run(recipe, root, folder).network


def new_supernet(recipe: SupernetRecipe, class_count: int) -> PixelNetwork:
    """Return the supernet of a recipe with the weights that its seed gives it."""
    family, channels = recipe.elastic(), recipe.geometry().channels
    mean, std = recipe.network().statistics()
    with drawn_from(recipe.seed, "supernet"):
        return PixelNetwork(Supernet(class_count, family, channels), mean, std)


def load_supernet(recipe: SupernetRecipe, folder: Path) -> PixelNetwork:
    """Return the supernet that a run of the recipe left in its folder, in evaluation mode.

    Raises:
        ConfigError: It was trained by another recipe.
        DataError: It has not been trained, or its weights are damaged.
    """
    path = folder / WEIGHTS
    check_run(path, run_hash(recipe), _COMMAND)
    return _filled(recipe, path)


def read_supernet(recipe: SupernetRecipe, root: Path) -> PixelNetwork:
    """Return the supernet that a recipe names the weights of, in evaluation mode.

    Args:
        recipe: With ``weights``.
        root: Folder that data paths start from.

    Raises:
        DataError: The file is missing or damaged, is of another supernet, or tells other classes
            apart than the images have.
    """
    assert recipe.weights is not None
    network = _filled(recipe, root / recipe.weights, recipe.names)
    own = supernet_of(network).class_count
    expected = recipe.data.train.open(recipe.geometry(), root).class_count
    if own != expected:
        raise DataError(
            f"{root / recipe.weights} tells {own} classes apart, the images have {expected}; give "
            "weights and images of the same classes"
        )
    return network


def _filled(recipe: SupernetRecipe, path: Path, names: str | None = None) -> PixelNetwork:
    """Return a supernet of as many classes as the weights in a file are for, with these."""
    outline = new_supernet(recipe, _SOME_CLASSES)
    count = stored_class_count(outline.network, path, {}, names)
    network = new_supernet(recipe, count or _SOME_CLASSES)
    load_weights(network.network, path, names=names)
    return network.to(own_device()).eval()


def run_hash(recipe: SupernetRecipe) -> str:
    """Hash all of a recipe that the weights depend on: not how subnets are judged."""
    parts: dict[str, Any] = recipe.model_dump(
        mode="json", include={"seed", "family", "mean", "std", "shrink"}
    )
    if recipe.weights is not None:
        parts |= recipe.model_dump(mode="json", include={"weights", "names"})
    geometry, source = recipe.geometry(), recipe.data.train
    phases = [phase.model_dump(mode="json") for phase in recipe.phases()]
    return hash_json(
        [parts, phases, geometry.model_dump(mode="json"), source.model_dump(mode="json")]
    )


def _named(recipe: SupernetRecipe) -> dict[str, Subnet]:
    """Return the subnets that are judged, by what they are called."""
    space, resolutions = recipe.elastic().space, recipe.resolutions()
    rng = np.random.default_rng(recipe.seed)
    named = {"smallest": Subnet(space.smallest, resolutions[0])}
    for number in range(1, recipe.subnets.random + 1):
        architecture = space.canonical(space.random(rng))
        named[f"random {number}"] = Subnet(architecture, int(rng.choice(resolutions)))
    named["largest"] = Subnet(space.largest, resolutions[-1])
    alone = zip(recipe.subnets.alone, recipe.alone(), strict=True)
    return named | {name: subnet for name, subnet in alone if subnet not in named.values()}


def _judge(recipe: SupernetRecipe, root: Path, network: PixelNetwork, subnet: Subnet) -> Judged:
    geometry = recipe.geometry(subnet.resolution)
    train = recipe.data.train.open(geometry, root)
    statistics = statistics_pixels(train, recipe)
    return judge(network, subnet, statistics, recipe.data.validation.open(geometry, root))


def statistics_pixels(train: Dataset, recipe: SupernetRecipe) -> torch.Tensor:
    """Return the training images ``(B, H, W, C)`` that batch normalisation is recalibrated on."""
    rng = np.random.default_rng(recipe.seed)
    rows = np.sort(rng.permutation(len(train))[: recipe.subnets.statistics_images])
    return torch.from_numpy(subset(train, rows).pixels(np.arange(len(rows))))


def _train_alone(recipe: SupernetRecipe, root: Path, folder: Path, subnet: Subnet) -> Judged:
    """Train a subnet's network from nothing, as long as the supernet was; return how it does."""
    geometry, config = recipe.geometry(subnet.resolution), recipe.network(subnet)
    role = f"alone {subnet}".replace(" | ", "-").replace(" @ ", "-").replace(" ", "-")
    train = recipe.data.train.open(geometry, root)
    network = config.new(train.class_count, recipe.seed, role)
    train_network(network, config, train, folder=folder, role=role, seed=recipe.seed)
    held_out = recipe.data.validation.open(geometry, root)
    return judge_alone(network.to(own_device()), subnet, held_out)
