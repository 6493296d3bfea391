"""What a model tree is compared with, each found for a scene and written as a tree.

``surgery`` and ``branch`` come twice: decided once, at the median bandwidth, and anew for every
request. Surgery then cuts where it is fastest at the very bandwidth, and not only at its type.
"""

from bisect import bisect_right
from collections.abc import Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

from hybridge.design.modeltree.branches import (
    Branch,
    branch_of,
    fastest_cut,
    tree_by_first_type,
)
from hybridge.design.modeltree.choices import BlockChoice, Composition, Space, Tree, branch_to
from hybridge.design.modeltree.make_plan import Home, TreePlan, keep_all, make_plan
from hybridge.design.modeltree.problem import TreeProblem
from hybridge.design.modeltree.programs import ProgramMaker
from hybridge.design.modeltree.searchers import searchers
from hybridge.design.search.budget import AnyOf
from hybridge.design.search.problem import Measured
from hybridge.design.search.run import SearchResult, search
from hybridge.recipes.tree_scene import TreeScene
from hybridge.recipes.tree_schema import TreeRecipe

EDGE_ONLY, CLOUD_WEBP, CLOUD_JPEG = "edge only", "cloud only webp", "cloud only jpeg-90"
SURGERY_ONCE, SURGERY = "surgery once", "surgery"
BRANCH_ONCE, BRANCH = "branch once", "branch"
TREE, EXACT = "tree", "exact"
#: All that `find_methods` returns.
METHODS = (
    *(EDGE_ONLY, CLOUD_WEBP, CLOUD_JPEG, SURGERY_ONCE, SURGERY),
    *(BRANCH_ONCE, BRANCH, TREE, EXACT),
)
#: Bandwidths at which surgery may change its mind lie between these, so many to a decade.
_LOWEST_BPS, _HIGHEST_BPS, _STEPS = 1e4, 1e9, 200

Memo = MutableMapping[Composition, Measured[float]]


@dataclass(frozen=True)
class Method:
    """A way to decide, as a tree.

    Attributes:
        tree: The choices.
        space: That they are from; its types are the tree's own.
        borders_bps: Where one type becomes the next.
        image_codec: How images cross.
    """

    tree: Tree
    space: Space
    borders_bps: tuple[float, ...]
    image_codec: str

    def planned(
        self, programs: ProgramMaker, home: Home, class_names: Sequence[str] = ()
    ) -> TreePlan:
        """Return the plan that decides so; see `make_plan`."""
        return make_plan(
            self.space,
            self.tree,
            self.borders_bps,
            programs,
            home,
            image_codec=self.image_codec,
            class_names=class_names,
        )


def find_methods(
    recipe: TreeRecipe, scene: TreeScene, problem: TreeProblem, memo: Memo
) -> dict[str, Method]:
    """Return every method of a scene, by name.

    Args:
        recipe: What says how trees are searched.
        scene: Where.
        problem: Of the tree.
        memo: Accuracies measured so far; filled in place.
    """
    space = problem.space
    whole = keep_all(space, ())
    sent = (BlockChoice(0, ()),)
    median = problem.under(scene.link)
    branches = [_branch(problem.under(link), recipe, memo) for link in problem.links]
    found = {
        EDGE_ONLY: _by_type(scene, space, space.tree_of(whole), recipe.image_codec),
        CLOUD_WEBP: _by_type(scene, space, space.tree_of(sent), "webp"),
        CLOUD_JPEG: _by_type(scene, space, space.tree_of(sent), "jpeg-90"),
        SURGERY_ONCE: _by_type(
            scene, space, space.tree_of(fastest_cut(problem, scene.link)), recipe.image_codec
        ),
        SURGERY: _surgery(scene, problem, recipe.image_codec),
        BRANCH_ONCE: _by_type(
            scene, space, space.tree_of(_branch(median, recipe, memo)), recipe.image_codec
        ),
        BRANCH: _by_type(scene, space, tree_by_first_type(space, branches), recipe.image_codec),
    }
    tree = find_tree(problem, recipe.search.searcher, recipe, recipe.seed, memo).best
    exact = find_tree(problem, "exact", recipe, recipe.seed, memo).best
    return {
        **found,
        TREE: _by_type(scene, space, tree, recipe.image_codec),
        EXACT: _by_type(scene, space, exact, recipe.image_codec),
    }


def find_tree(
    problem: TreeProblem, searcher: str, recipe: TreeRecipe, seed: int, memo: Memo
) -> SearchResult[Tree]:
    """Return what a searcher finds; its settings are the recipe's where it names this one."""
    settings = recipe.search.settings if searcher == recipe.search.searcher else {}
    algorithm = searchers.get(searcher)(problem, seed, settings)
    return search(problem, algorithm, AnyOf(()), memo, what=f"searching: {searcher}")


def _branch(problem: TreeProblem, recipe: TreeRecipe, memo: Memo) -> Branch:
    """Return the optimal branch under one link (algorithm 1)."""
    return branch_of(find_tree(problem, recipe.search.searcher, recipe, recipe.seed, memo).best)


def _by_type(scene: TreeScene, space: Space, tree: Tree, codec: str) -> Method:
    return Method(tree, space, scene.types.borders_bps, codec)


def _surgery(scene: TreeScene, problem: TreeProblem, codec: str) -> Method:
    """Return surgery that decides anew for every request, by the bandwidth that it sees."""
    decades = 5
    ratio = (_HIGHEST_BPS / _LOWEST_BPS) ** (1 / (decades * _STEPS))
    bandwidths = [_LOWEST_BPS * ratio**step for step in range(decades * _STEPS + 1)]
    cuts = [fastest_cut(problem, scene.at(bandwidth)) for bandwidth in bandwidths]
    borders, branches = [], [cuts[0]]
    for (_, before), (bandwidth, after) in pairwise(zip(bandwidths, cuts, strict=True)):
        if after != before:
            borders.append(bandwidth)
            branches.append(after)
    space = Space(problem.space.blocks, types=len(branches))
    return Method(tree_by_first_type(space, branches), space, tuple(borders), codec)


def branches_met(method: Method, typical_bps: Sequence[float]) -> Iterator[tuple[Branch, int]]:
    """Yield the branch that a method takes for every sequence of types, all equally likely.

    Args:
        method: The method, whose own types may be others.
        typical_bps: ``(K,)`` bandwidths that are met before each block.

    Yields:
        The branch, and the type from 0 to ``K - 1`` that was met before its last block.
    """
    index = [bisect_right(method.borders_bps, bandwidth) for bandwidth in typical_bps]
    for kinds in product(range(len(typical_bps)), repeat=method.space.levels):
        path = tuple(index[kind] for kind in kinds)
        stops = (
            level
            for level in range(1, len(path) + 1)
            if level == len(path) or method.tree[path[:level]].cut is not None
        )
        stop = next(stops)
        yield branch_to(method.tree, path[:stop]), kinds[stop - 1]
