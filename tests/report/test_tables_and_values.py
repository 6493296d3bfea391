import io
import math

import pytest
from rich.console import Console

from hybridge.cost.operating import OperatingPoint
from hybridge.report.tables import Column, Table, operating_table
from hybridge.report.values import Spread, format_value


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (0.93917, "percent", "93.92 %"),
        (Spread(0.9392, 0.0024), "percent", "93.92 ± 0.24 %"),
        (Spread(12.5, 0.25), "ms", "12.5 ms ± 0.25 ms"),
        (41_234_567, "count", "41.2 M"),
        (999, "count", "999"),
        (999.7, "count", "1.00 k"),
        (0, "bytes", "0 B"),
        (1500, "bytes", "1.50 kB"),
        (5.2, "ms", "5.20 ms"),
        (1_200_000, "ms", "1,200 s"),
        (49.25, "mj", "49.2 mJ"),
        (0.00042, "number", "0.0004"),
        (-1.5, "number", "\N{MINUS SIGN}1.50"),
        (math.inf, "number", "∞"),
        (-math.inf, "number", "\N{MINUS SIGN}∞"),
        (None, "percent", "\N{EN DASH}"),
        (True, "text", "yes"),
        ("as it is", "count", "as it is"),
    ],
)
def test_numbers_read_well(value, kind, text):
    assert format_value(value, kind) == text


POINTS = {
    "Base alone": OperatingPoint(
        threshold=math.inf, coverage=1, accuracy=0.91, accuracy_kept=0.91, macs=41e6
    ),
    "Global alone": OperatingPoint(
        threshold=-math.inf, coverage=0, accuracy=0.934, accuracy_kept=None, macs=167e6
    ),
}


def test_terminal_and_page_show_the_same_cells():
    table = operating_table(POINTS, "Test split")
    target = io.StringIO()
    Console(file=target, width=120).print(table.rich())
    for cell in [cell for row in table.cells() for cell in row] + ["Test split", "Coverage"]:
        assert cell in target.getvalue()
        assert cell in table.html()


def test_costs_that_nobody_knows_get_no_column():
    names = [column.name for column in operating_table(POINTS).columns]
    assert "MACs" in names
    assert not {"Energy", "Latency", "Bytes sent"} & set(names)


def test_a_strong_row_stands_out_on_the_page():
    html = operating_table(POINTS, strong=["Global alone"]).html()
    assert '<tr class="strong"><th scope="row">Global alone' in html
    assert html.count('class="strong"') == 1


def test_a_full_operating_table_fits_a_terminal_of_80_columns():
    point = POINTS["Base alone"].model_copy(
        update={"payload_bytes": 1500.0, "latency_ms": 23.01, "energy_mj": 36.12}
    )
    target = io.StringIO()
    Console(file=target, width=80).print(operating_table({"Hybrid, fused": point}).rich())
    for cell in ("100.00 %", "91.00 %", "41 M", "1.50 kB", "23.0 ms", "36.1 mJ"):
        assert cell in target.getvalue()


def test_markup_in_names_does_no_harm():
    table = Table([Column("<b>"), Column("n", "number")], [("[red]<script>", 1)])
    assert "<script>" not in table.html()
    assert "&lt;script&gt;" in table.html()
    target = io.StringIO()
    Console(file=target).print(table.rich())
    assert "[red]<script>" in target.getvalue()


def test_a_row_of_the_wrong_length_is_refused():
    with pytest.raises(ValueError, match="argument 2"):
        Table([Column("a"), Column("b")], [("only one",)]).cells()


def test_a_bar_does_not_end_a_cell_of_markdown():
    line = Table((Column("Architecture"),), [("333 | 444",)]).markdown().splitlines()[-1]
    assert line == r"| 333 \| 444 |"
