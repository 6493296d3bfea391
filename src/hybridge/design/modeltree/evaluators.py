"""How often a composed network is right: three ways to know, all kept on disk by what they are of.

`LibraryEvaluator` plugs the library's variants together, `DistillEvaluator` trains the composition
as the paper does, and `PredictEvaluator` guesses from compositions that were evaluated.

Letters: ``N`` images, ``K`` classes.
"""

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from hybridge.data.dataset import Dataset, subset
from hybridge.design.modeltree.choices import Composition
from hybridge.design.modeltree.compose import PrefixRunner, run
from hybridge.design.modeltree.library import Library
from hybridge.design.search.problem import Measured
from hybridge.design.store import Arrays, Store
from hybridge.design.train.distill import logits_of
from hybridge.design.train.loop import fit
from hybridge.design.train.settings import TrainSettings
from hybridge.errors import ConfigError
from hybridge.hashing import hash_array, hash_json
from hybridge.plan.tensors import Frozen

Floats = np.ndarray[Any, np.dtype[np.float64]]


class HeldOut:
    """Images that compositions are judged on.

    Args:
        dataset: Whole; its pixels are held in memory.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.pixels = torch.from_numpy(dataset.pixels(np.arange(len(dataset))))
        self.labels = torch.from_numpy(dataset.labels)
        self.fingerprint = dataset.fingerprint

    def accuracy(self, logits: Tensor) -> float:
        """Return the share of logits ``(N, K)`` whose largest is the right one."""
        return float((logits.argmax(1) == self.labels).double().mean())


def _keep(store: Store, of: Sequence[Any], judge: Callable[[], float]) -> Measured[float]:
    """Return a kept accuracy and the seconds that it took, judged first where nothing is kept."""

    def compute() -> Arrays:
        began = time.perf_counter()
        accuracy = judge()
        return {
            "accuracy": np.array(accuracy),
            "seconds": np.array(time.perf_counter() - began),
        }

    kept = store.keep(hash_json(list(of)), compute)
    return Measured(float(kept["accuracy"]), float(kept["seconds"]))


class LibraryEvaluator:
    """Plugs variants together, recalibrates batch normalisation, and counts right answers.

    Args:
        library: Whose variants.
        calibration: Training images for statistics, as pixels ``(n, H, W, C)``.
        held_out: What is answered.
        store: Where accuracies are kept.
    """

    def __init__(
        self, library: Library, calibration: Tensor, held_out: HeldOut, store: Store
    ) -> None:
        self._held_out = held_out
        self._store = store
        self._runner = PrefixRunner(library, calibration, held_out.pixels)
        self._base = [
            *("library", library.fingerprint),
            *(hash_array(calibration.numpy()), held_out.fingerprint),
        ]

    def accuracy(self, composition: Composition) -> Measured[float]:
        """Return the share of held-out images answered right, and the seconds that it took."""

        def judge() -> float:
            return self._held_out.accuracy(self._runner.logits(composition))

        return _keep(self._store, [*self._base, composition], judge)


class DistillSettings(Frozen):
    """How a composition is trained to be judged, as the paper does it.

    Attributes:
        images: Training images that it sees.
        train: How it is trained on the original's logits.
    """

    images: int = Field(default=10_000, gt=0)
    train: TrainSettings = TrainSettings(epochs=2, learning_rate=0.01, warmup_epochs=0.1)


class DistillEvaluator:
    """Trains every composition on the original's logits, then counts right answers.

    Args:
        library: Whose variants the composition starts from; they are not changed.
        dataset: Training images.
        held_out: What is answered.
        store: Where accuracies are kept.
        settings: How.
        seed: Of images, order and augmentation.
    """

    def __init__(
        self,
        library: Library,
        dataset: Dataset,
        held_out: HeldOut,
        store: Store,
        settings: DistillSettings | None = None,
        *,
        seed: int,
    ) -> None:
        self._library = library
        self._settings = settings or DistillSettings()
        rows = np.random.default_rng(seed).permutation(len(dataset))[: self._settings.images]
        self._dataset = subset(dataset, np.sort(rows))
        self._held_out = held_out
        self._store = store
        self._seed = seed
        self._base = [
            *("distill", library.fingerprint, self._dataset.fingerprint, held_out.fingerprint),
            *(self._settings.model_dump(mode="json"), seed),
        ]

    def accuracy(self, composition: Composition) -> Measured[float]:
        """Return the share of held-out images answered right, and the seconds that it took."""

        def judge() -> float:
            return self._held_out.accuracy(run(self._train(composition), self._held_out.pixels))

        return _keep(self._store, [*self._base, composition], judge)

    def _train(self, composition: Composition) -> nn.Module:
        network = copy.deepcopy(self._library.network(composition)).requires_grad_(True)
        train = self._settings.train
        teacher = self._library.sliced.network
        loss = logits_of(teacher, train.precision)
        fit(network, self._dataset, train, seed=self._seed, loss=loss, what="distilling")
        return network


class PredictEvaluator:
    """Guesses accuracies from those of other compositions, for screening; never for a report.

    A ridge regression on which option each unit has.

    Args:
        options: What each unit may become.
        known: Compositions that were evaluated, two or more, with their accuracies.
        ridge: Weight of the penalty on coefficients.

    Raises `ConfigError` where fewer than two are known.
    """

    def __init__(
        self,
        options: Sequence[tuple[str, ...]],
        known: Mapping[Composition, float],
        ridge: float = 0.1,
    ) -> None:
        if len(known) < 2:
            raise ConfigError(
                f"expected two evaluated compositions or more to predict from, got {len(known)}"
            )
        self._columns = {
            (index, option): column
            for column, (index, option) in enumerate(
                (index, option) for index, each in enumerate(options) for option in each
            )
        }
        rows = np.stack([self._row(composition) for composition in known])
        accuracies = np.array(list(known.values()))
        self._mean = float(accuracies.mean())
        square = rows.T @ rows + ridge * np.eye(rows.shape[1])
        self._weights = np.linalg.solve(square, rows.T @ (accuracies - self._mean))

    def accuracy(self, composition: Composition) -> Measured[float]:
        """Return the predicted share, from 0 to 1; it takes no time."""
        guess = self._mean + float(self._row(composition) @ self._weights)
        return Measured(min(max(guess, 0.0), 1.0), 0.0)

    def _row(self, composition: Composition) -> Floats:
        row = np.zeros(len(self._columns))
        for index, option in enumerate(composition):
            row[self._columns[index, option]] = 1.0
        return row
