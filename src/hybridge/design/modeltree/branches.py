"""Trees that are made of branches, each the best under one type of bandwidth."""

from collections.abc import Sequence

from hybridge.design.modeltree.choices import KEEP, BlockChoice, Space, Tree, TypePath
from hybridge.design.modeltree.problem import TreeProblem
from hybridge.links.link import Link

Branch = tuple[BlockChoice, ...]


def branch_of(tree: Tree) -> Branch:
    """Return the branch that a tree takes as long as the first type is met."""
    found: list[BlockChoice] = []
    while (path := (0,) * (len(found) + 1)) in tree:
        found.append(tree[path])
    return tuple(found)


def tree_by_first_type(space: Space, branches: Sequence[Branch]) -> Tree:
    """Return the tree that decides by the first type it meets, and does not change its mind.

    Args:
        space: Of ``K`` types.
        branches: One for each type.
    """
    paths = (path for path in space.paths() if len(path) <= len(branches[path[0]]))
    return {path: branches[path[0]][len(path) - 1] for path in paths}


def tree_of_blocks(space: Space, branches: Sequence[Branch]) -> Tree:
    """Return the tree that takes each block from the branch of the type it meets.

    Where that branch was cut before, the branch that was followed goes on.

    Args:
        space: Of ``K`` types.
        branches: One for each type.
    """
    tree: dict[TypePath, BlockChoice] = {}

    def grow(path: TypePath, followed: Branch) -> None:
        for kind in range(space.types):
            branch = branches[kind] if len(branches[kind]) > len(path) else followed
            below = (*path, kind)
            tree[below] = branch[len(path)]
            if tree[below].cut is None and len(below) < space.levels:
                grow(below, branch)

    grow((), ())
    return tree


def fastest_cut(problem: TreeProblem, link: Link) -> Branch:
    """Return the branch of the original with the least latency over one link; exact.

    All cuts of the original are as accurate, so this is also the one with the highest reward. Of
    equals it is the one that leaves most on the edge.
    """
    under = problem.under(link)
    whole: list[BlockChoice] = []
    found: list[Branch] = []
    for block in problem.space.blocks:
        for cut in block.cuts:
            found.append((*whole, BlockChoice(cut, (KEEP,) * block.slot_count(cut))))
        whole.append(BlockChoice(None, (KEEP,) * len(block.slots)))
    found.append(tuple(whole))
    return min(reversed(found), key=lambda branch: under.latency_ms(branch, 0))


def fastest_cuts(problem: TreeProblem) -> Tree:
    """Return the original, cut where it is fastest under the type that a request meets first."""
    branches = [fastest_cut(problem, link) for link in problem.links]
    return tree_by_first_type(problem.space, branches)
