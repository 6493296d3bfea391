"""Methods of a model tree on a real link (the paper's table V): two processes and recorded traces.

The edge runs here at the pace of the scene's device, the cloud as a process of its own, and what
crosses is delayed as a recorded trace says. What the emulator expects of the very bundle, trace,
images and arrivals stands beside it. It prices the device by its profile, as the edge is paced; the
cloud is this machine, so that its programs, and what a message takes beyond the link, are measured
beforehand.

Letters: ``R`` requests, ``N`` images, ``K`` classes.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from pydantic import Field, field_validator

from hybridge.cost.operating import Bools, Floats
from hybridge.cost.price import price_plan
from hybridge.data.dataset import ArrayDataset
from hybridge.design.modeltree.compose import answer, compose
from hybridge.design.modeltree.make_plan import FEATURE_CODEC, Ending
from hybridge.design.modeltree.programs import Exports
from hybridge.emulate.arrivals import Arrivals
from hybridge.emulate.drive import emulate
from hybridge.emulate.emulation import Emulation
from hybridge.emulate.world import World
from hybridge.links.trace import Trace
from hybridge.plan.answers import softmax
from hybridge.plan.bundle import Bundle
from hybridge.plan.log import DecisionLog, read_log
from hybridge.plan.plan import Path as NodePath
from hybridge.plan.tensors import Frozen
from hybridge.progress import track
from hybridge.recipes.model_tree import SceneResult, TreeRun
from hybridge.recipes.serving import cloud_process
from hybridge.recipes.tree_bundle import export_with_endings
from hybridge.recipes.tree_emulation import through
from hybridge.recipes.tree_library import Prepared
from hybridge.recipes.tree_methods import (
    BRANCH,
    CLOUD_WEBP,
    EDGE_ONLY,
    METHODS,
    SURGERY,
    SURGERY_ONCE,
    TREE,
)
from hybridge.recipes.tree_places import places
from hybridge.recipes.tree_toll import Toll, measure_toll
from hybridge.runtime.clock import Clock, SystemClock
from hybridge.runtime.edge.answer import Answer
from hybridge.runtime.edge.edge import EdgeRuntime
from hybridge.runtime.edge.grpc import GrpcTransport
from hybridge.runtime.edge.shaped import Shaped

Array = np.ndarray[Any, Any]

#: Where a cloud would be that is never asked.
_NOWHERE = "127.0.0.1:1"


class LinkSettings(Frozen):
    """What is measured.

    Attributes:
        traces: Traces in all, spread over the scenes.
        requests: Requests of each method on each trace, ``R``.
        rate_per_s: How many begin in a second; later where the one before is not answered yet.
        methods: Which methods.

    Raises `pydantic.ValidationError` where there is no such method.
    """

    traces: int = Field(default=5, gt=0)
    requests: int = Field(default=60, gt=0)
    rate_per_s: float = Field(default=2.0, gt=0, allow_inf_nan=False)
    methods: tuple[str, ...] = (EDGE_ONLY, CLOUD_WEBP, SURGERY_ONCE, SURGERY, BRANCH, TREE)

    @field_validator("methods")
    @classmethod
    def _known(cls, methods: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := sorted(set(methods) - set(METHODS)):
            raise ValueError(f"expected methods among {', '.join(METHODS)}, got {unknown}")
        return methods


@dataclass(frozen=True, eq=False)
class Crossing:
    """What became of a method's requests on a trace.

    Attributes:
        scene: Where.
        trace: Name of the trace.
        method: Name of the method.
        answers: ``R`` answers, measured.
        right: ``(R,)`` whether each is right.
        estimate: What the emulator says of the same requests.
        toll: What the cloud takes on this machine, measured beforehand.
        differences: ``(R,)`` largest differences between the probabilities that came and those of
            the composed torch network.
    """

    scene: SceneResult
    trace: str
    method: str
    answers: tuple[Answer, ...]
    right: Bools
    estimate: Emulation
    toll: Toll
    differences: Floats

    @property
    def latency_ms(self) -> Floats:
        """Measured latencies ``(R,)``."""
        return np.array([answer.latency_ms for answer in self.answers])


def measure(
    run: TreeRun, settings: LinkSettings, clock: Clock | None = None
) -> tuple[Crossing, ...]:
    """Run methods between two processes; bundles are deleted once they are measured.

    Args:
        run: What was found, in the scenes to be measured and perhaps more.
        settings: What is measured.
        clock: That the edge and the link go by; the machine's own where left out.

    Raises:
        ConfigError: A block cannot be exported.
        TransportError: The cloud does not start.
    """
    prepared, crossings = run.prepared, list[Crossing]()
    images, clock = _Images(prepared, settings.requests), clock or SystemClock()
    with TemporaryDirectory() as directory:
        exports = Exports(prepared.library, prepared.statistics, Path(directory))
        for found, traces in track(list(places(run.scenes, settings.traces)), "measuring scenes"):
            with TemporaryDirectory() as folder:
                bench = _Bench(run, found, settings, images, exports, Path(folder), clock)
                crossings += bench.crossings(traces)
    return tuple(crossings)


class _Images:
    """Some of the reporting images, and what composed torch networks say of them.

    Args:
        prepared: Library and images.
        most: Most images.
    """

    def __init__(self, prepared: Prepared, most: int) -> None:
        reporting = prepared.reporting
        rng = np.random.default_rng(prepared.recipe.seed)
        rows = torch.from_numpy(rng.permutation(len(reporting.labels))[:most])
        self.pixels, self.labels = reporting.pixels[rows], reporting.labels[rows].numpy()
        names = prepared.train.class_names
        self.dataset = ArrayDataset(self.pixels.numpy(), self.labels, names)
        self._prepared = prepared
        self._said: dict[tuple[Any, ...], Array] = {}

    def said(self, end: Ending, codec: str) -> Array:
        """Return the probabilities ``(N, K)`` of a composed network, cut and encoded as told."""
        key = (end.composition, end.cut, codec)
        if key not in self._said:
            prepared = self._prepared
            units = compose(prepared.library, end.composition, prepared.statistics)
            logits, _ = answer(units, self.pixels, end.cut, through(codec))
            self._said[key] = softmax(logits.numpy())
        return self._said[key]


@dataclass(frozen=True)
class _Bench:
    """One scene, its methods exported and served."""

    run: TreeRun
    found: SceneResult
    settings: LinkSettings
    images: _Images
    exports: Exports
    folder: Path
    clock: Clock

    def crossings(self, traces: Mapping[str, Trace]) -> Iterator[Crossing]:
        """Yield what becomes of every method on every trace."""
        exported = {
            method: export_with_endings(
                self.run,
                self.found,
                self.folder / str(at),
                method,
                self.exports,
                self.images.dataset,
            )
            for at, method in enumerate(self.settings.methods)
        }
        asking = [
            bundle.path
            for bundle, _ in exported.values()
            if bundle.path is not None and bundle.plan.programs_at("cloud")
        ]
        with cloud_process(asking) if asking else nullcontext(_NOWHERE) as target:
            for key, trace in traces.items():
                for method, (bundle, planned) in exported.items():
                    yield self._crossing(target, key, trace, method, bundle, planned.endings)

    def _crossing(
        self,
        target: str,
        key: str,
        trace: Trace,
        method: str,
        bundle: Bundle,
        endings: Mapping[NodePath, Ending],
    ) -> Crossing:
        with GrpcTransport(target) as transport:
            toll = measure_toll(bundle.plan, transport, self.images.pixels.numpy())
            log = self.folder / "log.jsonl"
            log.unlink(missing_ok=True)
            answers, arrivals_ms = self._play(bundle, transport, trace, log)
        rows = np.arange(len(answers)) % len(self.images.labels)
        labels = np.array([answer.label for answer in answers])
        paths = [record.decision.path for record in read_log(log)]
        return Crossing(
            scene=self.found,
            trace=key,
            method=method,
            answers=tuple(answers),
            right=labels == self.images.labels[rows],
            estimate=self._estimate(bundle, trace, toll, arrivals_ms),
            toll=toll,
            differences=self._differences(bundle, endings, answers, paths),
        )

    def _play(
        self, bundle: Bundle, transport: GrpcTransport, trace: Trace, log: Path
    ) -> tuple[list[Answer], Floats]:
        """Return the answers ``R``, and when each request began after the trace did."""
        clock, count = self.clock, self.settings.requests
        pixels, gap_ms = self.images.pixels.numpy(), 1e3 / self.settings.rate_per_s
        scene = self.found.scene
        answers, arrivals_ms = [], np.empty(count)
        with ExitStack() as stack:
            decisions = stack.enter_context(DecisionLog(log))
            trace_began_ms = clock.now_ms()
            shaped = Shaped(transport, trace, scene.link.rtt_ms, clock=clock)
            runtime = stack.enter_context(
                EdgeRuntime(bundle, shaped, log=decisions, clock=clock, pace=scene.device)
            )
            began_ms = clock.now_ms()
            for turn in range(count):
                clock.sleep_ms(began_ms + turn * gap_ms - clock.now_ms())
                arrivals_ms[turn] = clock.now_ms() - trace_began_ms
                answers.append(runtime.predict(pixels[turn % len(pixels)]))
        return answers, arrivals_ms

    def _estimate(self, bundle: Bundle, trace: Trace, toll: Toll, arrivals_ms: Floats) -> Emulation:
        scene = self.found.scene
        assert bundle.rehearsal is not None
        prices = replace(price_plan(bundle.plan, scene.device, scene.cloud), cloud_ms=toll.cloud_ms)
        link = replace(scene.link, message_ms=toll.message_ms, byte_ms=0.0)
        arrivals = Arrivals(len(arrivals_ms), arrivals_ms)
        return emulate(bundle.plan, bundle.rehearsal, World(prices, trace, link), arrivals)

    def _differences(
        self,
        bundle: Bundle,
        endings: Mapping[NodePath, Ending],
        answers: Sequence[Answer],
        paths: Sequence[NodePath],
    ) -> Floats:
        codecs = {path: step.codec for path, step in bundle.plan.steps("cloud")}
        found = np.empty(len(answers))
        for turn, (given, path) in enumerate(zip(answers, paths, strict=True)):
            said = self.images.said(endings[path], codecs.get(path, FEATURE_CODEC))
            expected = said[turn % len(said)]
            found[turn] = np.abs(given.probabilities - expected).max()
        return found
