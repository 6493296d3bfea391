"""Methods of a scene, played over the second halves of its traces.

What programs would say comes from the library's modules on the reporting images, through the codec
at each cut; what they take comes from the device's profile.

Letters: ``N`` reporting images, ``K`` classes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hybridge.codecs.codec import codec_named
from hybridge.cost.price import price_plan
from hybridge.cost.reward import Reward
from hybridge.design.modeltree.choices import Composition
from hybridge.design.modeltree.compose import Encode, PrefixRunner, answer, compose
from hybridge.design.modeltree.make_plan import FEATURE_CODEC, Ending, Home, TreePlan
from hybridge.design.modeltree.programs import Outlines
from hybridge.design.store import Arrays, Store
from hybridge.emulate.arrivals import at_fixed_rate, count_within
from hybridge.emulate.drive import emulate
from hybridge.emulate.emulation import Emulation, pooled
from hybridge.emulate.foresight import emulate_foresight
from hybridge.emulate.world import World
from hybridge.hashing import hash_array, hash_json
from hybridge.links.trace import Trace
from hybridge.plan.answers import softmax
from hybridge.plan.rehearsal import Branch, Rehearsal
from hybridge.recipes.tree_library import Prepared
from hybridge.recipes.tree_methods import Method
from hybridge.recipes.tree_scene import TreeScene

FORESIGHT = "foresight"
Labels = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Rehearsed:
    """A method as a plan, with what it would say.

    Attributes:
        planned: The plan.
        rehearsal: On the reporting images.
    """

    planned: TreePlan
    rehearsal: Rehearsal

    def answers(self) -> Iterator[tuple[Ending, Labels]]:
        """Yield how each leaf ends, with the class ``(N,)`` that it says."""
        for (path, codec), _ in self.rehearsal.probabilities.items():
            yield self.planned.endings[path], self.rehearsal.answers(path, codec)


class Rehearser:
    """Rehearses trees on the reporting images; what was computed is kept on disk.

    Args:
        prepared: The library and the images.
    """

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared
        self._store = Store()
        self.outlines = Outlines(prepared.library)
        self._runner = PrefixRunner(
            prepared.library, prepared.statistics, prepared.reporting.pixels
        )

    def rehearse(self, method: Method, home: Home) -> Rehearsed:
        """Return a method as a plan, rehearsed."""
        planned = method.planned(self.outlines, home, self._prepared.train.class_names)
        used = {step.program for _, step in planned.plan.steps()}
        probabilities: dict[Branch, Labels] = {}
        payload_bytes: dict[Branch, Labels] = {}
        for path, end in planned.endings.items():
            codec = None
            if end.cut is not None:
                codec = FEATURE_CODEC if end.cut else method.image_codec
            said = self._answer(end.composition, end.cut, codec)
            probabilities[path, codec] = softmax(said["logits"]).astype(np.float32)
            if end.asks_at is not None and codec is not None:
                payload_bytes[end.asks_at, codec] = said["payload_bytes"].astype(np.int64)
        reporting = self._prepared.reporting
        rehearsal = Rehearsal(
            fingerprint=reporting.fingerprint,
            programs={name: planned.plan.programs[name].sha256 for name in used},
            truth=reporting.labels.numpy(),
            score={},
            probabilities=probabilities,
            payload_bytes=payload_bytes,
        )
        return Rehearsed(planned, rehearsal)

    def _answer(self, composition: Composition, cut: int | None, codec: str | None) -> Arrays:
        prepared = self._prepared

        def compute() -> Arrays:
            if cut is None or codec is None:
                return {"logits": self._runner.logits(composition).numpy()}
            pixels = prepared.reporting.pixels
            units = compose(prepared.library, composition, prepared.statistics)
            logits, sizes = answer(units, pixels, cut, through(codec))
            assert sizes is not None
            return {"logits": logits.numpy(), "payload_bytes": sizes.numpy()}

        key = hash_json(
            [
                *("tree answer", prepared.library.fingerprint, prepared.reporting.fingerprint),
                *(hash_array(prepared.statistics.numpy()), list(composition), cut, codec),
            ]
        )
        return self._store.keep(key, compute)


def through(name: str) -> Encode:
    """Return what a link makes of a tensor: encoded by the codec ``name``, and decoded again."""
    codec = codec_named(name)

    def encode(tensor: Tensor) -> tuple[Tensor, Tensor]:
        array = tensor.numpy()
        encoded = codec.encode(array)
        arrived = torch.from_numpy(np.array(codec.decode(encoded, array.nbytes)))
        return arrived, torch.tensor([len(each) for each in encoded.payload])

    return encode


def play(
    rehearsed: Rehearsed, scene: TreeScene, longest_s: float, *, foresight: Reward | None = None
) -> Emulation:
    """Return what becomes of requests over all traces of a scene.

    Each trace goes on with the images where the one before stopped, and traces are played again
    until every image was answered.

    Args:
        rehearsed: The method.
        scene: Where.
        longest_s: Longest stretch of a trace that is played.
        foresight: Where given, every fork knows the trace ahead, and takes what is best by this.
    """
    counts = {
        key: count_within(min(trace.duration_s, longest_s), scene.rate_per_s)
        for key, trace in scene.traces.items()
    }
    images = len(rehearsed.rehearsal)
    rounds = -(-images // sum(counts.values()))
    played, first = [], 0
    for _ in range(rounds):
        for key, trace in scene.traces.items():
            shown = replace(rehearsed, rehearsal=_beginning_at(rehearsed.rehearsal, first))
            played.append(_play(shown, scene, trace, counts[key], foresight))
            first = (first + counts[key]) % images
    return pooled(played)


def _beginning_at(rehearsal: Rehearsal, first: int) -> Rehearsal:
    """Return a rehearsal of the same images, in turn from the one at ``first`` on."""

    def turned(table: dict[Branch, Labels]) -> dict[Branch, Labels]:
        return {where: np.roll(array, -first, axis=0) for where, array in table.items()}

    return replace(
        rehearsal,
        truth=np.roll(rehearsal.truth, -first),
        probabilities=turned(rehearsal.probabilities),
        payload_bytes=turned(rehearsal.payload_bytes),
    )


def _play(
    rehearsed: Rehearsed,
    scene: TreeScene,
    trace: Trace,
    count: int,
    foresight: Reward | None,
) -> Emulation:
    plan = rehearsed.planned.plan
    world = World(prices=price_plan(plan, scene.device, scene.cloud), trace=trace, link=scene.link)
    arrivals = at_fixed_rate(scene.rate_per_s, count)
    if foresight is not None:
        return emulate_foresight(plan, rehearsed.rehearsal, world, arrivals, foresight)
    return emulate(plan, rehearsed.rehearsal, world, arrivals)
