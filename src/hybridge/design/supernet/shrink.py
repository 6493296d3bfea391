"""Progressive shrinking: a supernet trained so that its subnets work without training of their own.

Phase after phase more choices are free (Cai et al. 2020; the selective-query paper, algorithm 1,
line 2). In every step each of a few architectures drawn anew learns the labels, and what the full
network answers.

Letters: ``B`` batch, ``H`` height, ``W`` width, ``C`` channels, ``K`` classes, ``S`` subnets.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybridge.data.dataset import Dataset
from hybridge.design.nets.architecture import Architecture, Space
from hybridge.design.nets.network import PixelNetwork
from hybridge.design.supernet.extract import extract, sort_channels
from hybridge.design.supernet.phases import Phase, ShrinkSettings
from hybridge.design.supernet.supernet import Supernet
from hybridge.design.train.batches import Batch
from hybridge.design.train.distill import answers_of, soft_divergence
from hybridge.design.train.loop import EpochRecord, Loss, fit

#: Seeds of a generator are drawn below this.
_SEEDS = 1 << 62


def supernet_of(network: PixelNetwork) -> Supernet:
    """Return the supernet that reads pixels through ``network``."""
    assert isinstance(network.network, Supernet)
    return network.network


def subnet_of(network: PixelNetwork, architecture: Architecture) -> PixelNetwork:
    """Return a subnet by itself, which reads pixels as its supernet ``network`` does.

    Raises:
        ConfigError: The architecture is not of the supernet's space.
    """
    mean, std = network.mean.flatten().tolist(), network.std.flatten().tolist()
    subnet = PixelNetwork(extract(supernet_of(network), architecture), mean, std)
    return subnet.to(network.mean.device)


def resize(pixels: Tensor, side: int) -> Tensor:
    """Return pixels ``(B, H, W, C)`` uint8 as ``(B, side, side, C)``, by bilinear interpolation.

    As in `hybridge.codecs.pixels`, every pixel that is left is a mean of those it stands for.
    """
    if pixels.shape[1:3] == (side, side):
        return pixels
    images = pixels.permute(0, 3, 1, 2).float()
    scaled = F.interpolate(images, (side, side), mode="bilinear", antialias=True)
    return scaled.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


class AnySubnet(nn.Module):
    """A supernet that answers as several of its subnets, each drawn anew for every batch.

    Draws from torch's generator, which a training makes a function of seed and epoch: what is
    drawn in a step does not depend on whether the training was interrupted before.

    Args:
        network: Of the supernet; trained in place.
        space: What architectures are drawn from.
        resolutions: What heights and widths of images are drawn from; none takes them as they are.
        count: ``S``.
    """

    def __init__(
        self, network: PixelNetwork, space: Space, resolutions: Sequence[int], count: int
    ) -> None:
        super().__init__()
        self.network = network
        self._space = space
        self._resolutions = tuple(resolutions)
        self._count = count

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits ``(B, S, K)`` of uint8 pixels ``(B, H, W, C)``."""
        return torch.stack([self._answer(pixels) for _ in range(self._count)], 1)

    def extra_repr(self) -> str:
        """Return what it draws from: a checkpoint knows by that whether it is of this training."""
        return f"{self._space}, resolutions={self._resolutions}, count={self._count}"

    def _answer(self, pixels: Tensor) -> Tensor:
        rng = np.random.default_rng(int(torch.randint(_SEEDS, ())))
        supernet_of(self.network).activate(self._space.random(rng))
        if self._resolutions:
            pixels = resize(pixels, int(rng.choice(self._resolutions)))
        logits: Tensor = self.network(pixels)
        return logits


def shrink(
    network: PixelNetwork,
    dataset: Dataset,
    settings: ShrinkSettings,
    phases: Sequence[Phase],
    *,
    seed: int,
    checkpoints: Path | None = None,
    logs: Path | None = None,
) -> dict[str, tuple[EpochRecord, ...]]:
    """Train a supernet through all phases, in place.

    Args:
        network: Of the supernet. To go on from checkpoints, give what the training began with.
        dataset: What it is trained on.
        settings: How.
        phases: One after the other; the full network after the first is the later ones' teacher.
        seed: Of architectures, resolutions, order and augmentation.
        checkpoints: Folder with a file for every phase, written after each epoch.
        logs: Folder for TensorBoard's logs.

    Returns:
        What came of every epoch of every phase, by its name.

    Raises:
        ConfigError: A checkpoint belongs to another training, or a loss is not finite any more.
        DataError: A checkpoint is damaged, or an image cannot be read.
    """
    supernet = supernet_of(network)
    space, history, teacher = supernet.family.space, {}, None
    trained: tuple[int, ...] = ()
    for number, phase in enumerate(phases):
        drawn = phase.space(space)
        if phase.sort_channels:
            # Networks of the expansions that have been trained compute the same afterwards.
            sort_channels(supernet, trained)
        trained = drawn.expansions
        history[phase.name] = fit(
            AnySubnet(network, drawn, phase.resolutions, phase.subnets),
            dataset,
            settings.training(phase),
            seed=_seed(seed, number),
            loss=_loss(phase, settings.precision, teacher),
            checkpoint=checkpoints and checkpoints / f"{number}-{phase.name}.safetensors",
            log_dir=logs and logs / f"{number}-{phase.name}",
            what=f"training the supernet: {phase.name}",
        )
        if teacher is None:
            teacher = subnet_of(network, space.largest).eval()
    supernet.activate(space.largest)
    return history


def _seed(seed: int, phase: int) -> int:
    return int(np.random.SeedSequence([seed, phase]).generate_state(1)[0])


def _loss(phase: Phase, precision: str, teacher: PixelNetwork | None) -> Loss:
    """Return the loss of all subnets of a step, added up as Once-for-All does: ``(B,)``."""
    weight = 0.0 if teacher is None else phase.distillation

    def loss(logits: Tensor, batch: Batch) -> Tensor:
        labels = batch.labels[:, None].expand(logits.shape[:2])
        losses = F.cross_entropy(
            logits.transpose(1, 2),
            labels,
            reduction="none",
            label_smoothing=phase.label_smoothing,
        )
        if teacher is not None and weight:
            # Of the images in full, whatever the subnets see of them: what is best known of them.
            wanted = answers_of(teacher, batch, precision)
            losses = losses + weight * soft_divergence(logits, wanted[:, None])
        return losses.sum(1)

    # By this name a checkpoint knows which loss it was trained by.
    loss.__qualname__ = f"labels + {weight:g} full network"
    return loss
