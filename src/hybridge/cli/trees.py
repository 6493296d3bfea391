"""What a run of a model tree came to, for a terminal."""

from typing import Any

from rich.text import Text

from hybridge.cli.output import show, show_facts
from hybridge.report.tree_search import closeness_table
from hybridge.report.tree_tables import all_means, device_tables, findings, library_line
from hybridge.report.values import format_value


def show_run(summary: dict[str, Any]) -> None:
    """Print how every method does in every scene, and what the tree saves.

    Args:
        summary: Of `hybridge.recipes.tree_summary.summarise`.
    """
    original = summary["original"]
    show(
        Text(
            f"{summary['name']}: {summary['network']}, {original['reporting_accuracy']:.2f} % "
            f"right on the reporting images, {format_value(1e6 * original['macs_m'], 'count')} "
            f"MACs, {format_value(original['input_bytes'], 'bytes')} an image\n"
        )
    )
    tables = [*device_tables(summary["rows"]), *all_means(summary)]
    near = closeness_table(summary["search"])
    for table in [*tables, *([near] if near is not None else [])]:
        show(table.rich())
        show("")
    for sentence in [*findings(summary), library_line(summary)]:
        show(Text(sentence))
    show("")
    library = summary["library"]
    show_facts(
        {
            "variants": str(len(library["variants"])),
            "trained by themselves": f"{library['seconds_alone']:.0f} s",
            "trained together": f"{library['seconds_together']:.0f} s",
        }
    )
