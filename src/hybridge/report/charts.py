"""Charts as inline SVG: lines with bands and marks, grouped bars.

Matplotlib is loaded when the first chart is drawn, and draws through its object interface, so
that no window system or global figure is involved.
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Literal

import numpy as np

from hybridge.errors import MissingExtraError
from hybridge.hashing import hash_bytes
from hybridge.report import style
from hybridge.report.values import Kind, Spread, format_value

Floats = np.ndarray[Any, np.dtype[np.float64]]
Role = Literal["main", "other", "bound"]

SIZE_INCHES = (5.4, 3.9)
_LEGEND_LETTERS = 72  # what fits into the width of a chart
_KEY_LETTERS = 6  # the width of a line's sample and the gap after it


@dataclass(frozen=True)
class Axis:
    """An axis of a chart.

    Attributes:
        label: What stands beside it.
        kind: What it measures; see `format_value`.
        log: Whether it is logarithmic.
        begin: Where it begins, or None to begin where the values do.
    """

    label: str
    kind: Kind = "number"
    log: bool = False
    begin: float | None = None


@dataclass(frozen=True, eq=False)
class Line:
    """A curve; all arrays are ``(K,)``.

    Attributes:
        name: Its name in the legend.
        x: Abscissae, ascending.
        y: Ordinates.
        band: How far the band about it reaches on either side, or None.
        role: ``main`` is drawn heavier, ``bound`` as a thin grey ceiling that nothing can pass.
        steps: Whether it jumps from value to value rather than running straight.
        dots: Whether its values stand alone, each a dot, in any order.
    """

    name: str
    x: Floats
    y: Floats
    band: Floats | None = None
    role: Role = "other"
    steps: bool = False
    dots: bool = False


@dataclass(frozen=True)
class Mark:
    """A single point, with its name beside it.

    Attributes:
        name: What stands beside it.
        x: Abscissa.
        y: Ordinate.
        role: ``main`` is the point that was chosen.
    """

    name: str
    x: float
    y: float
    role: Role = "other"


def line_chart(
    lines: Sequence[Line], x: Axis, y: Axis, *, marks: Sequence[Mark] = (), title: str = ""
) -> str:
    """Return a chart of curves and single points as SVG."""

    def draw(axes: Any) -> None:
        inks = _inks(lines)
        for line in lines:
            _draw_line(axes, line, *inks[line.name])
        for mark in marks:
            _draw_mark(axes, mark)
        axes.margins(x=0.04, y=0.08)
        _draw_legend(axes, [line.name for line in lines])

    return _render(draw, x, y, title)


def bar_chart(
    groups: Sequence[str], bars: Mapping[str, Sequence[float | Spread]], y: Axis, *, title: str = ""
) -> str:
    """Return grouped bars as SVG, with whiskers where a value has a spread.

    Args:
        groups: Names along the horizontal axis.
        bars: For each name in the legend, one value per group.
        y: The vertical axis.
        title: What the chart shows, for readers who cannot see it.
    """

    def draw(axes: Any) -> None:
        width = 0.8 / max(len(bars), 1)
        for index, (name, values) in enumerate(bars.items()):
            spreads = [v if isinstance(v, Spread) else Spread(v, 0) for v in values]
            middle = (index - (len(bars) - 1) / 2) * width
            x = np.arange(len(groups), dtype=np.float64) + middle
            _draw_bars(axes, x, width, spreads, index, name)
        highest = axes.dataLim.ymax
        axes.set_ylim(top=highest + 0.06 * (highest - (y.begin or 0)))
        axes.set_xticks(np.arange(len(groups)), groups)
        axes.grid(visible=False, axis="x")
        _draw_legend(axes, list(bars))

    return _render(draw, Axis("", "text"), y, title)


def _draw_bars(
    axes: Any, x: Floats, width: float, spreads: Sequence[Spread], series: int, name: str
) -> None:
    deviations = [spread.deviation for spread in spreads]
    axes.bar(
        x,
        [spread.mean for spread in spreads],
        width * 0.92,
        yerr=deviations if any(deviations) else None,
        error_kw={"ecolor": style.stand_in(style.TEXT), "elinewidth": 1, "capsize": 2},
        color=style.stand_in(style.SERIES[series % len(style.SERIES)]),
        label=name,
    )


def _inks(lines: Sequence[Line]) -> dict[str, tuple[str, Any]]:
    """Return each line's colour and dash: its own, save that bounds are grey."""
    series = [line.name for line in lines if line.role != "bound"]
    inks = {
        name: (style.stand_in(style.SERIES[index % 8]), style.DASHES[index % 8])
        for index, name in enumerate(series)
    }
    bounds = [line.name for line in lines if line.role == "bound"]
    grey = style.stand_in(style.MUTED)
    return inks | {name: (grey, style.DASHES[3 - i % 3]) for i, name in enumerate(bounds)}


