"""Alternating training of router, global and base (paper, algorithm 3).

In every cycle the router is fitted on the oracle of the current base and global, then the global
is trained under the router's decisions, then the base.

Decisions are computed out of fold. On images that the base has fitted it is too certain: the
router would send next to nothing, and the weights would be constant. So *twins* of the base, each
trained without one fold of the training images, answer for that fold in its place.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from hybridge.cost.target import threshold_for_coverage
from hybridge.data.dataset import Dataset, Indices, subset
from hybridge.design.nets.network import PixelNetwork
from hybridge.design.query.fit import RouterData, fit_router, score_all
from hybridge.design.query.losses import base_weights, global_weights
from hybridge.design.query.router import Router, RouterSettings
from hybridge.design.train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from hybridge.design.train.loop import Trainer, TrainSettings
from hybridge.design.train.outputs import (
    Outputs,
    compute_outputs,
    hash_network,
    stream_outputs,
)
from hybridge.design.train.processes import is_main
from hybridge.errors import ConfigError
from hybridge.hashing import hash_json
from hybridge.plan.tensors import Frozen
from hybridge.progress import track

Mode = Literal["r", "rb", "rbg"]


class AlternateSettings(Frozen):
    """How algorithm 3 is run.

    Attributes:
        cycles: Rounds of router, global, base.
        base: How the base is trained on; its ``epochs`` are those of one cycle.
        global_: The same of the global.
        freeze_global_after: Cycles after which the global is left as it is; None never freezes.
        router_epochs: Passes over the router's data in every cycle.
        focus: Whether base and global are weighted by the router's decisions; off is an ablation.
        folds: Number of twins of the base.
    """

    cycles: int = Field(default=10, ge=1)
    base: TrainSettings = TrainSettings(
        epochs=1, batch_size=256, learning_rate=1e-4, weight_decay=1e-5
    )
    global_: TrainSettings = Field(
        default=TrainSettings(epochs=1, batch_size=256, learning_rate=1e-4, weight_decay=1e-5),
        alias="global",
    )
    freeze_global_after: int | None = Field(default=None, ge=0)
    router_epochs: int = Field(default=15, ge=1)
    focus: bool = True
    folds: int = Field(default=2, ge=2)


@dataclass(frozen=True)
class CycleRecord:
    """What came of one cycle.

    Attributes:
        cycle: Its number, from 1.
        sent_share: Share of the training images that the router sends, out of fold.
        oracle_share: Share of the router's data that the oracle sends.
        base_accuracy: On the router's data, before the cycle.
        global_accuracy: The same.
        base_loss: Mean weighted loss of the cycle.
        global_loss: The same; None where the global was not trained.
    """

    cycle: int
    sent_share: float
    oracle_share: float
    base_accuracy: float
    global_accuracy: float
    base_loss: float
    global_loss: float | None


@dataclass(frozen=True)
class Twin:
    """A stand-in for the base on images that it has not fitted.

    Attributes:
        network: Of the base's architecture.
        fold: Training images it has not seen, ``(n,)``.
        count: Training images there are, ``N``.
    """

    network: PixelNetwork
    fold: Indices
    count: int

    @property
    def seen(self) -> Indices:
        """Training images it is trained on, ``(N - n,)``."""
        return np.setdiff1d(np.arange(self.count), self.fold)


@dataclass(frozen=True)
class Alternation:
    """What algorithm 3 works on.

    Attributes:
        base: The edge's network, trained.
        global_: The cloud's network, trained.
        twins: Stand-ins for the base; their folds together are the training images.
        train: Images that base and global are trained on.
        router_set: Images that no network is trained on.
        settings: How the cycles are run.
        router_settings: How routers are fitted.
        mode: ``rb`` or ``rbg``; ``r`` trains no network and has no cycles.
        seed: Of routers, order and augmentation.
    """

    base: PixelNetwork
    global_: PixelNetwork
    twins: Sequence[Twin]
    train: Dataset
    router_set: Dataset
    settings: AlternateSettings
    router_settings: RouterSettings
    mode: Mode
    seed: int

    def check(self) -> None:
        """Raise `ConfigError` where no network is trained, or folds are not the training images."""
        if self.mode == "r":
            raise ConfigError("mode 'r' trains no network; expected mode 'rb' or 'rbg'")
        count = len(self.train)
        answered = np.concatenate([np.empty(0, np.int64), *(twin.fold for twin in self.twins)])
        if not np.array_equal(np.sort(answered), np.arange(count)):
            raise ConfigError(
                f"expected twins whose folds hold each of the {count} training images once, "
                f"got folds of {[len(twin.fold) for twin in self.twins]}"
            )

    def fingerprint(self) -> str:
        """Return a hash of all that the trained networks depend on, as they are now."""
        networks = [self.base, self.global_, *(twin.network for twin in self.twins)]
        return hash_json(
            [
                [hash_network(network) for network in networks],
                self.train.fingerprint,
                self.router_set.fingerprint,
                self.settings.model_dump(),
                self.router_settings.model_dump(),
                self.mode,
                self.seed,
            ]
        )


def alternate(
    task: Alternation, *, checkpoint: Path | None = None, log_dir: Path | None = None
) -> tuple[CycleRecord, ...]:
    """Train base (and, in mode ``rbg``, global) in place, in cycles with the router.

    The final router is not among what is trained here: it is fitted on the outputs of the final
    networks, like every other router.

    Args:
        task: Networks, images and settings. To go on from a checkpoint, give the networks that
            the run began with: what it starts from is part of what the run is.
        checkpoint: File to go on from where it exists; written after every cycle.
        log_dir: Folder for TensorBoard's logs; written after every cycle.

    Returns:
        A record of every cycle.

    Raises:
        ConfigError: The mode trains nothing, the folds are not the training images, a training
            diverges, or the checkpoint belongs to another run.
    """
    task.check()
    state = _State(task)
    state.resume(checkpoint)
    cycles = range(len(state.records), task.settings.cycles)
    with _log(log_dir if is_main() else None) as log:
        for _ in track(cycles, f"alternating ({task.mode})"):
            state.cycle()
            log(state.records[-1])
            if checkpoint is not None and is_main():
                state.save(checkpoint)
    task.base.eval()
    task.global_.eval()
    return tuple(state.records)


class _State:
    """Trainers, and what is known of their networks."""

    def __init__(self, task: Alternation) -> None:
        self.task, self.settings = task, task.settings
        self.run = task.fingerprint()
        # A twin's penultimate features are not the base's, so no router of a cycle reads them.
        self.router_settings = task.router_settings.model_copy(
            update={"epochs": task.settings.router_epochs, "embedding": False}
        )
        self.records: list[CycleRecord] = []
        self.trainers = {"base": self._trainer(task.base, task.train, task.settings.base)}
        for number, twin in enumerate(task.twins):
            self.trainers[f"twin{number}"] = self._trainer(
                twin.network, subset(task.train, twin.seen), task.settings.base
            )
        if task.mode == "rbg":
            self.trainers["global"] = self._trainer(task.global_, task.train, task.settings.global_)
        self._kept_global: Outputs | None = None

    def _trainer(self, network: PixelNetwork, data: Dataset, settings: TrainSettings) -> Trainer:
        whole = settings.model_copy(update={"epochs": settings.epochs * self.settings.cycles})
        return Trainer(network, data, whole, seed=self.task.seed)

    def cycle(self) -> None:
        router_set = self.task.router_set
        base, global_ = compute_outputs(self.task.base, router_set), self._global_outputs()
        data = RouterData(
            torch.from_numpy(base.logits),
            torch.log_softmax(torch.from_numpy(global_.logits), dim=1),
            torch.from_numpy(router_set.labels),
        )
        router = fit_router(data, self.router_settings, self.task.seed + len(self.records))
        sent = self._decide(router, self._threshold(router, data))
        trains_global = self._trains_global()
        global_loss = self._epochs("global", global_weights(sent)) if trains_global else None
        weights = base_weights(sent)
        base_loss = self._epochs("base", weights)
        for number, twin in enumerate(self.task.twins):
            self._epochs(f"twin{number}", weights[torch.from_numpy(twin.seen)])
        self.records.append(
            CycleRecord(
                cycle=len(self.records) + 1,
                sent_share=float(sent.float().mean()),
                oracle_share=float(data.oracle.float().mean()),
                base_accuracy=float(data.base_right.float().mean()),
                global_accuracy=float(data.sent_right.float().mean()),
                base_loss=base_loss,
                global_loss=global_loss,
            )
        )

    def _trains_global(self) -> bool:
        limit = self.settings.freeze_global_after
        return "global" in self.trainers and (limit is None or len(self.records) < limit)

    def _global_outputs(self) -> Outputs:
        """Forward the global only where it has changed since it was last asked."""
        if self._kept_global is None:
            self._kept_global = compute_outputs(self.task.global_, self.task.router_set)
        kept = self._kept_global
        if self._trains_global():
            self._kept_global = None
        return kept

    def _threshold(self, router: Router, data: RouterData) -> float:
        """Return the threshold at which the router keeps what it is fitted to keep.

        Where the oracle sends little, a score of zero would send next to nothing, and the weights
        would be constant.
        """
        coverage = self.router_settings.coverage
        if coverage is None:
            coverage = 1.0 - float(data.oracle.float().mean())
        return threshold_for_coverage(score_all(router, data).double().numpy(), coverage)

    def _decide(self, router: Router, threshold: float) -> torch.Tensor:
        """Return where the router sends, boolean ``(N,)`` over the training images."""
        sent = torch.zeros(len(self.task.train), dtype=torch.bool)
        for twin in self.task.twins:
            batches = stream_outputs(twin.network, subset(self.task.train, twin.fold))
            with torch.no_grad():
                scores = [router.score(torch.from_numpy(batch.logits)) for batch in batches]
            sent[torch.from_numpy(twin.fold)] = torch.cat(scores) > threshold
        return sent

    def _epochs(self, name: str, weights: torch.Tensor) -> float:
        trainer = self.trainers[name]
        of_cycle = self.settings.global_ if name == "global" else self.settings.base
        array: NDArray[Any] | None = weights.numpy() if self.settings.focus else None
        return [trainer.epoch(array) for _ in range(of_cycle.epochs)][-1]

    def resume(self, checkpoint: Path | None) -> None:
        if checkpoint is None or not checkpoint.exists():
            return
        saved = load_checkpoint(checkpoint)
        if saved.counters.get("run") != self.run:
            raise ConfigError(
                f"{checkpoint} is a checkpoint of another run (other networks, data, settings, "
                "mode or seed); delete it, or name another file"
            )
        for name, trainer in self.trainers.items():
            prefix = f"{name}/"
            tensors = {
                key.removeprefix(prefix): tensor
                for key, tensor in saved.tensors.items()
                if key.startswith(prefix)
            }
            trainer.load(Checkpoint(tensors, saved.counters["trainers"][name]))
        self.records = [CycleRecord(**record) for record in saved.counters["records"]]

    def save(self, checkpoint: Path) -> None:
        states = {name: trainer.state() for name, trainer in self.trainers.items()}
        tensors = {
            f"{name}/{key}": tensor
            for name, state in states.items()
            for key, tensor in state.tensors.items()
        }
        counters = {
            "run": self.run,
            "trainers": {name: state.counters for name, state in states.items()},
            "records": [asdict(record) for record in self.records],
        }
        save_checkpoint(checkpoint, Checkpoint(tensors, counters))


@contextmanager
def _log(folder: Path | None) -> Iterator[Callable[[CycleRecord], None]]:
    """Yield what writes a record for TensorBoard, or does nothing where there is no folder."""
    if folder is None:
        yield lambda record: None
        return
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder)) as writer:

        def write(record: CycleRecord) -> None:
            for key, value in asdict(record).items():
                if key != "cycle" and value is not None:
                    writer.add_scalar(f"alternate/{key}", value, record.cycle)
            writer.flush()

        yield write
