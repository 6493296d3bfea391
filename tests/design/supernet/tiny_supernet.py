"""A supernet that is trained in a second, and images that it learns quickly."""

import numpy as np
import torch

from hybridge.data.dataset import ArrayDataset
from hybridge.design.nets.architecture import Space
from hybridge.design.nets.mobilenet import Family, StageShape
from hybridge.design.nets.network import PixelNetwork
from hybridge.design.nets.parts import Block
from hybridge.design.supernet.supernet import Supernet

FAMILY = Family(
    stem_channels=8,
    stem_stride=2,
    first=Block(8, 8, 8, 3),
    stages=(
        StageShape(8, 1, "relu", squeeze=False),
        StageShape(16, 2, "h_swish", squeeze=True),
    ),
    final_channels=16,
    last_channels=16,
    space=Space(2, (3, 5), (2, 3, 4), (1, 2)),
    resolutions=(8, 12),
)


def stripes(count: int = 64, seed: int = 0) -> ArrayDataset:
    """Horizontal or vertical stripes under noise, 12 x 12, grey."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    wave = np.where(np.arange(12) % 6 < 3, 60, 190)
    images = np.where(labels[:, None, None] == 0, wave[None, :, None], wave[None, None, :])
    noisy = images + rng.integers(-40, 40, (count, 12, 12))
    return ArrayDataset(noisy.astype(np.uint8)[..., None], labels)


def new_network(seed: int = 0) -> PixelNetwork:
    """Return a supernet that has not been trained."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return PixelNetwork(Supernet(2, FAMILY, 1), (0.5,), (0.3,))
