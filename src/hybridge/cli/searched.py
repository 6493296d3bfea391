"""What a joint search came to, for a terminal."""

from typing import Any

from rich.text import Text

from hybridge.cli.output import show
from hybridge.report.pair_tables import (
    correlation_line,
    fronts_table,
    hybrids_table,
    left_out_lines,
    networks_table,
    speed_lines,
)


def show_search(summary: dict[str, Any]) -> None:
    """Print what was found, how it does as a hybrid, and how fast the search was.

    Args:
        summary: Of `hybridge.recipes.pair_summary.summarise`.
    """
    show(networks_table(summary).rich())
    show("")
    if "hybrids" in summary:
        show(hybrids_table(summary).rich())
        show("")
    if summary["fronts"]:
        show(fronts_table(summary).rich())
        show("")
    for line in [*speed_lines(summary), *correlation_line(summary), *left_out_lines(summary)]:
        show(Text(line))
