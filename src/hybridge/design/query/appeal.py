"""AppealNet's way, as a baseline: base and router trained together, without an oracle.

Li et al. 2021 minimise, over the training images, the expected loss of the hybrid plus a price for
every appeal to the cloud. Two things of it are as optimistic as they are there: the global has
fitted these images, and so has the base. Only the threshold comes from other data.

Letters: ``N`` images, ``B`` batch, ``C`` classes.
"""

from typing import cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from hybridge.data.dataset import Dataset
from hybridge.design.nets.network import PixelNetwork
from hybridge.design.query.losses import appealing_loss
from hybridge.design.query.router import Router, RouterSettings
from hybridge.design.train.batches import Batch
from hybridge.design.train.loop import EpochRecord, TrainSettings, fit
from hybridge.design.train.outputs import Outputs
from hybridge.errors import ConfigError, DataError
from hybridge.plan.tensors import Frozen


class AppealSettings(Frozen):
    """How base and router are trained together.

    Attributes:
        train: Of both, at one learning rate; without augmentation, since the global's answers are
            kept, and are of the plain images.
        cost: Weight of ``-log`` of the probability of keeping: higher sends less.
    """

    train: TrainSettings = TrainSettings(epochs=10, learning_rate=1e-2, augment="none")
    cost: float = Field(default=0.1, ge=0)


class _Appealing(nn.Module):
    """Base and router in one, for a trainer that knows of one network and one output.

    Args:
        base: From pixels ``(B, H, W, 3)`` to logits ``(B, C)``; its gradients pass the router's.
        router: A free router.
    """

    def __init__(self, base: PixelNetwork, router: Router) -> None:
        super().__init__()
        self.base = base
        self.router = router

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the base's logits, then the router's, side by side: ``(B, C + 2)``."""
        if self.router.embedder is None:
            logits, embedding = cast(Tensor, self.base(pixels)), None
        else:
            embedding, logits = self.base.embed_and_classify(pixels)
        return torch.cat((logits, self.router(logits, embedding)), dim=1)


def fit_appeal(
    base: PixelNetwork,
    global_outputs: Outputs,
    train: Dataset,
    router_settings: RouterSettings,
    settings: AppealSettings,
    *,
    seed: int,
) -> tuple[Router, tuple[EpochRecord, ...]]:
    """Train the base in place, together with a new router.

    The router starts from scratch and goes with this base alone: score them together, on data
    that neither has fitted (`hybridge.design.query.fit.score_all`), and choose its threshold there.

    Args:
        base: The edge's network, trained or not.
        global_outputs: What the global says of the plain training images, computed once.
        train: The training images.
        router_settings: Widths of the router, and whether it reads the base's features.
        settings: How both are trained.
        seed: Of the router's weights and of the order of the images.

    Returns:
        The router, and a record of every epoch.

    Raises:
        ConfigError: The images are to be augmented, or the base has no features to read.
        DataError: The global's answers are not those to the training images.
    """
    if settings.train.augment != "none":
        raise ConfigError(
            "the global's kept answers are of plain images, so base and router cannot see "
            f"augmented ones; expected augment 'none', got {settings.train.augment!r}"
        )
    if len(global_outputs.logits) != len(train):
        raise DataError(
            f"expected the global's answers to the {len(train)} training images, "
            f"got {len(global_outputs.logits)}"
        )
    sent_losses = cross_entropy(
        torch.from_numpy(global_outputs.logits), torch.from_numpy(train.labels), reduction="none"
    )
    joined = _Appealing(base, _new_router(base, train, router_settings, seed))

    def loss(outputs: Tensor, batch: Batch) -> Tensor:
        logits, z = outputs[:, :-2], outputs[:, -2:]
        own = cross_entropy(logits, batch.labels, reduction="none")
        sent = sent_losses[batch.indices].to(own.device)
        return appealing_loss(z, own, sent, settings.cost)

    records = fit(joined, train, settings.train, seed=seed, loss=loss, what="training to appeal")
    return joined.router, records


def _new_router(base: PixelNetwork, train: Dataset, settings: RouterSettings, seed: int) -> Router:
    width = None
    if settings.embedding:
        with torch.no_grad():
            pixels = torch.zeros(1, *train.geometry.shape, dtype=torch.uint8)
            width = base.eval().embed_and_classify(pixels.to(base.mean.device))[0].shape[1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Router(train.class_count, settings, embedding_width=width)
