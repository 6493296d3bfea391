"""What subnets answer: each is taken out and run once, and its answers are kept.

Letters: ``N`` images, ``n`` some of them, ``B`` batch, ``H`` height, ``W`` width, ``C`` channels.
"""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from hybridge.data.dataset import Dataset
from hybridge.design.nets.network import PixelNetwork
from hybridge.design.search.problem import Measured
from hybridge.design.store import Arrays, Store
from hybridge.design.supernet.judge import Subnet
from hybridge.design.supernet.shrink import resize, subnet_of, supernet_of
from hybridge.design.train.norm import fold_norms, recalibrate
from hybridge.design.train.outputs import hash_network
from hybridge.errors import ConfigError, DataError
from hybridge.hashing import hash_json
from hybridge.plan.tensors import Frozen

Answers = np.ndarray[Any, np.dtype[np.void]]
"""What a network answers for each image, ``(n,)``: fields of `ANSWER`."""
ANSWER = np.dtype([("label", np.int32), ("margin", np.float32)])
"""The class, and by how much it is more probable than the second."""


class Rung(Frozen):
    """How exactly a subnet is evaluated.

    Attributes:
        calibration_images: Images for the statistics of batch normalisation.
        validation_images: Images that are answered, the first ones; None for all.
    """

    calibration_images: int = Field(default=2000, gt=0)
    validation_images: int | None = Field(default=None, gt=0)


SCREENED = Rung(calibration_images=256, validation_images=512)
RUNGS = (SCREENED, Rung())
"""What screens, and what is final."""
BATCH_SIZE = 256
"""Images at a time. Statistics are means over batches: other batches, other statistics."""


class Images:
    """The images that all subnets are evaluated on, held in memory once.

    Args:
        calibration: Training images for the statistics of batch normalisation.
        validation: Images that are answered; in an order in which the first are like the rest.

    Raises:
        ConfigError: They differ in size, or are not square, or there are none.
    """

    def __init__(self, calibration: Dataset, validation: Dataset) -> None:
        shapes = calibration.geometry.shape, validation.geometry.shape
        if shapes[0] != shapes[1] or shapes[0][0] != shapes[0][1]:
            raise ConfigError(f"expected square images, all of one size, got {shapes}")
        if not len(calibration) or not len(validation):
            raise ConfigError("expected images for calibration and for validation, got none")
        self.calibration = _pixels(calibration)
        self.validation = _pixels(validation)
        self.labels = validation.labels
        self.fingerprint = hash_json([calibration.fingerprint, validation.fingerprint])

    @property
    def resolution(self) -> int:
        """Height and width of the images, in pixels."""
        return int(self.validation.shape[1])


def _pixels(dataset: Dataset) -> Tensor:
    return torch.from_numpy(dataset.pixels(np.arange(len(dataset))))


class Evaluator:
    """Evaluates the subnets of one supernet.

    Args:
        network: Of the supernet; it is not changed.
        images: What they answer; several evaluators may share it.
        store: Where answers are kept, under the hash of all that they depend on.
        rungs: How exactly, from the coarsest to the one that counts.
        batch_size: Images at a time.
    """

    def __init__(
        self,
        network: PixelNetwork,
        images: Images,
        store: Store,
        rungs: Sequence[Rung] = RUNGS,
        *,
        batch_size: int = BATCH_SIZE,
    ) -> None:
        self.network, self.images, self.rungs = network.eval(), images, tuple(rungs)
        self.family = supernet_of(network).family
        self._store, self._batch_size = store, batch_size
        self._key = [
            "subnet",
            list(ANSWER.fields or ()),
            hash_network(network),
            images.fingerprint,
            batch_size,
        ]

    def measure(self, subnet: Subnet, rung: int) -> Measured[Answers]:
        """Return a subnet's answers, from the store where it has been evaluated before.

        Args:
            subnet: Its images are the validation images, scaled down to its resolution.
            rung: Index of how exactly.

        Raises:
            ConfigError: Its resolution is above the images'.
            DataError: It gives numbers that are not finite.
        """
        exactly = self.rungs[rung].model_dump()
        key = hash_json([*self._key, str(subnet.architecture), subnet.resolution, exactly])
        kept = self._store.keep(key, lambda: self._evaluate(subnet, self.rungs[rung]))
        answers = np.empty(len(kept["label"]), ANSWER)
        for field in ANSWER.fields or ():
            answers[field] = kept[field]
        return Measured(answers, float(kept["seconds"]))

    def labels(self, rung: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Return the labels of the images that are answered at a rung, ``(n,)``."""
        return self.images.labels[: self.rungs[rung].validation_images]

    def _evaluate(self, subnet: Subnet, rung: Rung) -> Arrays:
        if subnet.resolution > self.images.resolution:
            raise ConfigError(
                f"expected a resolution of at most that of the images, {self.images.resolution}, "
                f"got {subnet.resolution}"
            )
        began = time.perf_counter()
        network = subnet_of(self.network, subnet.architecture)
        # Depthwise convolutions are twice as fast so, on a processor.
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        calibration = self.images.calibration[: rung.calibration_images]
        validation = self.images.validation[: rung.validation_images]
        recalibrate(network, self._batches(calibration, subnet.resolution))
        fold_norms(network)
        with torch.inference_mode():
            logits = [network(b).cpu() for b in self._batches(validation, subnet.resolution)]
        answers = answers_of(torch.cat(logits))
        seconds = np.array(time.perf_counter() - began)
        return {field: answers[field] for field in ANSWER.fields or ()} | {"seconds": seconds}

    def _batches(self, pixels: Tensor, side: int) -> Iterator[Tensor]:
        for start in range(0, len(pixels), self._batch_size):
            batch = pixels[start : start + self._batch_size]
            yield resize(batch, side).to(self.network.mean.device)


def answers_of(logits: Tensor) -> Answers:
    """Return what logits ``(n, K)`` answer; raises `DataError` where they are not finite."""
    if not bool(torch.isfinite(logits).all()):
        raise DataError(
            "a network gives numbers that are not finite; was it, or its supernet, trained, and "
            "did that not diverge?"
        )
    answers = np.empty(len(logits), ANSWER)
    answers["label"] = logits.argmax(1).numpy()
    first, second = logits.softmax(1).topk(2, dim=1).values.unbind(1)
    answers["margin"] = (first - second).numpy()
    return answers
