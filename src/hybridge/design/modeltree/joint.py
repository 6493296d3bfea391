"""Variants trained together, so that each works behind and before any other.

A variant that was trained by itself has only ever read what the original gives. Here every batch
goes through another random composition, and learns the original's logits (knowledge distillation,
model tree, section VI-D). The network's own modules are not touched.

Letters: ``B`` batch, ``K`` classes.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from hybridge.data.dataset import Dataset
from hybridge.design.modeltree.choices import KEEP, Composition
from hybridge.design.modeltree.compose import is_original
from hybridge.design.modeltree.library import Library
from hybridge.design.train.distill import logits_of
from hybridge.design.train.loop import EpochRecord, fit
from hybridge.design.train.settings import TrainSettings


class AnyComposition(nn.Module):
    """A library as one network: every batch goes through a composition drawn anew.

    Draws from torch's generator, which a training seeds.

    Args:
        library: Whose units.
        compositions: Those to draw from; any of the library's where left out.
    """

    def __init__(self, library: Library, compositions: Sequence[Composition] = ()) -> None:
        super().__init__()
        self.library = library
        self._compositions = tuple(compositions)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the logits ``(B, K)`` of pixels ``(B, H, W, C)``."""
        composition = self._draw()
        logits: Tensor = pixels
        for index, unit in enumerate(self.library.units(composition)):
            # What is the network's own is never changed, nor are its statistics.
            unit.train(self.training and not is_original(composition, index))
            with torch.set_grad_enabled(
                torch.is_grad_enabled() and not is_original(composition, index)
            ):
                logits = unit(logits)
        return logits

    def extra_repr(self) -> str:
        """Return what is drawn from: trainings of other compositions are other trainings."""
        return "; ".join(" ".join(each) for each in self._compositions)

    def _draw(self) -> Composition:
        if self._compositions:
            return self._compositions[int(torch.randint(len(self._compositions), ()))]
        composition = tuple(map(_any_of, self.library.options.values()))
        if all(option == KEEP for option in composition):
            return tuple(options[-1] for options in self.library.options.values())
        return composition


def _any_of(options: tuple[str, ...]) -> str:
    return options[int(torch.randint(len(options), ()))]


def train_together(
    library: Library,
    dataset: Dataset,
    settings: TrainSettings,
    *,
    seed: int,
    compositions: Sequence[Composition] = (),
    checkpoint: Path | None = None,
) -> tuple[EpochRecord, ...]:
    """Train all variants and tuned copies of a library in place, on the original's logits.

    Args:
        library: What is trained.
        dataset: Images the original was trained on, too.
        settings: How.
        seed: Of compositions, order and augmentation.
        compositions: Those to draw from; any of the library's where left out.
        checkpoint: File to go on from where it exists.
    """
    original = library.sliced.network
    records = fit(
        AnyComposition(library, compositions),
        dataset,
        settings,
        seed=seed,
        loss=logits_of(original, settings.precision),
        checkpoint=checkpoint,
        what="training variants together",
    )
    original.eval()
    return records
