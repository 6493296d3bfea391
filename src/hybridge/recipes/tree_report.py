"""The report of a model-tree run: tables III and IV, figures 7 and 8, and the library."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hybridge.design.modeltree.choices import KEEP, Composition
from hybridge.design.modeltree.costs import unit_layers
from hybridge.design.modeltree.space import alone
from hybridge.plan.bundle import Bundle
from hybridge.recipes.model_tree import TreeRun
from hybridge.recipes.report import versions
from hybridge.recipes.tree_library import Prepared
from hybridge.report.branches import branch_notes, branch_table
from hybridge.report.drawing import plan_svg
from hybridge.report.page import Block, Figure, Highlight, Paragraph, Report, Section, SideBySide
from hybridge.report.tables import Column, Table
from hybridge.report.tree_figures import (
    LEFT_OUT,
    accuracy_over_macs,
    latency_and_accuracy,
    library_over_distilled,
)
from hybridge.report.tree_search import closeness_table, search_chart
from hybridge.report.tree_tables import (
    all_means,
    device_tables,
    distilled_table,
    findings,
    library_line,
    methods_table,
    seconds,
)

Row = dict[str, Any]


def tree_report(run: TreeRun, summary: Row, bundle: Bundle) -> Report:
    """Return the report of a recipe's run.

    Args:
        run: What the recipe came to.
        summary: Of `hybridge.recipes.tree_summary.summarise`.
        bundle: The tree that was exported.
    """
    return Report(
        title=f"{summary['name']}: a model tree of {summary['network']}",
        summary=" ".join(findings(summary)),
        facts=_facts(run, summary),
        highlights=list(_highlights(summary)),
        sections=[
            Section("Every method in every scene", list(_method_blocks(summary))),
            *_search_section(summary),
            Section("The tree", list(_tree_blocks(bundle))),
            Section("The library", list(_library_blocks(run, summary))),
        ],
    )


def _facts(run: TreeRun, summary: Row) -> dict[str, str]:
    prepared, original = run.prepared, summary["original"]
    recipe = prepared.recipe
    return {
        "seed": str(recipe.seed),
        "searcher": recipe.search.searcher,
        "original": f"{original['reporting_accuracy']:.2f} % on the reporting images",
        "blocks": str(len(prepared.sliced.block_starts)),
        "types of bandwidth": str(recipe.types),
        "cloud": recipe.cloud,
        "calibration images": str(len(prepared.calibration.labels)),
        "reporting images": str(len(prepared.reporting.labels)),
        "reporting data": prepared.reporting.fingerprint[:16],
        **versions(),
    }


def _highlights(summary: Row) -> Iterator[Highlight]:
    """Yield what the tree saves, of devices as they are, else of slowed ones."""
    for row in summary["against_surgery"] or summary["slowed"]["against_surgery"]:
        yield Highlight(
            f"latency saved, {row['kind']}",
            f"{row['latency_saved_percent']:.1f} %",
            f"against {row['stronger']}, for {row['accuracy_lost']:.2f} points of accuracy",
        )


def _method_blocks(summary: Row) -> Iterator[Block]:
    rows = summary["rows"]
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    for kind in kinds:
        number = {"offline": " (table III)", "emulated": " (table IV)"}.get(kind, "")
        caption = f"{kind.capitalize()} reward{number}"
        yield methods_table(rows, kind, "reward", caption)
        if kind != "offline":
            yield methods_table(rows, kind, "latency_ms", f"{kind.capitalize()} mean latency")
            yield methods_table(rows, kind, "accuracy", f"{kind.capitalize()} accuracy")
    yield SideBySide(
        [
            Figure(
                latency_and_accuracy(rows, kind),
                f"{kind.capitalize()}, a dot for each device and scene; without "
                f"{' and '.join(LEFT_OUT)}.",
            )
            for kind in kinds
        ]
    )
    yield from all_means(summary)
    yield from device_tables(rows)


def _search_section(summary: Row) -> Iterator[Section]:
    """Yield the curves of searchers (figure 7), where some were compared."""
    rows = summary["search"]
    if not rows:
        return
    charts = SideBySide(
        [
            Figure(
                search_chart(rows, "evaluations"),
                "Best reward so far; bands: standard deviation over seeds.",
            ),
            Figure(search_chart(rows, "seconds"), "The same over time."),
        ]
    )
    near = closeness_table(rows)
    yield Section("Searchers", [charts, *([near] if near is not None else [])])


def _tree_blocks(bundle: Bundle) -> Iterator[Block]:
    """Yield the tree drawn (figure 8), and its branches."""
    yield Figure(
        plan_svg(bundle.plan, branch_notes(bundle)),
        "What runs where; accuracies are on the images that the search judged by.",
    )
    yield branch_table(bundle)


@dataclass(frozen=True)
class _Variant:
    """A network of which one unit is compressed.

    Attributes:
        unit: Its index.
        option: What it becomes.
        macs: Of the whole network.
        accuracy: On the calibration images, as a share.
    """

    unit: int
    option: str
    macs: int
    accuracy: float


def _library_blocks(run: TreeRun, summary: Row) -> Iterator[Block]:
    library = summary["library"]
    yield Paragraph(
        f"{len(library['variants'])} variants were trained by themselves in "
        f"{library['seconds_alone']:.0f} s, and those that are searched together in "
        f"{library['seconds_together']:.0f} s."
    )
    variants = {(each.unit, each.option): each for each in _searched(run.prepared)}
    charts: list[Block] = []
    if variants:
        dots = [
            (each.option.partition("-")[0], each.macs, each.accuracy) for each in variants.values()
        ]
        charts.append(
            Figure(accuracy_over_macs(dots), "One unit compressed, by technique, as searched.")
        )
    compositions = summary["library_against_distill"]["compositions"]
    if compositions:
        charts.append(Figure(library_over_distilled(compositions), library_line(summary)))
    if charts:
        yield SideBySide(charts)
    yield _variants_table(run.prepared, variants)
    if compositions:
        yield distilled_table(summary)


def _searched(prepared: Prepared) -> Iterator[_Variant]:
    """Yield every variant that is searched, with what a network becomes by it alone."""
    evaluator = prepared.evaluator(prepared.calibration)
    for index, options in prepared.options.items():
        for option in options:
            composition = alone(prepared.sliced, index, option.name)
            accuracy = evaluator.accuracy(composition).value
            yield _Variant(index, option.name, _macs(prepared, composition), accuracy)


def _macs(prepared: Prepared, composition: Composition) -> int:
    before = (KEEP, *composition[:-1])
    return sum(
        layer.macs
        for index, (option, previous) in enumerate(zip(composition, before, strict=True))
        for layer in unit_layers(prepared.library, index, option, previous)
    )


def _variants_table(prepared: Prepared, variants: dict[tuple[int, str], _Variant]) -> Table:
    rows = []
    for built in prepared.built:
        found = variants.get((built.unit, built.option))
        rows.append(
            (
                *(prepared.sliced.layers[built.unit][0].path, built.option, built.error),
                *((None, None) if found is None else (found.accuracy, found.macs)),
                seconds(built.seconds),
            )
        )
    columns = (
        *(Column("Layer"), Column("Variant"), Column("Error", "number")),
        *(Column("Accuracy", "percent"), Column("MACs", "count"), Column("Training", "number")),
    )
    caption = (
        "Error: mean squared error of what a variant gives over the variance, trained by itself. "
        "Accuracy and MACs of the whole network with it alone, where it is searched."
    )
    return Table(columns, rows, caption)
