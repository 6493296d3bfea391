"""The phases of progressive shrinking: which choices are free in each, and how it is trained.

As in Once-for-All (Cai et al. 2020): the full network, then kernels, depths and expansions.
"""

from itertools import chain
from typing import Any, Literal

from pydantic import Field

from hybridge.design.nets.architecture import Space
from hybridge.design.nets.mobilenet import Family
from hybridge.design.train.batches import Augment
from hybridge.design.train.settings import TrainSettings
from hybridge.plan.tensors import Frozen


class Phase(Frozen):
    """A part of progressive shrinking. A choice that is left out stays the largest.

    Attributes:
        name: Of its checkpoint and logs.
        epochs: Times every image is seen.
        learning_rate: At its highest; it falls as a cosine.
        warmup_epochs: Time over which the rate rises from zero.
        weight_decay: Of weights; biases and normalisation are spared.
        label_smoothing: Share of each label that is spread over all classes.
        kernels: Sides that kernels may have.
        depths: Blocks that stages may have.
        expansions: Multiples that middle channels may be.
        resolutions: Heights and widths that images may be scaled to, in pixels.
        subnets: Architectures drawn in each step; their gradients are added up.
        distillation: Weight of the full network's answers beside that of the labels, which is 1.
            The first phase has no full network to learn from, and goes by the labels alone.
        sort_channels: Whether middle channels are first sorted, the most important to the front.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    epochs: int = Field(gt=0)
    learning_rate: float = Field(default=0.03, gt=0)
    warmup_epochs: float = Field(default=0.0, ge=0)
    weight_decay: float = Field(default=3e-5, ge=0)
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    kernels: tuple[int, ...] = ()
    depths: tuple[int, ...] = ()
    expansions: tuple[int, ...] = ()
    resolutions: tuple[int, ...] = ()
    subnets: int = Field(default=1, gt=0, le=4)
    distillation: float = Field(default=1.0, ge=0)
    sort_channels: bool = False

    def space(self, whole: Space) -> Space:
        """Return the architectures that may be drawn, of the ``whole`` space."""
        return Space(
            whole.stages,
            tuple(sorted(self.kernels)) or whole.kernels[-1:],
            tuple(sorted(self.expansions)) or whole.expansions[-1:],
            tuple(sorted(self.depths)) or whole.depths[-1:],
        )

    def faults(self, family: Family, side: int) -> list[str]:
        """Return what this phase has that its family has not.

        Args:
            family: Of the supernet.
            side: Height and width of the images.
        """
        space = family.space
        allowed = {
            "kernels": space.kernels,
            "depths": space.depths,
            "expansions": space.expansions,
        }
        found = []
        for key, known in allowed.items():
            given = getattr(self, key)
            if given and (not set(given) <= set(known) or known[-1] not in given):
                found.append(f"{key}: expected some of {_list(known)} with {known[-1]} among them")
        sides = tuple(each for each in family.resolutions if each <= side)
        if not set(self.resolutions) <= {*sides, side}:
            found.append(f"resolutions: expected some of {_list((*sides, side))}")
        return [f"{self.name}: {fault}" for fault in found]


class ShrinkSettings(Frozen):
    """How a supernet is trained, by stochastic gradient descent with Nesterov's momentum.

    Attributes:
        phases: One after the other; where left out, those of Once-for-All, with epochs for
            small images.
        batch_size: Images in a step, over all processes.
        momentum: Of the gradient.
        augment: How images are changed at random.
        precision: Of activations; weights stay fp32.
    """

    phases: tuple[Phase, ...] = ()
    batch_size: int = Field(default=128, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    augment: Augment = "crop_flip"
    precision: Literal["fp32", "bf16"] = "fp32"

    def training(self, phase: Phase, epochs: int | None = None) -> TrainSettings:
        """Return how a phase is trained; ``epochs`` where it takes others than its own."""
        return TrainSettings(
            epochs=epochs or phase.epochs,
            batch_size=self.batch_size,
            learning_rate=phase.learning_rate,
            momentum=self.momentum,
            weight_decay=phase.weight_decay,
            label_smoothing=phase.label_smoothing,
            warmup_epochs=phase.warmup_epochs,
            augment=self.augment,
            precision=self.precision,
        )


def default_phases(family: Family, side: int, *, full: int = 14, elastic: int = 4) -> list[Phase]:
    """Return Once-for-All's phases: one choice after the other, one step down at a time.

    Kernels come all at once; depths and expansions first without the smaller ones.

    Args:
        family: Of the supernet.
        side: Height and width of the images; the family's smaller ones are drawn, too.
        full: Epochs of the full network.
        elastic: Epochs of each later phase.
    """
    space = family.space
    phases = [Phase(name="full", epochs=full, learning_rate=0.1, warmup_epochs=1)]
    sides = tuple(each for each in family.resolutions if each <= side)
    free: dict[str, Any] = {"resolutions": sides, "kernels": space.kernels}
    phases.append(Phase(name="kernels", epochs=elastic, **free))
    for count in range(2, len(space.depths) + 1):
        free["depths"] = space.depths[-count:]
        phases.append(Phase(name=f"depths-{count}", epochs=elastic, subnets=2, **free))
    for count in range(2, len(space.expansions) + 1):
        free |= {"expansions": space.expansions[-count:], "sort_channels": True}
        phases.append(Phase(name=f"expansions-{count}", epochs=elastic, subnets=2, **free))
    return phases


def resolutions_of(phases: tuple[Phase, ...], side: int) -> tuple[int, ...]:
    """Return the resolutions that some phase trains, ascending; ``side`` is that of the images."""
    return tuple(sorted({side, *chain.from_iterable(phase.resolutions for phase in phases)}))


def _list(choices: tuple[int, ...]) -> str:
    return ", ".join(map(str, sorted(set(choices))))