def _draw_line(axes: Any, line: Line, colour: str, dash: Any) -> None:
    main = line.role == "main"
    axes.plot(
        line.x,
        line.y,
        color=colour,
        linestyle="none" if line.dots else "-" if main else dash,
        marker="o" if line.dots else None,
        markersize=4,
        linewidth=2.4 if main else 1.4,
        zorder=4 if main else 3,
        drawstyle="steps-post" if line.steps else "default",
        label=line.name,
    )
    if line.band is not None:
        low, high = line.y - line.band, line.y + line.band
        axes.fill_between(line.x, low, high, color=colour, alpha=0.16, linewidth=0, zorder=2)


def _draw_mark(axes: Any, mark: Mark) -> None:
    chosen = mark.role == "main"
    axes.plot(
        [mark.x],
        [mark.y],
        marker="*" if chosen else "o",
        markersize=14 if chosen else 6,
        markerfacecolor=style.stand_in(style.SERIES[1] if chosen else style.TEXT),
        markeredgecolor=style.stand_in(style.GROUND),
        markeredgewidth=1,
        linestyle="none",
        zorder=6,
    )
    low, high = axes.get_xlim()
    beside, align = (-8, "right") if mark.x > (low + high) / 2 else (8, "left")
    axes.annotate(
        mark.name,
        (mark.x, mark.y),
        xytext=(0, 9) if chosen else (beside, -11),
        textcoords="offset points",
        ha="center" if chosen else align,
        fontsize=9,
        fontweight="bold" if chosen else "normal",
        color=style.stand_in(style.TEXT),
        bbox={"facecolor": style.stand_in(style.GROUND), "alpha": 0.7, "linewidth": 0, "pad": 0.6},
        zorder=5,
    )


def _draw_legend(axes: Any, names: Sequence[str]) -> None:
    """Put a legend below, in as many columns as the width has room for."""
    if len(names) > 1:
        room = _LEGEND_LETTERS // (max(map(len, names)) + _KEY_LETTERS)
        columns = max(1, min(len(names), 3, room))
        axes.figure.legend(loc="outside lower center", ncols=columns, handlelength=2.6)


def _render(draw: Callable[[Any], None], x: Axis, y: Axis, title: str) -> str:
    try:
        import matplotlib as mpl
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise MissingExtraError("matplotlib", "design") from error
    target = io.StringIO()
    with mpl.rc_context(_rc()):
        figure = Figure(figsize=SIZE_INCHES, layout="constrained")
        axes = figure.add_subplot()
        _shape(axes, x, y)
        draw(axes)
        axes.set(xlim=(x.begin, None), ylim=(y.begin, None))
        FigureCanvasSVG(figure).print_svg(target, metadata={"Date": None})
    return _for_page(target.getvalue(), title or f"{y.label} over {x.label}")


def _shape(axes: Any, x: Axis, y: Axis) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    for axis, scale, described in ((axes.xaxis, "x", x), (axes.yaxis, "y", y)):
        if described.log:
            axes.set(**{f"{scale}scale": "log"})
        if described.kind != "text":
            axis.set_major_formatter(_tick_label(described.kind))
        axis.set_label_text(described.label)


def _tick_label(kind: Kind) -> Callable[[float, int], str]:
    def label(value: float, _position: int) -> str:
        if kind == "percent":
            return f"{100 * value:.3g} %"
        return format_value(float(f"{value:.6g}"), kind)

    return label


def _rc() -> dict[str, Any]:
    text, muted = style.stand_in(style.TEXT), style.stand_in(style.MUTED)
    grid = style.stand_in(style.GRID)
    return {
        "svg.fonttype": "none",
        "svg.hashsalt": "hybridge",
        "font.size": 10,
        "text.color": text,
        "axes.labelcolor": muted,
        "axes.edgecolor": grid,
        "axes.linewidth": 1,
        "axes.grid": True,
        "axes.facecolor": "none",
        "figure.facecolor": "none",
        "savefig.facecolor": "none",
        "grid.color": grid,
        "grid.linewidth": 0.8,
        "xtick.color": muted,
        "ytick.color": muted,
        "xtick.major.size": 0,
        "ytick.major.size": 0,
        "xtick.minor.size": 0,
        "ytick.minor.size": 0,
        "legend.frameon": False,
        "legend.fontsize": 9,
        "lines.solid_capstyle": "round",
    }


def _for_page(svg: str, title: str) -> str:
    """Return matplotlib's SVG fit for a page: scalable, themed, named, and with ids of its own."""
    box = re.search(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', svg)
    assert box is not None, "matplotlib writes a viewBox"
    svg = svg[box.end() :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<style type="text/css">.*?</style>', "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    own = hash_bytes(svg.encode())[:8]
    svg = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{own}-", svg)
    svg = re.sub(r"(font: [^;\"]*?)'DejaVu Sans'[^;\"]*", r"\1system-ui, sans-serif", svg)
    for ink in style.INKS:
        svg = svg.replace(style.stand_in(ink), style.variable(ink))
    head = (
        f'<svg class="chart" role="img" aria-label="{escape(title)}" viewBox="{box[1]}" '
        'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        'stroke-linejoin="round">'
    )
    return head + svg.strip()
