"""The report of a joint search: table 2 and figure 4 in kind, the search, and the plan."""

from typing import Any

from hybridge.recipes.pair_hybrids import Hybrids
from hybridge.recipes.pair_schema import JUDGES
from hybridge.recipes.report import plan_section, versions
from hybridge.report.page import Figure, Highlight, Paragraph, Report, Section
from hybridge.report.pair_tables import (
    accuracy_chart,
    correlation_line,
    fronts_table,
    hybrids_table,
    left_out_lines,
    limits_text,
    networks_table,
    speed_lines,
)

Row = dict[str, Any]


def pair_report(summary: Row, made: Hybrids | None) -> Report:
    """Return the report of a recipe's run.

    Args:
        summary: Of `hybridge.recipes.pair_summary.summarise`.
        made: What was made of the pairs, where anything was.
    """
    sections = [Section("What was found", [networks_table(summary)])]
    if made is not None:
        sections += [
            Section(
                "As hybrids",
                [
                    Figure(accuracy_chart(summary), "Hybrids that spend their limit, held-out"),
                    hybrids_table(summary),
                    *map(Paragraph, correlation_line(summary)),
                ],
            ),
            plan_section(made.bundle),
        ]
    if summary["fronts"]:
        sections.append(Section("Fronts", [fronts_table(summary)]))
    said = [*speed_lines(summary), *left_out_lines(summary)]
    sections.append(Section("The search", [Paragraph(line) for line in said]))
    return Report(
        title=f"{summary['name']}: pairs of {summary['family']}",
        summary=" ".join(
            f"Within {limits_text(pair['limits'])} the best pair found, judged by "
            f"{JUDGES[pair['method']]}, answers {pair['score']:.2f} % of the validation images "
            "right."
            for pair in summary["pairs"]
        ),
        facts={"seed": str(summary["seed"]), **versions()},
        highlights=[
            Highlight(
                limits_text(pair["limits"]),
                f"{pair['score']:.2f} %",
                f"judged by {JUDGES[pair['method']]}",
            )
            for pair in summary["pairs"]
        ],
        sections=sections,
    )
