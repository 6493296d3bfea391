"""Subnets that a search found, taken out for good: calibrated, written down, and named."""

from pathlib import Path

import numpy as np
import torch

from hybridge.data.dataset import Dataset, subset
from hybridge.design.nets.network import PixelNetwork
from hybridge.design.nets.weights import is_of_run, save_weights
from hybridge.design.supernet.evaluate import BATCH_SIZE
from hybridge.design.supernet.judge import Subnet
from hybridge.design.supernet.shrink import resize, subnet_of
from hybridge.design.train.norm import recalibrate
from hybridge.design.train.outputs import hash_network
from hybridge.hashing import hash_json
from hybridge.recipes.networks import NetworkConfig
from hybridge.recipes.supernet_schema import SupernetRecipe


class TakenOut:
    """Subnets of one supernet as networks of a recipe, each written once.

    Calibrated as they were evaluated: with these images a network answers what it did then. One
    that an earlier run wrote stays as it is: statistics of another number of threads differ in
    their last digits, and what goes on from a checkpoint would be of another network.

    Args:
        recipe: Of the supernet.
        network: The supernet, trained.
        calibration: Training images for the statistics of batch normalisation.
        folder: Where weights are written.
    """

    def __init__(
        self, recipe: SupernetRecipe, network: PixelNetwork, calibration: Dataset, folder: Path
    ) -> None:
        self._recipe, self._network, self._folder = recipe, network, folder
        self._made_of = [hash_network(network), calibration.fingerprint, BATCH_SIZE]
        self._pixels = torch.from_numpy(calibration.pixels(np.arange(len(calibration))))
        self._written: dict[Subnet, NetworkConfig] = {}

    def config(self, subnet: Subnet) -> NetworkConfig:
        """Return a subnet as a recipe has it: it reads images of full resolution."""
        if subnet not in self._written:
            path = (self._folder / f"{_file_name(subnet)}.safetensors").absolute()
            run = hash_json([*self._made_of, str(subnet)])
            if not is_of_run(path, run):
                save_weights(self._taken(subnet).network, path, run)
            config = self._recipe.network(subnet)
            sides = {
                "scaled_to": subnet.resolution,
                "scaled_from": self._recipe.geometry().height,
            }
            options = config.options | sides
            self._written[subnet] = config.model_copy(
                update={"options": options, "weights": path, "train": None}
            )
        return self._written[subnet]

    def _taken(self, subnet: Subnet) -> PixelNetwork:
        taken = subnet_of(self._network, subnet.architecture)
        batches = (
            resize(self._pixels[start : start + BATCH_SIZE], subnet.resolution).to(
                taken.mean.device
            )
            for start in range(0, len(self._pixels), BATCH_SIZE)
        )
        recalibrate(taken, batches)
        return taken.cpu()


def calibration_images(recipe: SupernetRecipe, root: Path, count: int) -> Dataset:
    """Return training images for the statistics of batch normalisation, drawn by the seed.

    Their order is drawn, too: the first of them are like all.
    """
    train = recipe.data.train.open(recipe.geometry(), root)
    rows = np.random.default_rng(recipe.seed).permutation(len(train))[:count]
    return subset(train, rows)


def _file_name(subnet: Subnet) -> str:
    return str(subnet).replace(" | ", "-").replace(" @ ", "-").replace(" ", "")
