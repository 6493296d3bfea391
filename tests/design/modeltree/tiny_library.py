"""Two small networks with a library of variants: a chain, and one with skips.

Letters: ``N`` images.
"""

import numpy as np
import torch

from hybridge.data.arrays import ArrayDataset
from hybridge.design.modeltree.build import build_library
from hybridge.design.modeltree.library import Library
from hybridge.design.modeltree.sliced import SlicedNetwork, slice_network
from hybridge.design.modeltree.space import all_options
from hybridge.design.modeltree.variants import VariantSettings
from hybridge.design.nets import PixelNetwork, build, networks
from hybridge.design.store import Store
from hybridge.design.train.norm import recalibrate
from hybridge.plan.tensors import Geometry

CLASSES = 3
OPTIONS = ("C1-1", "C3-0.5", "W1-0.5", "F1-0.5")
QUICK = VariantSettings(images=24, epochs=1, batch_size=12)
NAMES = ("small_cnn", "cifar_resnet8")
"""The chain, whose pruned layers narrow the next unit, and the one with skips."""


def geometry_of(name: str) -> Geometry:
    side = 12 if name == "small_cnn" else 8
    return Geometry(height=side, width=side, channels=1 if name == "small_cnn" else 3)


def some_images(geometry: Geometry, count: int, seed: int = 0) -> ArrayDataset:
    """Images whose class is the third of them that is bright."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, count)
    pixels = rng.integers(0, 120, (count, *geometry.shape))
    third = geometry.height // CLASSES
    for index, label in enumerate(labels):
        pixels[index, third * label : third * (label + 1)] += 100
    return ArrayDataset(pixels.astype(np.uint8), labels, [str(each) for each in range(CLASSES)])


def pixels_of(geometry: Geometry, count: int, seed: int = 0) -> torch.Tensor:
    """Pixels ``(N, H, W, C)`` of such images."""
    return torch.from_numpy(some_images(geometry, count, seed).pixels(np.arange(count)))


def tiny_network(name: str, seed: int = 0) -> PixelNetwork:
    """A network with random weights, whose norms know some images."""
    info = networks.get(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = PixelNetwork(build(name, CLASSES), info.mean, info.std)
    recalibrate(network, pixels_of(geometry_of(name), 60, seed=9))
    return network.eval()


def tiny_sliced(name: str, **cuts: object) -> SlicedNetwork:
    return slice_network(tiny_network(name), geometry_of(name), **cuts)


def tiny_library(name: str, store: Store, options: tuple[str, ...] = OPTIONS) -> Library:
    sliced = tiny_sliced(name)
    images = some_images(sliced.geometry, 40, seed=1)
    chosen = all_options(sliced, options)
    return build_library(sliced, chosen, images, QUICK, store, seed=0)[0]
