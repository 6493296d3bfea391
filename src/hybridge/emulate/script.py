"""What a plan's programs take, say and send, for each rehearsed input; quick to look up.

Letters: ``N`` rehearsed inputs.
"""

from collections.abc import Sequence
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
        sizes: Encoded bytes that it sends, by codec and for each input; empty on the edge.
    """

    takes_ms: float
    scores: Scores
    sizes: dict[str, list[int]]


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
        codecs: That cloud steps may be asked with besides their own.

    Attributes:
        inputs: ``N``.
        parts: What each step does, by its path and program.
        endings: What each leaf says, by its path, with the plan's own codecs.

    Raises:
        PlanError: The rehearsal does not fit the plan.
        ConfigError: A program has no price.
    """

    def __init__(
        self, plan: Plan, rehearsal: Rehearsal, prices: Prices, codecs: Sequence[str] = ()
    ) -> None:
        rehearsal.check_fits(plan)
        self.plan = plan
        self.inputs = len(rehearsal)
        if self.inputs == 0:
            raise PlanError("expected a rehearsal of one input or more, got an empty one")
        self.parts = {
            (path, step.program): _part(path, step, rehearsal, prices, codecs)
            for path, step in plan.steps()
        }
        self.endings = {
            path: _ending(path, leaf, rehearsal, codec_to(plan, path))
            for path, leaf in plan.leaves()
        }
        self._truth: list[int] = rehearsal.truth.tolist()
        homes = {
            path: path if codec_to(plan, path) is None else plan.home_leaf(path)
            for path in self.endings
        }
        self._alone = {path: self.endings[home] for path, home in homes.items() if home is not None}
        self._others = {
            (path, codec): _ending(path, leaf, rehearsal, codec)
            for path, leaf in plan.leaves()
            for codec in codecs
            if codec_to(plan, path) is not None
        }

    def ending(self, leaf: Path, codec: str | None) -> Ending:
        """Return what a leaf says once ``codec`` was used on the way, if any was."""
        other = None if codec is None else self._others.get((leaf, codec))
        return other or self.endings[leaf]

    def said(self, leaf: Path, ending: Ending, index: int) -> tuple[int | None, ...]:
        """Return what the leaf at ``leaf`` says of an input, what the edge would, and the truth."""
        label = None if ending.labels is None else ending.labels[index]
        alone = self._alone.get(leaf)
        edge_label = None if alone is None or alone.labels is None else alone.labels[index]
        return label, edge_label, self._truth[index]


def codec_to(plan: Plan, leaf: Path) -> str | None:
    """Return the codec by which inputs that end at ``leaf`` cross the link; None if none does."""
    codecs = (step.codec for path, step in plan.steps("cloud") if leaf[: len(path)] == path)
    return next(codecs, None)


def _part(
    path: Path, step: Step, rehearsal: Rehearsal, prices: Prices, codecs: Sequence[str]
) -> Part:
    takes_ms = prices.step_ms(step)
    if not takes_ms >= 0:
        raise ConfigError(f"expected a price of 0 ms or more for {step.program!r}, got {takes_ms}")
    score = rehearsal.score.get(path) if isinstance(step.then, Fork) else None
    sizes = {}
    if step.place == "cloud":
        sizes = {
            codec: rehearsal.payload_bytes[path, codec].tolist() for codec in (step.codec, *codecs)
        }
    return Part(takes_ms, None if score is None else score.tolist(), sizes)


def _ending(path: Path, leaf: Leaf, rehearsal: Rehearsal, codec: str | None) -> Ending:
    if isinstance(leaf.combine, Abstain):
        return Ending(None, [False] * len(rehearsal))
    answers = rehearsal.answers(path, codec)
    return Ending(answers.tolist(), (answers == rehearsal.truth).tolist())
