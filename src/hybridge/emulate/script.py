"""What a plan's programs take, say and send, for each rehearsed input; quick to look up.

Letters: ``N`` rehearsed inputs.
"""

from dataclasses import dataclass

from hybridge.cost.price import Prices
from hybridge.errors import ConfigError, PlanError
from hybridge.plan.answers import Abstain
from hybridge.plan.plan import Fork, Leaf, Path, Plan, Step
from hybridge.plan.rehearsal import Rehearsal

Scores = list[float] | None


@dataclass(frozen=True, slots=True)
class Part:
    """What one step does.

    Attributes:
        takes_ms: Time of its program.
        scores: The newest router score once it has run, for each input; None where there is none.
        sizes: Encoded bytes that it sends, for each input; empty on the edge.
    """

    takes_ms: float
    scores: Scores
    sizes: list[int]


@dataclass(frozen=True, slots=True)
class Ending:
    """What one leaf says.

    Attributes:
        labels: The class, for each input; None where the leaf gives none.
        right: Whether that is the right one.
    """

    labels: list[int] | None
    right: list[bool]


class Script:
    """A plan, as its rehearsal says it goes and as prices say it takes.

    Args:
        plan: The plan.
        rehearsal: Played with its programs.
        prices: What its programs take.

    Attributes:
        inputs: ``N``.
        parts: What each step does, by its path and program.
        endings: What each leaf says, by its path.

    Raises:
        PlanError: The rehearsal does not fit the plan.
        ConfigError: A program has no price.
    """

    def __init__(self, plan: Plan, rehearsal: Rehearsal, prices: Prices) -> None:
        rehearsal.check_fits(plan)
        self.plan = plan
        self.inputs = len(rehearsal)
        if self.inputs == 0:
            raise PlanError("expected a rehearsal of one input or more, got an empty one")
        self.parts = {
            (path, step.program): _part(path, step, rehearsal, prices)
            for path, step in plan.steps()
        }
        self.endings = {path: _ending(plan, path, leaf, rehearsal) for path, leaf in plan.leaves()}


def codec_to(plan: Plan, leaf: Path) -> str | None:
    """Return the codec by which inputs that end at ``leaf`` cross the link; None if none does."""
    codecs = (step.codec for path, step in plan.steps("cloud") if leaf[: len(path)] == path)
    return next(codecs, None)


def _part(path: Path, step: Step, rehearsal: Rehearsal, prices: Prices) -> Part:
    takes_ms = prices.step_ms(step)
    if not takes_ms >= 0:
        raise ConfigError(f"expected a price of 0 ms or more for {step.program!r}, got {takes_ms}")
    score = rehearsal.score.get(path) if isinstance(step.then, Fork) else None
    sizes = rehearsal.payload_bytes[path, step.codec].tolist() if step.place == "cloud" else []
    return Part(takes_ms, None if score is None else score.tolist(), sizes)


def _ending(plan: Plan, path: Path, leaf: Leaf, rehearsal: Rehearsal) -> Ending:
    if isinstance(leaf.combine, Abstain):
        return Ending(None, [False] * len(rehearsal))
    answers = rehearsal.answers(path, codec_to(plan, path))
    return Ending(answers.tolist(), (answers == rehearsal.truth).tolist())
