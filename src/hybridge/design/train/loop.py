"""Training a network, one epoch at a time, with a weight for every sample.

Letters: ``N`` images of the dataset, ``B`` batch, ``K`` classes.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import Tensor, nn

from hybridge.data.dataset import Dataset
from hybridge.design.train.batches import Batch, Batches
from hybridge.design.train.checkpoint import (
    Checkpoint,
    load_checkpoint,
    restore_training,
    save_checkpoint,
    training_tensors,
)
from hybridge.design.train.outputs import hash_network
from hybridge.design.train.processes import is_main
from hybridge.design.train.settings import TrainSettings as TrainSettings
from hybridge.errors import ConfigError, SignatureError
from hybridge.hashing import hash_array, hash_json
from hybridge.progress import track

#: From logits ``(B, K)`` and their batch to one loss for each sample ``(B,)``.
Loss = Callable[[Tensor, Batch], Tensor]
Weights = np.ndarray[Any, Any]


@dataclass(frozen=True)
class EpochRecord:
    """What came of one epoch: its number from 1, mean loss, and rate at its start."""

    epoch: int
    loss: float
    learning_rate: float


def cross_entropy(label_smoothing: float = 0.0) -> Loss:
    """Return the loss that is the cross-entropy of every sample, ``(B,)``, in nats.

    Args:
        label_smoothing: Share of each label that is spread over all classes.
    """

    def loss(logits: Tensor, batch: Batch) -> Tensor:
        return F.cross_entropy(
            logits, batch.labels, reduction="none", label_smoothing=label_smoothing
        )

    return loss


def weighted_mean(losses: Tensor, weights: Tensor | None) -> Tensor:
    """Return ``mean(weights * losses)``.

    Args:
        losses: ``(B,)``.
        weights: ``(B,)``, or none for the plain mean.

    Raises:
        SignatureError: The shapes differ. ``(B, 1)`` weights would broadcast to ``(B, B)``, and
            their mean is the plain mean times a constant: no weights at all, without a word.
    """
    if weights is None:
        return losses.mean()
    if losses.ndim != 1 or weights.shape != losses.shape:
        raise SignatureError(
            "expected one weight for each loss, both (B,), "
            f"got weights {tuple(weights.shape)} and losses {tuple(losses.shape)}"
        )
    return (weights * losses).mean()


class Trainer:
    """A network in training: call `epoch` as often as the settings say.

    Optimiser, schedule and counters persist from call to call, so that other work can go on in
    between (such as fitting a router). Every epoch is a function of the state, the seed and the
    epoch's number alone.

    Args:
        network: From uint8 pixels ``(B, H, W, C)`` to logits ``(B, K)``.
        dataset: What it is trained on.
        settings: How.
        seed: Of shuffling, augmentation and dropout.
        loss: One loss for each sample; cross-entropy with the labels by default, smoothed as the
            settings say.
    """

    def __init__(
        self,
        network: nn.Module,
        dataset: Dataset,
        settings: TrainSettings,
        *,
        seed: int,
        loss: Loss | None = None,
    ) -> None:
        self.settings = settings
        self.epochs_done = 0
        self._accelerator = Accelerator()
        self._seed = seed
        self._loss = loss or cross_entropy(settings.label_smoothing)
        self._count = len(dataset)
        optimizer = torch.optim.SGD(
            _parameter_groups(network, settings.weight_decay),
            lr=settings.learning_rate,
            momentum=settings.momentum,
            nesterov=settings.nesterov and settings.momentum > 0,
        )
        # Pixels come with their channels last: kernels that read them so are up to twice as fast.
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._network, self._optimizer = self._accelerator.prepare(network, optimizer)
        self._batches = Batches(
            dataset,
            settings.batch_size,
            settings.augment,
            device=self._accelerator.device,
            shard=(self._accelerator.process_index, self._accelerator.num_processes),
        )

    @property
    def network(self) -> nn.Module:
        """The network, without what device placement wraps around it."""
        network: nn.Module = self._accelerator.unwrap_model(self._network)
        return network

    def epoch(self, sample_weights: Weights | None = None) -> float:
        """Train for one epoch, and return the mean loss.

        Args:
            sample_weights: ``(N,)``, the weight of every image's loss; all 1 where left out.

        Raises:
            SignatureError: ``sample_weights`` is not ``(N,)``.
            ConfigError: The loss is not finite any more.
        """
        weights = self._check(sample_weights)
        self._network.train()
        total = torch.zeros((), device=self._accelerator.device)
        with self._seeded():
            for step, batch in enumerate(self._batches.epoch()):
                self._set_rate(self.epochs_done + step / len(self._batches))
                total += self._step(batch, weights)
        self._share_buffers()
        mean_loss = float(self._accelerator.reduce(total, "mean")) / len(self._batches)
        if not math.isfinite(mean_loss):
            raise ConfigError(
                f"the training diverged in epoch {self.epochs_done + 1}: expected a finite loss, "
                f"got {mean_loss}; lower the learning rate, {self.settings.learning_rate:g} now"
            )
        self.epochs_done += 1
        return mean_loss

    def state(self) -> Checkpoint:
        """Return a copy of everything that `load` needs to go on from here."""
        optimizer = getattr(self._optimizer, "optimizer", self._optimizer)
        tensors = training_tensors(self.network, optimizer)
        return Checkpoint(tensors, {"epochs_done": self.epochs_done})

    def load(self, state: Checkpoint) -> None:
        """Go on from a state that `state` returned."""
        optimizer = getattr(self._optimizer, "optimizer", self._optimizer)
        restore_training(self.network, optimizer, state.tensors)
        self.epochs_done = int(state.counters["epochs_done"])

    def _step(self, batch: Batch, weights: Tensor | None) -> Tensor:
        with self._autocast():
            logits = self._network(batch.pixels)
        losses = self._loss(logits.float(), batch)
        loss = weighted_mean(losses, None if weights is None else weights[batch.indices])
        self._optimizer.zero_grad()
        self._accelerator.backward(loss)
        self._optimizer.step()
        return loss.detach()

    def _share_buffers(self) -> None:
        """Give every process the main one's buffers: batch norm's last means are each its own."""
        with torch.no_grad():
            for buffer in self.network.buffers():
                buffer.copy_(broadcast(buffer))

    def _set_rate(self, epoch: float) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = self.settings.rate(epoch)

    def _autocast(self) -> AbstractContextManager[Any]:
        # The accelerator's own mixed precision is one setting for the whole process.
        if self.settings.precision == "fp32":
            return nullcontext()
        return torch.autocast(self._accelerator.device.type, torch.bfloat16)

    @contextmanager
    def _seeded(self) -> Iterator[None]:
        """Make torch's generators a function of seed and epoch, and put them back after."""
        device = self._accelerator.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            words = np.random.SeedSequence([self._seed, self.epochs_done]).generate_state(1)
            torch.manual_seed(int(words[0]))
            yield

    def _check(self, sample_weights: Weights | None) -> Tensor | None:
        if sample_weights is None:
            return None
        if sample_weights.shape != (self._count,):
            raise SignatureError(
                f"expected one weight for each image, ({self._count},), got {sample_weights.shape}"
            )
        weights = torch.from_numpy(np.asarray(sample_weights, dtype=np.float32))
        return weights.to(self._accelerator.device)


