"""A family of networks that take milliseconds, its supernet with random weights, and its images."""

import numpy as np
import torch

from hybridge.data.dataset import ArrayDataset
from hybridge.design.nets.architecture import Space
from hybridge.design.nets.mobilenet import Family, StageShape
from hybridge.design.nets.network import PixelNetwork
from hybridge.design.nets.parts import Block
from hybridge.design.store import Store
from hybridge.design.supernet.costs import Footprint
from hybridge.design.supernet.evaluate import Evaluator, Images, Rung
from hybridge.design.supernet.limits import Costs, Limits
from hybridge.design.supernet.pairs import PairProblem
from hybridge.design.supernet.sides import Subnets
from hybridge.design.supernet.supernet import Supernet
from hybridge.plan.layers import Layer

CLASSES = 4
FAMILY = Family(
    stem_channels=8,
    stem_stride=1,
    first=Block(8, 8, 8, 3, 2),
    stages=(StageShape(8, 1, "relu", squeeze=False), StageShape(16, 2, "h_swish", squeeze=True)),
    final_channels=16,
    last_channels=16,
    space=Space(2, (3, 5), (2, 3), (1, 2)),
    resolutions=(8, 12),
)
RUNGS = (Rung(calibration_images=16, validation_images=24), Rung(calibration_images=32))


def images(count=48, side=12, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(CLASSES, size=count)
    pixels = rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    return ArrayDataset(pixels, labels, [str(each) for each in range(CLASSES)])


def supernet(seed=0):
    torch.manual_seed(seed)
    network = Supernet(CLASSES, FAMILY)
    torch.nn.init.normal_(network.classifier.weight)  # so that subnets tell images apart
    return PixelNetwork(network, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def evaluator(folder, seed=0, rungs=RUNGS):
    shared = Images(images(seed=1), images(seed=2))
    return Evaluator(supernet(seed), shared, Store(folder), rungs)


def problem(folder, macs_m=0.08, rungs=RUNGS, **others):
    side = Subnets(evaluator(folder, rungs=rungs))
    return PairProblem(side, side, Costs(Limits(macs_m=macs_m, **others)))


def of_macs(macs_m):
    """A footprint of nothing but multiply-accumulates."""
    macs = round(macs_m * 1e6)
    row = Layer(name="all", kind="conv", kernel=3, macs=macs, parameters=0, output_bytes=0)
    return Footprint((row,), 1000, 500, 300)
