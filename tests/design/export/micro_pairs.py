"""Routers and small mobile networks for the tests of what microcontrollers run."""

import importlib.util

import numpy as np
import pytest
import torch
from torch import nn

from hybridge.design.export.router_parts import RouterParts
from hybridge.design.nets.mobilenet import MobileNet, MobileNetOutline
from hybridge.design.nets.network import PixelNetwork
from hybridge.design.nets.parts import Block
from hybridge.design.query.fold import fold
from hybridge.design.query.router import Anchor, Router, RouterSettings
from hybridge.design.query.scores import Confidence

SIDE = 12
needs_tflm = pytest.mark.skipif(
    importlib.util.find_spec("tflite_micro") is None, reason="tflite-micro is not installed"
)


def router(measure="margin", classes=10, temperature=1.3, hidden=(32, 16)):
    """Return a router with weights that matter; without a measure, a free one."""
    anchor = Anchor(Confidence(measure, temperature), 1.5, 0.3) if measure else None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        made = Router(classes, RouterSettings(hidden=hidden), anchor)
        nn.init.normal_(made.head.weight, std=0.3)
    return made.eval()


def parts_of(made):
    """Return what a program with this router would be read as."""
    folded = fold(made)
    *hidden, head = [
        (layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy())
        for layer in folded.body
        if isinstance(layer, nn.Linear)
    ]
    classes = round((made.norm.num_features - 1) ** 0.5)
    if made.anchor is None:
        return RouterParts(classes, tuple(hidden), head)
    anchor = made.anchor
    return RouterParts(
        classes,
        tuple(hidden),
        head,
        anchor.confidence.measure,
        float(anchor.confidence.temperature),
        float(anchor.slope),
        float(anchor.offset),
    )


def logits(count=400, classes=10, seed=0):
    """Return logits of all degrees of certainty, ``(N, C)``."""
    rng = np.random.default_rng(seed)
    drawn = rng.standard_normal((count, classes)) * rng.uniform(0.5, 6, (count, 1))
    return drawn.astype(np.float32)


def mobile_base(classes=4):
    """Return a base with all that ours have: strides, hard swish, squeeze and excitation."""
    outline = MobileNetOutline(
        stem_channels=8,
        stem_stride=1,
        blocks=(
            Block(8, 8, 8, 3, 2),
            Block(8, 16, 8, 3),
            Block(8, 24, 16, 5, 2, "h_swish", squeeze=8),
        ),
        final_channels=32,
        last_channels=32,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = MobileNet(classes, outline)
        nn.init.normal_(network.classifier.weight, std=2.0)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 2.0)
                nn.init.normal_(module.bias, std=0.3)
                module.running_mean.normal_(0, 0.1)
    return PixelNetwork(network, (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)).eval()


def pictures(count, seed=0):
    """Return images ``(N, 12, 12, 3)`` of smooth patches, uint8."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 3, 3, 3))
    fine = np.repeat(np.repeat(coarse, SIDE // 3, 1), SIDE // 3, 2)
    return np.clip(fine + rng.integers(-20, 20, fine.shape), 0, 255).astype(np.uint8)