def _parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Put weights, which decay, apart from biases and normalisation, which do not."""
    trained = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def fit(
    network: nn.Module,
    dataset: Dataset,
    settings: TrainSettings,
    *,
    seed: int,
    sample_weights: Weights | None = None,
    loss: Loss | None = None,
    checkpoint: Path | None = None,
    log_dir: Path | None = None,
    what: str = "training",
) -> tuple[EpochRecord, ...]:
    """Train a network to the end of its schedule.

    Args:
        network: From uint8 pixels ``(B, H, W, C)`` to logits ``(B, K)``; trained in place. To go
            on from a checkpoint, give the network that the training began with, such as one of
            the same builder and seed: what it starts from is part of what the training is.
        dataset: What it is trained on.
        settings: How.
        seed: Of shuffling, augmentation and dropout.
        sample_weights: ``(N,)``; the loss is ``mean(W_i * loss_i)``.
        loss: One loss for each sample; cross-entropy as the settings say by default.
        checkpoint: File to go on from where it exists; written after every epoch.
        log_dir: Folder for TensorBoard's logs.
        what: What is being trained, for the progress bar.

    Returns:
        A record of every epoch, those before a resumption included.

    Raises:
        ConfigError: The checkpoint belongs to another training, or the loss is not finite.
        DataError: The checkpoint is damaged, or an image cannot be read.
    """
    run = _run_hash(network, dataset, settings, seed, sample_weights, loss)
    trainer = Trainer(network, dataset, settings, seed=seed, loss=loss)
    history = _resume(trainer, checkpoint, run)
    with _log(log_dir if is_main() else None) as log:
        for _ in track(range(trainer.epochs_done, settings.epochs), what):
            rate = settings.rate(trainer.epochs_done)
            mean_loss = trainer.epoch(sample_weights)
            history.append(EpochRecord(trainer.epochs_done, mean_loss, rate))
            log(history[-1])
            if checkpoint is not None and is_main():
                _save(trainer, checkpoint, run, history)
    trainer.network.eval()
    return tuple(history)


def _run_hash(
    network: nn.Module,
    dataset: Dataset,
    settings: TrainSettings,
    seed: int,
    sample_weights: Weights | None,
    loss: Loss | None,
) -> str:
    """Hash everything that the trained network depends on; ``network`` as it starts."""
    weights = None if sample_weights is None else hash_array(sample_weights)
    name = "cross_entropy"
    if loss is not None:
        name = getattr(loss, "__qualname__", type(loss).__qualname__)
    start, data = hash_network(network), dataset.fingerprint
    return hash_json([start, data, settings.model_dump(), seed, weights, name])


def _resume(trainer: Trainer, path: Path | None, run: str) -> list[EpochRecord]:
    if path is None or not path.exists():
        return []
    state = load_checkpoint(path)
    if state.counters["run"] != run:
        raise ConfigError(
            f"{path} is a checkpoint of another training (another network, loss, seed, other "
            "data, settings or sample weights); delete it, or name another file"
        )
    trainer.load(state)
    return [EpochRecord(**record) for record in state.counters["history"]]


def _save(trainer: Trainer, path: Path, run: str, history: list[EpochRecord]) -> None:
    state = trainer.state()
    counters = {**state.counters, "run": run, "history": [vars(record) for record in history]}
    save_checkpoint(path, Checkpoint(state.tensors, counters))


@contextmanager
def _log(folder: Path | None) -> Iterator[Callable[[EpochRecord], None]]:
    """Yield what writes a record for TensorBoard, or does nothing where there is no folder."""
    if folder is None:
        yield lambda record: None
        return
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder)) as writer:

        def write(record: EpochRecord) -> None:
            writer.add_scalar("loss", record.loss, record.epoch)
            writer.add_scalar("learning_rate", record.learning_rate, record.epoch)

        yield write
