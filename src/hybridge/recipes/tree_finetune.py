"""What was chosen, trained once more: only the compositions that the found trees are made of."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from hybridge.design.modeltree.choices import Composition
from hybridge.design.modeltree.joint import train_together
from hybridge.hashing import hash_json
from hybridge.recipes.training import CHECKPOINTS
from hybridge.recipes.tree_library import Prepared


def finetune(prepared: Prepared, chosen: Iterable[Composition], folder: Path) -> Prepared:
    """Return what is to be judged and exported: the library after a short training together.

    Args:
        prepared: As it was searched; its library is not changed.
        chosen: Compositions of everything that was found, those of homes included.
        folder: Of the run, which keeps a checkpoint for each set of compositions.

    Returns:
        The same where the recipe asks for no fine-tuning, or nothing is compressed.
    """
    settings = prepared.recipe.search.finetune
    if settings is None:
        return prepared
    compositions = sorted(set(chosen) - {prepared.original})
    if not compositions:
        return prepared
    library = prepared.library.copy()
    train_together(
        library,
        prepared.train,
        settings,
        seed=prepared.recipe.seed,
        compositions=compositions,
        checkpoint=folder / CHECKPOINTS / f"chosen-{hash_json(compositions)[:12]}.safetensors",
    )
    return replace(prepared, library=library)
