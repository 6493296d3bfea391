"""How a hybrid does, as far as a joint search asks, kept in the folder of the hybrid."""

from pathlib import Path

from pydantic import ValidationError

from hybridge.cost.operating import OperatingPoint
from hybridge.design.query.evaluate import Evaluation
from hybridge.files import write_atomically
from hybridge.plan.tensors import Frozen

FILE = "judged.json"


class Judged(Frozen, ser_json_inf_nan="strings"):
    """A hybrid on the held-out images.

    Attributes:
        base_accuracy: On all of them, as a share.
        global_accuracy: The same.
        points: Measured point of each split, by way of deciding and by target coverage.
    """

    base_accuracy: float
    global_accuracy: float
    points: dict[str, dict[float, list[OperatingPoint]]]

    def at(self, method: str, fused: bool, coverage: float) -> list[OperatingPoint]:
        """Return the point of each split at which a method was to keep ``coverage``."""
        return self.points[_name(method, fused)][coverage]


class _Kept(Frozen, ser_json_inf_nan="strings"):
    run: str
    judged: Judged


def judged_by(evaluation: Evaluation) -> Judged:
    """Return what an evaluation says of a hybrid."""
    return Judged(
        base_accuracy=evaluation.base_accuracy,
        global_accuracy=evaluation.global_accuracy,
        points={_name(*way): result.points for way, result in evaluation.results.items()},
    )


def read_judged(folder: Path, run: str) -> Judged | None:
    """Return how a hybrid did; none where that is not known, or is of another run.

    Args:
        folder: Of the hybrid.
        run: Hash of all that it depends on.
    """
    try:
        kept = _Kept.model_validate_json((folder / FILE).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
    return kept.judged if kept.run == run else None


def write_judged(folder: Path, run: str, judged: Judged) -> None:
    """Keep how a hybrid did."""
    write_atomically(folder / FILE, _Kept(run=run, judged=judged).model_dump_json().encode())


def _name(method: str, fused: bool) -> str:
    return f"{method}, fused" if fused else method
