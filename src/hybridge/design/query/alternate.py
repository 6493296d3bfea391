"""Alternating training of router, global and base (paper, algorithm 3).

In every cycle the router is fitted on the oracle of the current base and global, then the global
is trained under the router's decisions, then the base.

Decisions are computed out of fold. On images that the base has fitted it is too certain: the
router would send next to nothing, and the weights would be constant. So *twins* of the base, each
trained without one fold of the training images, answer for that fold in its place.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from hybridge.cost.target import threshold_for_coverage
from hybridge.data.dataset import Dataset, subset
from hybridge.design.nets.network import PixelNetwork
from hybridge.design.query.alternation import Alternation, CycleRecord
from hybridge.design.query.fit import RouterData, fit_router, score_all
from hybridge.design.query.losses import base_weights, global_weights
from hybridge.design.query.router import Router
from hybridge.design.train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from hybridge.design.train.loop import Trainer, TrainSettings
from hybridge.design.train.outputs import (
    Outputs,
    compute_outputs,
    stream_outputs,
)
from hybridge.design.train.processes import is_main
from hybridge.errors import ConfigError
from hybridge.progress import track


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
