"""Tables: the same rows for a terminal and for a page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

from rich.box import SIMPLE_HEAD
from rich.table import Table as RichTable
from rich.text import Text as RichText

from hybridge.cost.operating import OperatingPoint
from hybridge.report.values import Kind, Value, format_value


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        name: Its heading.
        kind: What its values measure; see `format_value`.
    """

    name: str
    kind: Kind = "text"

    @property
    def is_number(self) -> bool:
        """Whether the column is set flush right."""
        return self.kind != "text"


@dataclass(frozen=True)
class Table:
    """Rows under columns.

    Attributes:
        columns: What the rows hold.
        rows: One value for each column.
        caption: What the table shows.
        strong: Indices of the rows that stand out.
    """

    columns: Sequence[Column]
    rows: Sequence[Sequence[Value]]
    caption: str = ""
    strong: frozenset[int] = field(default_factory=frozenset)

    def cells(self) -> list[list[str]]:
        """Return every value as text, row by row."""
        return [
            [
                format_value(value, column.kind)
                for value, column in zip(row, self.columns, strict=True)
            ]
            for row in self.rows
        ]

    def rich(self) -> RichTable:
        """Return the table for a terminal."""
        table = RichTable(
            title=self.caption or None,
            title_justify="left",
            box=SIMPLE_HEAD,
            show_edge=False,
            pad_edge=False,
            padding=(0, 1, 0, 0),
        )
        cells = self.cells()
        for column, *values in zip(self.columns, *cells, strict=True):
            # Headings may wrap between words, numbers never.
            least = max(map(len, (*values, *column.name.split())), default=0)
            table.add_column(
                column.name,
                justify="right" if column.is_number else "left",
                min_width=least if column.is_number else None,
            )
        for index, row in enumerate(cells):
            style = "bold" if index in self.strong else ""
            table.add_row(*(RichText(cell) for cell in row), style=style)
        return table

    def html(self) -> str:
        """Return the table for a page."""
        heads = "".join(
            f'<th scope="col"{_numeric(column)}>{escape(column.name)}</th>'
            for column in self.columns
        )
        rows = "".join(
            f'<tr class="strong">{cells}</tr>' if index in self.strong else f"<tr>{cells}</tr>"
            for index, cells in enumerate(map(self._html_cells, self.cells()))
        )
        caption = f"<figcaption>{escape(self.caption)}</figcaption>" if self.caption else ""
        return (
            f'<figure>{caption}<div class="scroll"><table><thead><tr>{heads}</tr></thead>'
            f"<tbody>{rows}</tbody></table></div></figure>"
        )

    def markdown(self) -> str:
        """Return the table for a page of documentation, without its caption."""
        rows = [
            [f"**{cell}**" if cell and index in self.strong else cell for cell in cells]
            for index, cells in enumerate(self.cells())
        ]
        # Architectures are written with bars; a bare one would end the cell.
        rows = [[cell.replace("|", r"\|") for cell in cells] for cells in rows]
        rule = ["--:" if column.is_number else "---" for column in self.columns]
        return "\n".join(
            f"| {' | '.join(line)} |" for line in ([c.name for c in self.columns], rule, *rows)
        )

    def _html_cells(self, cells: Sequence[str]) -> str:
        first = f'<th scope="row">{escape(cells[0])}</th>'
        return first + "".join(
            f"<td{_numeric(column)}>{escape(cell)}</td>"
            for column, cell in zip(self.columns[1:], cells[1:], strict=True)
        )


def _numeric(column: Column) -> str:
    return ' class="number"' if column.is_number else ""


_POINT_COLUMNS = (
    (Column("Coverage", "percent"), "coverage"),
    (Column("Accuracy", "percent"), "accuracy"),
    (Column("Accuracy if kept", "percent"), "accuracy_kept"),
    (Column("MACs", "count"), "macs"),
    (Column("Bytes sent", "bytes"), "payload_bytes"),
    (Column("Latency", "ms"), "latency_ms"),
    (Column("Energy", "mj"), "energy_mj"),
)


def operating_table(
    points: Mapping[str, OperatingPoint], caption: str = "", strong: Sequence[str] = ()
) -> Table:
    """Return operating points side by side, without columns that none of them knows.

    Args:
        points: Point of each method, by the method's name.
        caption: What the table shows.
        strong: Names of the methods that stand out.
    """
    known = [
        (column, name)
        for column, name in _POINT_COLUMNS
        if any(getattr(point, name) is not None for point in points.values())
    ]
    return Table(
        columns=(Column("Method"), *(column for column, _ in known)),
        rows=[
            (method, *(getattr(point, name) for _, name in known))
            for method, point in points.items()
        ],
        caption=caption,
        strong=frozenset(index for index, method in enumerate(points) if method in strong),
    )
