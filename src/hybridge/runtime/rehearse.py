"""Playing every branch of a plan over calibration data, with the exported programs.

Letters: ``N`` inputs, ``B`` inputs of one batch.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from hybridge.codecs.codec import codec_named
from hybridge.data.dataset import Dataset
from hybridge.errors import DataError, PlanError, SignatureError
from hybridge.plan.answers import softmax
from hybridge.plan.plan import Fork, Leaf, Node, Path, Plan, Step
from hybridge.plan.rehearsal import Branch, Rehearsal
from hybridge.plan.variants import answering_alone
from hybridge.progress import track
from hybridge.runtime.sessions import ProgramSession

Array = np.ndarray[Any, Any]
Key = TypeVar("Key")


def rehearse(
    plan: Plan,
    data: Dataset,
    codecs: Sequence[str] = (),
    *,
    threads: int = 1,
    batch_size: int = 64,
) -> Rehearsal:
    """Play every branch of ``plan`` over ``data``.

    Edge programs get one input at a time, as on the device, so that their scores are the device's
    to the last bit; cloud programs get batches, of what each codec makes of their inputs.

    Args:
        plan: The plan; its programs know where their files lie.
        data: ``N`` labelled inputs.
        codecs: Codecs to try besides a step's own, at every cloud step whose inputs they take.
        threads: Threads of each session; the device's own number for equal scores.
        batch_size: Inputs that are held in memory at a time.

    Raises:
        SignatureError: ``data`` is not what the plan takes, or a codec fits no cloud step.
        DataError: ``data`` is empty.
        PlanError: Two cloud steps follow one another with no fork between.
        UnknownNameError: No codec has that name.
    """
    if len(data) == 0:
        raise DataError("expected calibration data to rehearse with, got an empty data set")
    _check_cloud_steps(plan)
    player = _Player(plan, _codecs_by_program(plan, codecs), threads)
    for start in track(range(0, len(data), batch_size), "rehearsing"):
        indices = np.arange(start, min(start + batch_size, len(data)))
        inputs = data.pixels(indices)
        plan.input.check(inputs)
        player.play(inputs)
    return Rehearsal(
        fingerprint=data.fingerprint,
        programs={step.program: plan.programs[step.program].sha256 for _, step in plan.steps()},
        truth=np.asarray(data.labels, np.int64),
        score=_joined(player.score),
        probabilities=_joined(player.probabilities),
        payload_bytes=_joined(player.payload_bytes),
        alone=_joined(player.alone),
    )


def _check_cloud_steps(plan: Plan) -> None:
    paths = [path for path, _ in plan.steps("cloud")]
    for path in paths:
        if paths.count(path) > 1:
            raise PlanError(f"two cloud steps at {path} cannot be told apart; join their programs")


def _codecs_by_program(plan: Plan, codecs: Sequence[str]) -> dict[str, list[str]]:
    """Return which of ``codecs`` fit the inputs of each cloud program.

    Raises `SignatureError` where one fits none: what it says of the last.
    """
    fitting: dict[str, list[str]] = {program.name: [] for program in plan.programs_at("cloud")}
    for name in codecs:
        refused: SignatureError | None = None
        for program in plan.programs_at("cloud"):
            try:
                for spec in program.inputs:
                    codec_named(name).encode(np.zeros((1, *spec.shape), spec.dtype))
                fitting[program.name].append(name)
            except SignatureError as error:
                refused = error
        if refused is not None and not any(name in found for found in fitting.values()):
            raise refused
    return fitting


@dataclass(frozen=True, slots=True)
class _Scene:
    """Where the play stands on one branch, for a batch.

    Attributes:
        path: Children taken so far.
        values: What has been computed, by name: ``(B, ...)`` each.
        score: Newest router score ``(B,)``, or None.
        codec: What the branch crossed the link with, or None.
        as_planned: Whether that is the codec that the plan names.
    """

    path: Path
    values: dict[str, Array]
    score: Array | None = None
    codec: str | None = None
    as_planned: bool = True


class _Player:
    """Plays batches, and collects what comes of them, one array for each batch."""

    def __init__(self, plan: Plan, codecs: Mapping[str, Sequence[str]], threads: int) -> None:
        self._plan = plan
        self._codecs = codecs
        used = dict.fromkeys(step.program for _, step in plan.steps())
        self._sessions = {name: ProgramSession(plan.programs[name], threads) for name in used}
        self.score: dict[Path, list[Array]] = defaultdict(list)
        self.probabilities: dict[Branch, list[Array]] = defaultdict(list)
        self.payload_bytes: dict[Branch, list[Array]] = defaultdict(list)
        self.alone: dict[tuple[str, str], list[Array]] = defaultdict(list)
        # The first step of each program: a second one is fed the same, and says the same.
        firsts: dict[str, tuple[Path, str]] = {}
        for path, step, logits in answering_alone(plan):
            firsts.setdefault(step.program, (path, logits))
        self._logits_alone = dict(firsts.values())

    def play(self, inputs: Array) -> None:
        """Play one batch ``(B, ...)`` of the plan's input."""
        self._play(self._plan.root, _Scene((), {self._plan.input.name: inputs}))

    def _play(self, node: Node, scene: _Scene) -> None:
        match node:
            case Leaf():
                said = node.combine.probabilities(scene.values).astype(np.float32)
                self.probabilities[scene.path, scene.codec].append(said)
            case Fork():
                # A score from below a cloud step depends on the codec: the plan's own counts.
                if scene.score is not None and scene.as_planned:
                    self.score[scene.path].append(scene.score.astype(np.float64))
                for index, child in enumerate(node.children):
                    self._play(child, replace(scene, path=(*scene.path, index)))
            case Step(place="edge"):
                self._play(node.then, self._run(node, scene))
            case Step():
                for codec in [scene.codec] if scene.codec else self._codecs_for(node):
                    self._play(node.then, self._ask(node, scene, codec))

    def _codecs_for(self, step: Step) -> list[str]:
        return list(dict.fromkeys([step.codec, *self._codecs[step.program]]))

    def _run(self, step: Step, scene: _Scene) -> _Scene:
        fed = {name: scene.values[value] for name, value in step.feeds.items()}
        session = self._sessions[step.program]
        batch = len(next(iter(fed.values())))
        singles = [
            session.run({name: array[row : row + 1] for name, array in fed.items()})
            for row in range(batch)
        ]
        outputs = {name: np.concatenate([one[name] for one in singles]) for name in singles[0]}
        return _with_outputs(scene, step, outputs)

    def _ask(self, step: Step, scene: _Scene, name: str) -> _Scene:
        codec = codec_named(name)
        sizes: Array = np.zeros(1, np.int64)
        received: dict[str, Array] = {}
        for input_name, value in step.feeds.items():
            encoded = codec.encode(scene.values[value])
            sizes = sizes + np.array([len(item) for item in encoded.payload], np.int64)
            received[input_name] = codec.decode(encoded, max_bytes=scene.values[value].nbytes)
        self.payload_bytes[scene.path, name].append(sizes)
        outputs = self._sessions[step.program].run(received)
        as_planned = scene.as_planned and name == step.codec
        asked = replace(_with_outputs(scene, step, outputs), codec=name, as_planned=as_planned)
        if (logits := self._logits_alone.get(scene.path)) is not None:
            said = softmax(asked.values[logits]).astype(np.float32)
            self.alone[step.program, name].append(said)
        return asked


def _with_outputs(scene: _Scene, step: Step, outputs: dict[str, Array]) -> _Scene:
    computed = {f"{step.program}.{name}": array for name, array in outputs.items()}
    return replace(scene, values=scene.values | computed, score=outputs.get("score", scene.score))


def _joined(table: dict[Key, list[Array]]) -> dict[Key, Array]:
    return {key: np.concatenate(batches) for key, batches in table.items()}
