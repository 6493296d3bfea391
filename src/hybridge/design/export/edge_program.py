"""What a microcontroller needs of a plan: its program on the edge, and when to ask whom."""

from dataclasses import dataclass

from hybridge.errors import ConfigError
from hybridge.plan.choosers import ScoreThreshold
from hybridge.plan.plan import Fork, Plan, Step
from hybridge.plan.program import Program

SCORE = "score"


@dataclass(frozen=True)
class EdgeProgram:
    """A program that runs on the edge, from uint8 pixels to float32 outputs.

    Attributes:
        program: The program.
        threshold: Score above which an input is sent; None where the plan does not choose so.
        asked: The program in the cloud that is sent the pixels then, or None.
    """

    program: Program
    threshold: float | None
    asked: Program | None

    @property
    def has_score(self) -> bool:
        """Whether a router is part of it."""
        return any(spec.name == SCORE for spec in self.program.outputs)

    def outputs(self, score: bool = True) -> list[str]:
        """Return the names of its outputs, without the score's where it is not wanted."""
        return [spec.name for spec in self.program.outputs if score or spec.name != SCORE]

    def numbers(self, name: str) -> int:
        """Return how many numbers an output has."""
        (spec,) = (spec for spec in self.program.outputs if spec.name == name)
        return spec.bytes_per_item // 4

    def column(self, name: str) -> int:
        """Return where an output begins among all numbers of all outputs."""
        names = self.outputs()
        return sum(map(self.numbers, names[: names.index(name)]))


def edge_program(plan: Plan) -> EdgeProgram:
    """Return the only program that a plan has on the edge.

    Raises:
        ConfigError: There is another number of them, it does not read pixels, or an output is not
            float32.
    """
    programs = plan.programs_at("edge")
    if len(programs) != 1 or not isinstance(plan.root, Step) or plan.root.place != "edge":
        names = [program.name for program in programs]
        raise ConfigError(
            f"expected a bundle that begins with its one program on the edge, got {names}; "
            "make one of a base and its router: hybridge train RECIPE"
        )
    (program,) = programs
    inputs = [spec.dtype for spec in program.inputs]
    if inputs != ["uint8"] or {spec.dtype for spec in program.outputs} != {"float32"}:
        raise ConfigError(
            f"expected a program from uint8 pixels to float32 outputs, but {program.name!r} takes "
            f"{inputs} and gives {[spec.dtype for spec in program.outputs]}"
        )
    fork = plan.root.then
    if not isinstance(fork, Fork) or not isinstance(fork.chooser, ScoreThreshold):
        return EdgeProgram(program, None, None)
    sent = fork.children[1]
    gets_pixels = isinstance(sent, Step) and [*sent.feeds.values()] == [plan.input.name]
    asked = plan.programs[sent.program] if isinstance(sent, Step) and gets_pixels else None
    return EdgeProgram(program, fork.chooser.threshold, asked)
