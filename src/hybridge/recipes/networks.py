"""A network as a recipe says it: how it is built, and what can be known before it is trained."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, FiniteFloat

from hybridge.design.nets.network import PixelNetwork, build, networks
from hybridge.design.nets.weights import check_weights, stored_class_count
from hybridge.design.train.settings import TrainSettings
from hybridge.errors import ConfigError, HybridgeError
from hybridge.plan.tensors import Frozen, Geometry

_SOME_CLASSES = 10


class NetworkConfig(Frozen):
    """A network, and where its weights come from.

    Attributes:
        network: Name in the registry, ``package.module:function`` or ``timm:NAME``.
        options: What else its builder takes.
        weights: A safetensors or ``.pth`` file, relative to the data folder; None trains it.
        prefixes: How keys of the file are renamed, by their beginning.
        names: Whose names the keys have after that; None: the network's own.
        mean: Per channel, of pixels scaled to 0..1; None takes the registry's.
        std: Likewise.
        train: How it is trained where it has no weights, and how its twins are.
        finetune: How it is trained on from its weights; None leaves them as they are.
    """

    network: str
    options: dict[str, Any] = Field(default_factory=dict)
    weights: Path | None = None
    prefixes: dict[str, str] = Field(default_factory=dict)
    names: Literal["timm", "torchvision", "mcunet", "ofa"] | None = None
    mean: tuple[FiniteFloat, ...] | None = Field(default=None, min_length=1)
    std: tuple[FiniteFloat, ...] | None = Field(default=None, min_length=1)
    train: TrainSettings | None = None
    finetune: TrainSettings | None = None

    @property
    def training(self) -> TrainSettings | None:
        """How it is trained here: from nothing, or on from its weights; None if it is not."""
        return self.train if self.weights is None else self.finetune

    def new(self, class_count: int, seed: int, role: str) -> PixelNetwork:
        """Return the network with random weights that ``seed`` and its ``role`` determine."""
        with drawn_from(seed, role):
            return self.build(class_count)

    def build(self, class_count: int) -> PixelNetwork:
        """Return the network, with the weights that torch's generator gives it.

        Raises:
            ConfigError: The name, an option, or mean and std are not right.
        """
        mean, std = self.statistics()
        return PixelNetwork(build(self.network, class_count, **self.options), mean, std)

    def statistics(self) -> tuple[Sequence[float], Sequence[float]]:
        """Return mean and std of each channel; raises `ConfigError` where none are known."""
        mean, std = self.mean, self.std
        if mean is None or std is None:
            if ":" in self.network:
                raise ConfigError("a network from elsewhere needs 'mean' and 'std'")
            info = networks.get(self.network)
            mean, std = mean or info.mean, std or info.std
        return mean, std

    def class_count(self, root: Path) -> int | None:
        """Return how many classes its weights are for; None where no file says so."""
        if self.weights is None or not (root / self.weights).exists():
            return None
        try:
            network = self.outline(_SOME_CLASSES, None).network
            return stored_class_count(network, root / self.weights, self.prefixes, self.names)
        except HybridgeError:
            return None

    def outline(self, class_count: int, geometry: Geometry | None) -> PixelNetwork:
        """Return the network after it was built and run once, without storage where that works.

        Args:
            class_count: Number of classes.
            geometry: Of the images, where it is known; it is not run without.

        Raises:
            ConfigError: It cannot be built, or does not answer such images.
        """
        for device in ("meta", "cpu"):  # what reads its own values does not work without them
            try:
                return self._outline(class_count, geometry, device)
            except HybridgeError:
                raise
            except Exception as error:  # a builder from elsewhere may raise anything
                reason = error
        size = "" if geometry is None else f" or cannot read images of {_size(geometry)},"
        line = (str(reason).strip().splitlines() or [type(reason).__name__])[0]
        raise ConfigError(f"{self.network} cannot be built,{size} {line}") from reason

    def _outline(self, class_count: int, geometry: Geometry | None, device: str) -> PixelNetwork:
        with torch.random.fork_rng(devices=[]), torch.device(device), torch.no_grad():
            network = self.build(class_count).eval()
            if geometry is None:
                return network
            channels = len(network.mean)
            if channels != geometry.channels:
                # Broadcasting would make three channels of one, without a word.
                raise ConfigError(
                    f"mean and std are of {channels} channels, the images are {_size(geometry)}"
                )
            answer = network(torch.zeros(1, *geometry.shape, dtype=torch.uint8))
        if tuple(answer.shape) != (1, class_count):
            raise ConfigError(
                f"{self.network}: expected logits (1, {class_count}) for one image, "
                f"got {tuple(answer.shape)}"
            )
        return network

    def faults(
        self, root: Path, geometry: Geometry | None, class_count: int | None, *, embeds: bool
    ) -> list[str]:
        """Return why it cannot be built, read these images, or take its weights.

        Args:
            root: Folder that the weights' path starts from.
            geometry: Of the images, where it is known.
            class_count: Number of classes, where it is known.
            embeds: Whether it has to have penultimate features.
        """
        try:
            count = class_count or self.class_count(root) or _SOME_CLASSES
            outline = self.outline(count, geometry)
        except HybridgeError as error:
            return [str(error)]
        found = []
        if self.finetune is not None and self.weights is None:
            found.append("'finetune' trains on from 'weights': give them, or leave it out")
        if embeds and not outline.embeds:
            found.append("'router.embedding' needs a base that is a Classifier")
        if self.weights is not None and (root / self.weights).exists():
            try:
                check_weights(
                    outline.network,
                    root / self.weights,
                    prefixes=self.prefixes,
                    names=self.names,
                )
            except HybridgeError as error:
                found.append(str(error))
        return found


@contextmanager
def drawn_from(seed: int, role: str) -> Iterator[None]:
    """Make torch's generator a function of a seed and a network's role, and put it back after."""
    words = np.random.SeedSequence([seed, *role.encode()]).generate_state(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(words[0]))
        yield


def _size(geometry: Geometry) -> str:
    return f"{geometry.height}x{geometry.width}x{geometry.channels}"
