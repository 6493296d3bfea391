"""The figures of a report: accuracy over coverage and over MACs, latencies, traces."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hybridge.cost.operating import Curve
from hybridge.links.stats import quantiles_bps
from hybridge.links.trace import Trace
from hybridge.report.charts import Axis, Line, Mark, Role, line_chart

Floats = np.ndarray[Any, np.dtype[np.float64]]

#: Points at which curves are drawn; more cannot be told apart on paper.
RESOLUTION = 201
#: Pieces of a trace that a chart has room for.
_PIECES = 2000


def curve_line(name: str, curves: Curve | Sequence[Curve], over: str, role: Role = "other") -> Line:
    """Return hybrid accuracy as a line; over several curves, their mean and its spread.

    Args:
        name: Its name in the legend.
        curves: One curve, or one for each split.
        over: What lies along the horizontal axis: ``coverage``, ``macs`` or another cost.
        role: How it is drawn.
    """
    runs = [curves] if isinstance(curves, Curve) else list(curves)
    axes = [_ascending(getattr(run, over), run.accuracy) for run in runs]
    # Only where every run has a point; all runs of one method begin and end alike, or nearly so.
    x = np.linspace(max(a[0][0] for a in axes), min(a[0][-1] for a in axes), RESOLUTION)
    y = np.array([np.interp(x, *each) for each in axes])
    band = y.std(axis=0, ddof=1) if len(runs) > 1 else None
    return Line(name, x, y.mean(axis=0), band=band, role=role)


def _ascending(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    return (x[::-1], y[::-1]) if x[0] > x[-1] else (x, y)


def accuracy_over_coverage(lines: Sequence[Line], marks: Sequence[Mark] = ()) -> str:
    """Return hybrid accuracy over the share of inputs kept on the edge, as SVG."""
    return line_chart(
        lines,
        Axis("Coverage: share answered on the edge", "percent"),
        Axis("Hybrid accuracy", "percent"),
        marks=marks,
    )


def accuracy_over_macs(lines: Sequence[Line], marks: Sequence[Mark] = ()) -> str:
    """Return hybrid accuracy over mean MACs per input, the router's included, as SVG."""
    return line_chart(
        lines,
        Axis("Mean MACs per input, edge and cloud", "count"),
        Axis("Hybrid accuracy", "percent"),
        marks=marks,
    )


def latency_distribution(latency_ms: Mapping[str, Floats], main: str | None = None) -> str:
    """Return what share of requests each method answers within a time, as SVG.

    Args:
        latency_ms: Latencies ``(n,)`` of each method, by its name; infinite where a request gets
            no answer.
        main: Name of the method that stands out.
    """
    answered = {name: np.sort(each[np.isfinite(each)]) for name, each in latency_ms.items()}
    everything = np.concatenate(list(answered.values()))
    least = max(float(everything.min()), 1e-3) if everything.size else 1.0
    most = float(everything.max(initial=least))
    lines = []
    for name, values in answered.items():
        count, requests = len(values), len(latency_ms[name])
        # A line that never comes to 100 % goes on to the side.
        ends = [] if count == requests else [most]
        x = np.maximum(np.concatenate((values[:1] if count else [least], values, ends)), least)
        share = np.minimum(np.arange(len(x)), count) / requests
        lines.append(Line(name, x, share, role="main" if name == main else "other", steps=True))
    return line_chart(
        lines,
        Axis("Latency", "ms", log=most > 30 * least),
        Axis("Share of requests answered", "percent"),
    )


def bandwidth_over_time(traces: Mapping[str, Trace]) -> str:
    """Return bandwidth over time as SVG, with the quartiles of each trace.

    A single trace gets its quartiles as lines; of several, the legend names them. A trace of more
    than 2,000 pieces is drawn as the means of 2,000.

    Args:
        traces: By the name in the legend; at least one.
    """
    lines = []
    for name, trace in traces.items():
        drawn = trace
        if len(trace.times_s) > _PIECES:
            drawn = trace.resampled(trace.duration_s / _PIECES)
        x = np.array([*drawn.times_s, drawn.duration_s])
        y = np.array([*drawn.bandwidth_bps, drawn.bandwidth_bps[-1]]) / 1e6
        lower, median, upper = (quantiles_bps(trace, (0.25, 0.5, 0.75)) / 1e6).tolist()
        if len(traces) > 1:
            name = f"{name} (quartiles {lower:.3g} and {upper:.3g})"
        lines.append(Line(name, x, y, steps=True))
        if len(traces) == 1:
            ends = np.array([0.0, trace.duration_s])
            lines += [
                Line(f"{what}: {value:.3g} Mbit/s", ends, np.full(2, value), role="bound")
                for what, value in (
                    ("Upper quartile", upper),
                    ("Median", median),
                    ("Lower quartile", lower),
                )
            ]
    return line_chart(lines, Axis("Seconds"), Axis("Bandwidth in Mbit/s", begin=0))


def predicted_over_measured(layers_ms: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Return predicted over measured times as SVG, both logarithmic (model tree, figure 5).

    Args:
        layers_ms: Measured and predicted milliseconds, all positive, by the class of the layers.
    """
    everything = np.array([pair for pairs in layers_ms.values() for pair in pairs])
    ends = np.array([everything.min(), everything.max()])
    columns = {name: np.array(pairs).T for name, pairs in layers_ms.items()}
    dots = [Line(name, x=each[0], y=each[1], dots=True) for name, each in columns.items()]
    return line_chart(
        [*dots, Line("as measured", ends, ends, role="bound")],
        Axis("Measured", "ms", log=True),
        Axis("Predicted", "ms", log=True),
    )
