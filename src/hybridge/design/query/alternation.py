"""What algorithm 3 works on and how it is run, as values.

Letters: ``N`` training images, ``n`` of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field

from hybridge.data.dataset import Dataset, Indices
from hybridge.design.nets.network import PixelNetwork
from hybridge.design.query.router import RouterSettings
from hybridge.design.train.outputs import hash_network
from hybridge.design.train.settings import TrainSettings
from hybridge.errors import ConfigError
from hybridge.hashing import hash_json
from hybridge.plan.tensors import Frozen

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
