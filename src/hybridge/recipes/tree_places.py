"""Which scenes and traces are measured, of all that a recipe names."""

from collections.abc import Iterator, Sequence

import numpy as np

from hybridge.links.trace import Trace
from hybridge.recipes.model_tree import SceneResult
from hybridge.recipes.tree_schema import TreeRecipe


def narrowed(recipe: TreeRecipe, traces: int) -> TreeRecipe:
    """Return a recipe of no more scenes than are measured, and of no other experiments.

    Scenes lie as far apart in the recipe as they can, the first among them: the device that options
    were chosen for stays the same, and so does what is found.
    """
    there = [(index, scene) for index, each in enumerate(recipe.contexts) for scene in each.scenes]
    chosen = {there[at] for at in _spread(len(there), traces)}
    contexts = []
    for index, context in enumerate(recipe.contexts):
        scenes = tuple(scene for scene in context.scenes if (index, scene) in chosen)
        if scenes:
            contexts.append(context.model_copy(update={"scenes": scenes}))
    search = recipe.search.model_copy(update={"compare": (), "distilled": 0})
    return recipe.model_copy(update={"contexts": tuple(contexts), "search": search})


def places(
    scenes: Sequence[SceneResult], count: int
) -> Iterator[tuple[SceneResult, dict[str, Trace]]]:
    """Yield scenes with the traces to measure there: one of each scene, then a second, and so on.

    Where there are more scenes than traces, scenes are left out.
    """
    kept = [scenes[at] for at in _spread(len(scenes), count)]
    most = max(len(found.scene.traces) for found in kept)
    turns = [
        (at, key)
        for turn in range(most)
        for at, found in enumerate(kept)
        for key in list(found.scene.traces)[turn : turn + 1]
    ]
    for at, found in enumerate(kept):
        keys = [key for place, key in turns[:count] if place == at]
        yield found, {key: found.scene.traces[key] for key in keys}


def _spread(there: int, wanted: int) -> list[int]:
    """Return up to ``wanted`` of ``there`` indices, as far apart as they can be, 0 among them."""
    count = min(there, wanted)
    return [round(at) for at in np.linspace(0, there - 1, count)] if count > 1 else [0]
