"""Tiny networks, images and kept outputs for tests of selective query."""

import numpy as np
import torch

from hybridge.data.dataset import ArrayDataset
from hybridge.design.nets.network import PixelNetwork
from hybridge.design.nets.small import PlainCNN
from hybridge.design.query.fit import RouterData

SIDE = 16
CLASSES = 4


def tiny_network(seed: int, class_count: int = CLASSES, width: int = 4) -> PixelNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = PlainCNN(class_count, ((width, 2), (2 * width, 2)), channels=3)
    return PixelNetwork(network, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)).eval()


def tiny_images(count: int, seed: int, class_count: int = CLASSES) -> ArrayDataset:
    """Random images whose class shows, faintly, in the brightness of one channel."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, class_count, count)
    pixels = rng.integers(0, 256, (count, SIDE, SIDE, 3))
    pixels[..., 0] = (pixels[..., 0] + 40 * labels[:, None, None]) // 2
    return ArrayDataset(
        pixels.astype(np.uint8), labels, [str(label) for label in range(class_count)]
    )


def planted_data(count: int, seed: int, class_count: int = CLASSES) -> RouterData:
    """A base that is wrong in a band of middling certainty, which no confidence score can tell.

    The base's top-1 probability is uniform from 0.35 to 0.95, the rest is shared evenly; it is
    wrong between 0.6 and 0.75. What is sent is answered right.
    """
    rng = np.random.default_rng(seed)
    top = rng.uniform(0.35, 0.95, count)
    said = rng.integers(0, class_count, count)
    rest = rng.uniform(0.9, 1.1, (count, class_count))
    rest[np.arange(count), said] = 0
    probabilities = rest / rest.sum(axis=1, keepdims=True) * (1 - top)[:, None]
    probabilities[np.arange(count), said] = top
    wrong = (top > 0.6) & (top < 0.75)
    labels = np.where(wrong, (said + 1) % class_count, said)
    sent = np.full((count, class_count), np.log(0.1 / (class_count - 1)))
    sent[np.arange(count), labels] = np.log(0.9)
    return RouterData(
        torch.from_numpy(np.log(probabilities)).float(),
        torch.from_numpy(sent).float(),
        torch.from_numpy(labels),
    )
