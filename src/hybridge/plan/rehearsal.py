"""A rehearsal: what every branch of a plan would do on calibration data.

It is played once, with the exported programs, and travels in the bundle. Tuning, estimates,
emulation and codec choice read it instead of running anything.

Letters: ``N`` inputs, ``C`` classes.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, TypeAdapter
from safetensors import SafetensorError
from safetensors.numpy import load, save

from hybridge.errors import DataError, PlanError
from hybridge.plan.observation import Observation
from hybridge.plan.plan import Fork, Leaf, Node, Path, Plan, Step

Array = np.ndarray[Any, Any]
Branch = tuple[Path, str | None]
"""A path, and the codec its inputs crossed the link with; None where nothing crosses."""

FORMAT = 1
_BY_PATH = ("score", "held_out_score")
_BY_CODEC = ("probabilities", "payload_bytes", "alone")

_NAMES: TypeAdapter[Any] = TypeAdapter(
    tuple[Literal["score", "held_out_score"], Path]
    | tuple[Literal["probabilities", "payload_bytes"], Path, str | None]
    | tuple[Literal["alone"], str, str]
)
"""Names of tensors in the file: a table, and what one of its arrays is for."""


class _Header(BaseModel):
    format: int
    fingerprint: str
    programs: dict[str, str]


@dataclass(frozen=True, eq=False)
class Rehearsal:
    """What every branch would do, for each of ``N`` inputs.

    Attributes:
        fingerprint: Fingerprint of the data it was played on.
        programs: Hash of every program that was played, by name.
        truth: Right classes: ``(N,)`` int64.
        score: Router score seen at each fork: ``(N,)`` float64, so that comparing one with a
            threshold is what the device does.
        probabilities: What each leaf would say: ``(N, C)`` float32.
        payload_bytes: What the cloud step at a path would send: ``(N,)`` int64.
        held_out_score: Like ``score``, by routers that were fitted without the input, at forks
            whose router was fitted on these data: what accuracies are to be judged by.
        alone: What a cloud program that reads the plan's input would say by itself, by its name
            and the input's codec: ``(N, C)`` float32. A leaf may fuse it with something else.
    """

    fingerprint: str
    programs: dict[str, str]
    truth: Array
    score: dict[Path, Array]
    probabilities: dict[Branch, Array]
    payload_bytes: dict[Branch, Array]
    held_out_score: dict[Path, Array] = field(default_factory=dict)
    alone: dict[tuple[str, str], Array] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.truth)

    def answers(self, leaf: Path, codec: str | None = None) -> Array:
        """Return the class ``(N,)`` that the leaf at ``leaf`` would answer.

        Args:
            leaf: Where the leaf stands.
            codec: Codec of the cloud step above it; None for an edge leaf.

        Raises:
            PlanError: That leaf was not rehearsed with that codec.
        """
        found = self.probabilities.get((leaf, codec))
        if found is None:
            known = sorted(map(str, self.probabilities))
            raise PlanError(f"leaf {leaf} with codec {codec!r} was not rehearsed; known: {known}")
        answers: Array = found.argmax(axis=1)
        return answers

    def check_fits(self, plan: Plan) -> None:
        """Raise `PlanError` unless this rehearsal was played with ``plan``'s programs and tree.

        Thresholds may differ: that is what a rehearsal is for.
        """
        self._check_shapes()
        used = {step.program for _, step in plan.steps()}
        for name in sorted(used):
            if self.programs.get(name) != plan.programs[name].sha256:
                raise PlanError(f"the rehearsal was not played with this program {name!r}")
        rehearsed = {leaf for leaf, _ in self.probabilities}
        leaves = {path for path, _ in plan.leaves()}
        if leaves != rehearsed:
            raise PlanError(
                f"the plan has leaves at {sorted(leaves)}, the rehearsal at {sorted(rehearsed)}"
            )
        for path, step in plan.steps("cloud"):
            if (path, step.codec) not in self.payload_bytes:
                raise PlanError(
                    f"cloud step {step.program!r} was not rehearsed with {step.codec!r}"
                )

    def _check_shapes(self) -> None:
        """Raise `PlanError` unless every table has a row for each of the ``N`` inputs."""
        for what in (*_BY_PATH, *_BY_CODEC):
            axes = 2 if what in ("probabilities", "alone") else 1
            table: dict[Any, Array] = getattr(self, what)
            for where, array in table.items():
                if array.ndim != axes or len(array) != len(self):
                    expected = ", ".join(["N", "C"][:axes])
                    raise PlanError(
                        f"the rehearsal's {what} at {where} should be ({expected}) with N = "
                        f"{len(self)}, but is {array.shape}"
                    )


def leaf_of_each(
    plan: Plan, rehearsal: Rehearsal, bandwidth_bps: float | None = None
) -> list[Path]:
    """Return the path of the leaf that each of the ``N`` inputs would reach with no deadline.

    Args:
        plan: The plan.
        rehearsal: Of ``N`` inputs.
        bandwidth_bps: What every fork sees of the link; None where it is not known.
    """
    return [
        _descend(plan.root, rehearsal.score, index, bandwidth_bps)
        for index in range(len(rehearsal))
    ]


def leaf_at(plan: Plan, bandwidth_bps: float | None) -> Path:
    """Return the path of the leaf that every input would reach at a bandwidth.

    Raises `PlanError` where a fork on the way goes by a router's score.
    """
    return _descend(plan.root, {}, 0, bandwidth_bps)


def query_rate(plan: Plan, rehearsal: Rehearsal, bandwidth_bps: float | None = None) -> float:
    """Return the share of inputs whose walk would ask the cloud, at a bandwidth."""
    asking = set(_paths_below_cloud(plan.root, (), asked=False))
    leaves = leaf_of_each(plan, rehearsal, bandwidth_bps)
    return sum(path in asking for path in leaves) / len(rehearsal)


def _descend(
    node: Node, score: Mapping[Path, Array], index: int, bandwidth_bps: float | None
) -> Path:
    path: Path = ()
    while not isinstance(node, Leaf):
        if isinstance(node, Step):
            node = node.then
            continue
        seen = Observation(
            score=float(score[path][index]) if path in score else None,
            bandwidth_bps=bandwidth_bps,
        )
        child = node.chooser.choose(seen).child
        node, path = node.children[child], (*path, child)
    return path


def _paths_below_cloud(node: Node, path: Path, asked: bool) -> Iterator[Path]:
    match node:
        case Leaf():
            if asked:
                yield path
        case Step():
            yield from _paths_below_cloud(node.then, path, asked or node.place == "cloud")
        case Fork():
            for index, child in enumerate(node.children):
                yield from _paths_below_cloud(child, (*path, index), asked)


def dump_rehearsal(rehearsal: Rehearsal) -> bytes:
    """Return ``rehearsal`` as a safetensors file, with JSON in its header."""
    tensors = {"truth": rehearsal.truth}
    for what in _BY_PATH:
        scores: dict[Path, Array] = getattr(rehearsal, what)
        tensors |= {_key(what, path): array for path, array in scores.items()}
    for what in _BY_CODEC:
        table: dict[Any, Array] = getattr(rehearsal, what)
        tensors |= {_key(what, where, codec): array for (where, codec), array in table.items()}
    header = {
        "format": FORMAT,
        "fingerprint": rehearsal.fingerprint,
        "programs": rehearsal.programs,
    }
    contiguous = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    data: bytes = save(contiguous, metadata={"rehearsal": json.dumps(header, sort_keys=True)})
    return data


def parse_rehearsal(data: bytes) -> Rehearsal:
    """Return the rehearsal in a safetensors file; raises `DataError` where it holds none."""
    try:
        tensors = load(data)
        header = _Header.model_validate_json(_metadata(data)["rehearsal"])
        if header.format != FORMAT:
            raise DataError(f"expected rehearsal format {FORMAT}, got {header.format}")
        tables: dict[str, dict[Any, Array]]
        tables = {what: {} for what in (*_BY_PATH, *_BY_CODEC)}
        truth = tensors.pop("truth")
        if truth.ndim != 1:
            raise DataError(f"expected right classes (N,), got an array {truth.shape}")
        for name, array in tensors.items():
            what, where, *codec = _NAMES.validate_json(name)
            tables[what][(where, codec[0]) if codec else where] = array
        return Rehearsal(header.fingerprint, header.programs, truth, **tables)
    except (SafetensorError, LookupError, ValueError, TypeError, RecursionError) as error:
        raise DataError(f"expected a rehearsal as safetensors, got {error}") from error


def _key(*parts: Any) -> str:
    return json.dumps(parts)


def _metadata(data: bytes) -> dict[str, str]:
    # safetensors.numpy.load drops the header's metadata: 8 bytes of length, then JSON.
    length = int.from_bytes(data[:8], "little")
    metadata: dict[str, str] = json.loads(data[8 : 8 + length])["__metadata__"]
    return metadata
