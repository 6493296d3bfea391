"""The report of a trained hybrid: every method on the same axes, and what the router did."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from hybridge.cost.operating import OperatingPoint
from hybridge.data.dataset import Dataset, subset
from hybridge.design.query.evaluate import Evaluation
from hybridge.plan.bundle import Bundle
from hybridge.recipes.hybrid import HybridRun
from hybridge.recipes.summary import deviation
from hybridge.report.charts import Line, Mark, Role
from hybridge.report.drawing import plan_svg
from hybridge.report.figures import accuracy_over_coverage, accuracy_over_macs, curve_line
from hybridge.report.gallery import Gallery, Picture
from hybridge.report.page import Block, Figure, Highlight, Report, Section, SideBySide
from hybridge.report.tables import Column, Table
from hybridge.report.values import Spread, Value

_NAMES = {
    "router": "router",
    "entropy": "entropy",
    "top1": "top-1 probability",
    "margin": "top-2 margin",
    "random": "random",
    "agreement_oracle": "agreement oracle",
    "label_oracle": "label oracle",
}
_PICTURES = 12
Integers = NDArray[np.int64]


def training_report(run: HybridRun, point: OperatingPoint, bundle: Bundle) -> Report:
    """Return the report of a recipe's run.

    Args:
        run: What the recipe came to.
        point: Operating point of the bundle, on the calibration half.
        bundle: What was exported.
    """
    evaluation, recipe = run.evaluation, run.recipe
    return Report(
        title=f"{recipe.name}: a hybrid of {recipe.base.network} and {recipe.global_.network}",
        summary=(
            f"The base alone is right on {evaluation.base_accuracy:.2%} of the held-out images, "
            f"the global alone on {evaluation.global_accuracy:.2%}."
        ),
        facts=facts(run),
        highlights=[
            Highlight("base alone", f"{evaluation.base_accuracy:.2%}"),
            Highlight("global alone", f"{evaluation.global_accuracy:.2%}"),
            Highlight("coverage", f"{point.coverage:.1%}", "share answered on the edge"),
            Highlight("hybrid", f"{point.accuracy:.2%}", "on the calibration half"),
        ],
        sections=[
            *evaluation_sections(run, point),
            gallery_section(
                subset(run.data.held_out, evaluation.first.calibration.numpy()),
                _rehearsed(bundle, point.threshold),
            ),
            plan_section(bundle),
        ],
    )


def facts(run: HybridRun) -> dict[str, str]:
    """Return what was run, on what, with which seed and versions."""
    return {
        "mode": run.recipe.mode,
        "seed": str(run.recipe.seed),
        "splits": str(run.evaluation.settings.splits),
        "held-out images": str(len(run.data.held_out)),
        "reporting split": run.split.fingerprint[:16],
        **versions(),
    }


def versions() -> dict[str, str]:
    """Return what ran here, and on what machine."""
    return {
        "torch": str(torch.__version__),
        "onnxruntime": str(onnxruntime.__version__),
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
    }


def evaluation_sections(run: HybridRun, point: OperatingPoint) -> list[Section]:
    """Return figures and table of every method over all splits."""
    evaluation = run.evaluation
    return [
        Section(
            "Accuracy over coverage and over MACs",
            [
                SideBySide(
                    [
                        Figure(
                            accuracy_over_coverage(
                                _lines(evaluation, "coverage"),
                                _marks(evaluation, point, "coverage"),
                            ),
                            "Share answered on the edge. Bands: standard deviation over splits.",
                        ),
                        Figure(
                            accuracy_over_macs(
                                _lines(evaluation, "macs"), _marks(evaluation, point, "macs")
                            ),
                            "Mean multiply-accumulates per image, the router's included.",
                        ),
                    ]
                )
            ],
        ),
        Section("At fixed coverage", [points_table(evaluation)]),
    ]


def points_table(evaluation: Evaluation) -> Table:
    """Return accuracy of every method at the coverages that were asked for."""
    coverages = evaluation.settings.coverages
    columns = [Column("Method"), Column("Fused"), *_coverage_columns(coverages)]
    rows: list[list[Value]] = []
    strong = []
    for result in evaluation.results.values():
        if result.method == "router" and result.fused:
            strong.append(len(rows))
        rows.append(
            [
                _NAMES.get(result.method, result.method.replace("_", " ")),
                result.fused,
                *(_spread([p.accuracy for p in result.points[c]]) for c in coverages),
            ]
        )
    caption = (
        f"Hybrid accuracy on the reporting halves, mean and standard deviation over "
        f"{evaluation.settings.splits} splits; thresholds from the calibration halves. "
        f"Global alone: {_mean(evaluation.global_reporting):.2%}."
    )
    return Table(columns, rows, caption, frozenset(strong))


def plan_section(bundle: Bundle) -> Section:
    """Return a drawing of what runs where."""
    return Section("The plan", [Figure(plan_svg(bundle.plan), "What runs where.")])


@dataclass(frozen=True, eq=False)
class Replayed:
    """What a hybrid made of ``N`` labelled images; every array is ``(N,)``.

    Attributes:
        truth: Right classes.
        base: What the base answers.
        final: What the hybrid answers.
        score: Router scores.
        sent: Whether the cloud was asked.
    """

    truth: Integers
    base: Integers
    final: Integers
    score: NDArray[np.float64]
    sent: NDArray[np.bool_]


def gallery_section(data: Dataset, replayed: Replayed) -> Section:
    """Return images that the router kept, from the surest on, and those it sent, hardest first.

    Args:
        data: The ``N`` images, in the order of ``replayed``.
        replayed: What became of them.
    """
    order = np.argsort(replayed.score, kind="stable")
    kept, sent = order[~replayed.sent[order]], order[replayed.sent[order]]
    galleries: list[Block] = []
    if len(kept):
        spaced = kept[np.linspace(0, len(kept) - 1, min(_PICTURES, len(kept))).astype(int)]
        galleries.append(Gallery(_pictures(data, replayed, spaced), "Kept: surest first."))
    if len(sent):
        hardest = sent[::-1][:_PICTURES]
        galleries.append(Gallery(_pictures(data, replayed, hardest), "Sent: hardest first."))
    return Section("What the router kept and sent", galleries)


def _pictures(data: Dataset, replayed: Replayed, rows: Integers) -> list[Picture]:
    names = data.class_names
    return [
        Picture(
            pixels=image,
            truth=names[replayed.truth[row]],
            base=names[replayed.base[row]],
            final=names[replayed.final[row]],
            score=float(replayed.score[row]),
        )
        for image, row in zip(data.pixels(rows), rows, strict=True)
    ]


def _rehearsed(bundle: Bundle, threshold: float) -> Replayed:
    """Return what a selective query does with the data it was rehearsed on."""
    rehearsal = bundle.rehearsal
    assert rehearsal is not None
    ((path, step),) = bundle.plan.steps("cloud")
    score, base = rehearsal.score[()], rehearsal.answers((0,))
    sent = score > threshold
    final = np.where(sent, rehearsal.answers(path, step.codec), base)
    return Replayed(rehearsal.truth, base, final, score, sent)


def _lines(evaluation: Evaluation, over: str) -> list[Line]:
    lines = []
    for (method, fused), result in evaluation.results.items():
        if method not in _NAMES or (fused and method not in ("router", "label_oracle")):
            continue
        role: Role = "other"
        if method == "router":
            role = "main"
        elif "oracle" in method:
            role = "bound"
        name = f"{_NAMES[method]}, fused" if fused else _NAMES[method]
        line = curve_line(name, result.curves, over, role)
        # One band for each of ten curves would hide them all.
        lines.append(line if role == "main" else replace(line, band=None))
    return lines


def _marks(evaluation: Evaluation, point: OperatingPoint, over: str) -> list[Mark]:
    curve = evaluation.results["top1", False].curves[0]
    ends = getattr(curve, over)
    return [
        Mark("base alone", float(ends[0]), evaluation.base_accuracy),
        Mark("global alone", float(ends[-1]), evaluation.global_accuracy),
        Mark("chosen point", float(getattr(point, over)), point.accuracy, "main"),
    ]


def _coverage_columns(coverages: Sequence[float]) -> list[Column]:
    return [Column(f"{coverage:.0%}", "percent") for coverage in coverages]


def _spread(values: Sequence[float]) -> Value:
    return Spread(_mean(values), deviation(values))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))
