"""The codecs that a cloud step may be asked with, and what each is worth."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from hybridge.errors import ConfigError
from hybridge.plan.plan import Path, Plan, Step
from hybridge.plan.rehearsal import Rehearsal


@dataclass(frozen=True, slots=True)
class Dish:
    """A codec as calibration saw it.

    Attributes:
        codec: Its name.
        payload_bytes: Mean size of a message.
        accuracy: Share of calibration inputs that are right when all are sent with it.
    """

    codec: str
    payload_bytes: float
    accuracy: float


Menus = Mapping[Path, tuple[Dish, ...]]
"""What each cloud step may be asked with, by its path; the plan's own codec first."""


def menus(plan: Plan, rehearsal: Rehearsal | None, codecs: Collection[str] = ()) -> Menus:
    """Return what every cloud step may be asked with.

    Args:
        plan: The plan.
        rehearsal: Its own, or None: then only the plan's codecs are known, and not their sizes.
        codecs: Besides the plan's own; each must have been rehearsed at every cloud step.

    Raises:
        ConfigError: A codec was not rehearsed.
    """
    if rehearsal is None:
        if codecs:
            raise ConfigError(
                f"codecs {', '.join(sorted(codecs))} can only be chosen among with a rehearsal; "
                "give a bundle with its rehearsal"
            )
        return {}
    return {
        path: tuple(
            _dish(plan, path, step, name, rehearsal)
            for name in dict.fromkeys([step.codec, *codecs])
        )
        for path, step in plan.steps("cloud")
    }


def _dish(plan: Plan, path: Path, step: Step, codec: str, rehearsal: Rehearsal) -> Dish:
    sizes = rehearsal.payload_bytes.get((path, codec))
    leaves = [leaf for leaf, _ in plan.leaves() if leaf[: len(path)] == path]
    if sizes is None or any((leaf, codec) not in rehearsal.probabilities for leaf in leaves):
        known = sorted(str(name) for where, name in rehearsal.payload_bytes if where == path)
        raise ConfigError(
            f"codec {codec!r} was not rehearsed for {step.program!r}; rehearsed: {', '.join(known)}"
        )
    right = [(rehearsal.answers(leaf, codec) == rehearsal.truth).mean() for leaf in leaves]
    return Dish(codec, float(sizes.mean()), float(sum(right) / len(right)))
