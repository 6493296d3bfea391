"""Which leaves of a plan inputs reach, and what they send on the way."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from hybridge.cost.operating import Floats
from hybridge.errors import ConfigError, PlanError
from hybridge.plan.choosers import ScoreThreshold
from hybridge.plan.plan import Fork, Path, Plan
from hybridge.plan.rehearsal import Branch, Rehearsal, leaf_at

#: Distance from 1 that shares may add up to through rounding alone.
_ROUNDING = 1e-6


class Query(NamedTuple):
    """A selective query: one fork, at the path ``()``, that keeps inputs or sends them.

    Attributes:
        kept: Path of the leaf where inputs are kept.
        sent: Path of the leaf where they were sent, and of the one cloud step above it.
        codec: What they are sent with.
    """

    kept: Path
    sent: Path
    codec: str


def selective_query(plan: Plan) -> Query | None:
    """Return where inputs are kept and sent; None where the plan is no selective query."""
    choosers = [placed.node.chooser for placed in plan.nodes() if isinstance(placed.node, Fork)]
    match choosers, list(plan.steps("cloud")):
        case [ScoreThreshold()], [((1,), step)]:
            return Query((0,), (1,), step.codec)
        case _:
            return None


def check_share(name: str, share: float) -> float:
    """Return a share; raises `ConfigError` unless it is a number from 0 to 1."""
    if not 0 <= share <= 1:
        raise ConfigError(f"expected a {name} from 0 to 1, got {share:g}")
    return share


def reach_at(plan: Plan, coverage: float) -> dict[Path, float]:
    """Return the share of inputs that reach each leaf of a selective query at a ``coverage``.

    Raises `ConfigError` where the plan is another tree, or the coverage is no share.
    """
    check_share("coverage", coverage)
    query = selective_query(plan)
    if query is None:
        raise ConfigError(
            "a coverage says how often each branch is taken only where one fork keeps or sends by "
            "a router's score, which this plan has not; give the reach of each leaf instead"
        )
    return {query.kept: coverage, query.sent: 1 - coverage}


def only_leaf(plan: Plan, bandwidth_bps: float) -> Path:
    """Return the leaf that all inputs reach at a bandwidth.

    Raises `ConfigError` where they do not all reach one: where a fork goes by a router's score.
    """
    try:
        return leaf_at(plan, bandwidth_bps)
    except PlanError as error:
        raise ConfigError(
            f"expected a rehearsal or a coverage to tell how often each of "
            f"{len(list(plan.leaves()))} branches is taken, got neither; give a coverage, or "
            "rehearse the plan"
        ) from error


def reach_of(leaves: Sequence[Path]) -> dict[Path, float]:
    """Return the share of inputs at each leaf, from the leaf of each of ``N`` inputs.

    `hybridge.plan.rehearsal.leaf_of_each` gives those that the plan's own choosers lead to.
    """
    return {leaf: count / len(leaves) for leaf, count in Counter(leaves).items()}


def payloads_of(rehearsal: Rehearsal, leaves: Sequence[Path] | None = None) -> dict[Branch, Floats]:
    """Return the encoded bytes of the inputs that send, for each cloud step and codec.

    Args:
        rehearsal: Of ``N`` inputs.
        leaves: Leaf of each of the ``N`` inputs: only those that pass a step count there. None
            counts all, for where any input is as likely sent as another.
    """
    if leaves is None:
        return {branch: _floats(sizes) for branch, sizes in rehearsal.payload_bytes.items()}
    found = {}
    for (path, codec), sizes in rehearsal.payload_bytes.items():
        passing = np.array([leaf[: len(path)] == path for leaf in leaves])
        if passing.any():
            found[path, codec] = _floats(sizes[passing])
    return found


def check_reach(plan: Plan, reach: Mapping[Path, float]) -> None:
    """Raise `ConfigError` unless ``reach`` gives leaves of ``plan`` shares that add up to 1."""
    leaves = [path for path, _ in plan.leaves()]
    if unknown := sorted(set(reach) - set(leaves)):
        raise ConfigError(f"the plan has no leaf at {unknown}; its leaves are {leaves}")
    for leaf, share in reach.items():
        check_share(f"reach of leaf {leaf}", share)
    if not math.isclose(total := sum(reach.values()), 1, abs_tol=_ROUNDING):
        raise ConfigError(f"expected the reach of all leaves to add up to 1, got {total:g}")


def _floats(sizes: Floats) -> Floats:
    return np.asarray(sizes, np.float64)
