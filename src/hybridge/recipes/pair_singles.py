"""Single networks beside pairs: as they were found, and trained on for as long as a pair's base."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from hybridge.data.dataset import Indices
from hybridge.data.splits import halves
from hybridge.design.query.evaluate import split_seed
from hybridge.design.query.losses import base_weights
from hybridge.design.search.problem import Measured
from hybridge.design.store import Store
from hybridge.design.supernet.judge import Subnet
from hybridge.design.train.loop import Weights
from hybridge.design.train.outputs import keep_outputs
from hybridge.hashing import hash_json
from hybridge.recipes.networks import NetworkConfig
from hybridge.recipes.pair import Found
from hybridge.recipes.pair_networks import TakenOut
from hybridge.recipes.pair_schema import PairRecipe
from hybridge.recipes.training import read_weights_of, train_network


@dataclass(frozen=True, slots=True)
class SingleJob:
    """A network to be judged by itself, whatever limit it was found under.

    Attributes:
        network: Which.
        trained_on: Whether it is first trained as a base is in mode ``rb``: by the same settings,
            on the same images, for as many epochs, with the weight of images that a base keeps.
        seed: Of that, and of the halves whose second it is judged on.
    """

    network: Subnet
    trained_on: bool
    seed: int


@dataclass(frozen=True)
class MadeSingle:
    """One network by itself, on the images that hybrids of its seed report on.

    Attributes:
        found: Which, under which limit.
        job: How it was made.
        accuracy: Share that it is right on.
    """

    found: Found
    job: SingleJob
    accuracy: float


class Singles:
    """Judges single networks on the held-out images.

    Args:
        recipe: Says how; with how hybrids are made.
        taken: Writes networks down.
        root: Folder that data paths start from.
        folder: Where weights and checkpoints lie.
    """

    def __init__(self, recipe: PairRecipe, taken: TakenOut, root: Path, folder: Path) -> None:
        assert recipe.hybrid is not None
        self._recipe, self._settings = recipe, recipe.hybrid
        self._taken, self._root, self._folder = taken, root, folder

    def jobs(self, found: Sequence[Found]) -> list[tuple[Found, SingleJob]]:
        """Return what is to be judged: trained on, too, beside pairs whose bases are."""
        return [
            (each, job)
            for each in found
            if each.pair.global_ is None and isinstance(network := each.pair.base, Subnet)
            for job in self._jobs(network, each.limits in self._recipe.search.limits)
        ]

    def _jobs(self, network: Subnet, beside_pairs: bool) -> list[SingleJob]:
        first, trains = self._recipe.seed, any(mode != "r" for mode in self._settings.modes)
        ways = (False, True) if beside_pairs and trains else (False,)
        seeds = range(first, first + self._settings.seeds)
        return [SingleJob(network, trained_on, seed) for trained_on in ways for seed in seeds]

    def measure(self, part: SingleJob) -> Measured[float]:
        """Return the share of the images that a network is right on."""
        began = time.perf_counter()
        data, geometry = self._recipe.supernet.data, self._recipe.supernet.geometry()
        held_out = self._settings.held_out.open(geometry, self._root)
        config = self.config(part)
        network = config.new(held_out.class_count, part.seed, "single")
        read_weights_of(config, network, self._root)
        if part.trained_on:
            folder = self._folder / f"{hash_json(str(part.network))[:12]}-seed{part.seed}"
            train = data.train.open(geometry, self._root)
            train_network(
                network,
                config,
                train,
                folder=folder,
                role="single",
                seed=part.seed,
                sample_weights=self._weights(len(train)),
            )
        outputs = keep_outputs(network.eval(), held_out, store=Store())
        right = outputs.logits.argmax(1) == held_out.labels
        accuracy = np.mean([right[half].mean() for half in self._halves(part.seed, len(right))])
        return Measured(float(accuracy), time.perf_counter() - began)

    def _weights(self, count: int) -> Weights | None:
        """Return the weights of the images for a base that keeps them all."""
        kept = torch.zeros(count, dtype=torch.bool)
        return base_weights(kept).numpy() if self._settings.alternate.focus else None

    def _halves(self, seed: int, count: int) -> list[Indices]:
        """Return what hybrids of a seed report on, for each of their splits."""
        splits = range(self._settings.evaluate.splits)
        return [halves(count, split_seed(seed, number))[1] for number in splits]

    def config(self, job: SingleJob) -> NetworkConfig:
        """Return a network as a recipe has it; written down first, unless it was."""
        config = self._taken.config(job.network)
        if not job.trained_on:
            return config
        alternate = self._settings.alternate
        epochs = alternate.cycles * alternate.base.epochs
        finetune = alternate.base.model_copy(update={"epochs": epochs})
        return config.model_copy(update={"finetune": finetune})
