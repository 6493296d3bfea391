"""Write docs/results/traces.md: statistics of recorded links, their scenes, and copies of them.

HYBRIDGE_DATA=... python scripts/traces_page.py
"""

from pathlib import Path

import numpy as np

from hybridge.links.contexts import quartile_types
from hybridge.links.read import read_recording
from hybridge.links.scenes import scene_traces, scenes
from hybridge.links.stats import autocorrelation, statistics
from hybridge.links.synth import fit_synthesiser
from hybridge.links.trace import Trace, joined
from hybridge.recipes.load import data_root
from hybridge.report.values import MISSING, format_value

ROOT = data_root() / "traces"
TARGET = Path(__file__).parent.parent / "docs/results/traces.md"
SAMPLE_S = 6 * 3600
LAGS = 10


def main() -> None:
    """Write the page."""
    paths = sorted(path for path in ROOT.rglob("*") if path.is_file())
    recordings = {path.relative_to(ROOT).as_posix(): read_recording(path) for path in paths}
    traces = {name: recording.trace for name, recording in recordings.items()}
    rows = [
        [f"`{name}`", recording.kind, *figures(recording.trace)]
        for name, recording in recordings.items()
    ]
    names = ["trace", "format", "s", "mean", "25 %", "50 %", "75 %", "variation", "outage", "1 s"]
    text = f"""# Recorded links

```bash
hybridge traces stats FILE...
```

What {len(traces)} public recordings are like, as `hybridge traces stats` has it; written by
`scripts/traces_page.py`. [Links and traces](../links-and-traces.md) says what is meant by each.
Bandwidth is in Mbit/s; variation is deviation over mean, outage the share of time in which a packet
would take more than a second, and the last column the correlation with the next second.

What a device sends rides the uplink. In the format of mahimahi, `.up` and `.pps` are uplinks. Those
of `solis-wifi-uplink` are uplinks of Wi-Fi whose first second is a burst. `norway-3g` and `PiTree`
are downlinks. `lumos` holds what video chunks got, so a lower bound on the link. Where no recording
says what a device would see of its uplink, a downlink stands in.

Sources: ravinet/mahimahi and joelromanky/mahimahi (GPL-3), GreenLv/Solis-WiFi-Trace and
GreenLv/Lumos (MIT), hkust-spark/SparkTraces (GPL-3), confiwent/Real-world-bandwidth-traces (MIT;
Riiser et al., MMSys 2013). None of them is part of this repository.

## Scenes

The model tree's scenes ([`hybridge.links.scenes`](../links-and-traces.md#types-and-scenes)), and
its two types of bandwidth over all traces of each, in Mbit/s:

{table(["scene", "traces", "s", "poor", "good"], scene_rows())}

## Synthetic traces

How far {SAMPLE_S // 3600} hours of a synthetic trace (`fit_synthesiser` as it is, seed 0) are from
the recording that it was fitted to, over all recordings. Each quartile row takes the worst of the
three; correlations are at lags of 1 to {LAGS} s.

{table(["off by", "median", "90 %", "worst"], copied_rows(list(traces.values())))}

## Statistics

{table(names, rows)}
"""
    TARGET.write_text(text)


def figures(trace: Trace) -> list[str]:
    """Return the statistics of a trace as text."""
    found = statistics(trace)
    return [
        f"{found.duration_s:.0f}",
        *(
            format_value(value, "number")
            for value in (
                found.mean_mbps,
                found.p25_mbps,
                found.p50_mbps,
                found.p75_mbps,
                found.coefficient_of_variation,
            )
        ),
        f"{100 * found.outage_share:.1f} %",
        MISSING if found.autocorrelation_1s is None else f"{found.autocorrelation_1s:.2f}",
    ]


def scene_rows() -> list[list[str]]:
    """Return the types of every scene."""
    rows = []
    for key in scenes:
        scene = scenes.get(key)
        found = scene_traces(scene, ROOT)
        whole = joined(list(found.values()))
        poor, good = (
            format_value(bps / 1e6, "number") for bps in quartile_types(whole).typical_bps
        )
        rows.append([scene.name, str(len(found)), f"{whole.duration_s:.0f}", poor, good])
    return rows


def copied_rows(traces: list[Trace]) -> list[list[str]]:
    """Return how far synthetic traces are from recorded ones."""
    off = np.array([deviations(trace) for trace in traces])
    names = (
        "mean bandwidth",
        "share of time at or below a quartile",
        "quartile, as a share of the mean",
        "correlation, worst lag",
        "correlation, mean of lags",
    )
    forms = ("{:.1%}", "{:.1%}", "{:.1%}", "{:.3f}", "{:.3f}")
    rows = []
    for name, form, column in zip(names, forms, off.T, strict=True):
        shown = [form.format(value) for value in np.quantile(column, (0.5, 0.9, 1.0))]
        rows.append([name, *(value.replace("%", " %") for value in shown)])
    return rows


def deviations(trace: Trace) -> tuple[float, ...]:
    """Return the deviations of a synthetic trace from the recorded one."""
    synthesiser = fit_synthesiser(trace)
    source = np.asarray(synthesiser.bandwidth_bps)
    sample = synthesiser.sample(0, SAMPLE_S)
    rates, mean = np.asarray(sample.bandwidth_bps), source.mean()
    quartiles = np.quantile(source, (0.25, 0.5, 0.75))
    time_off = [np.mean(rates <= each) - np.mean(source <= each) for each in quartiles]
    own, other = (
        autocorrelation(each, LAGS)
        for each in (Trace(range(len(source)), source, len(source)), sample)
    )
    correlations_off = np.abs(np.asarray(own) - np.asarray(other))
    return (
        abs(rates.mean() / mean - 1),
        np.abs(time_off).max(),
        np.abs(np.quantile(rates, (0.25, 0.5, 0.75)) - quartiles).max() / mean,
        correlations_off.max(),
        correlations_off.mean(),
    )


def table(names: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
