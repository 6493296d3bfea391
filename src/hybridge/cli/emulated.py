"""What ``hybridge emulate`` came to: as a table, as plain data, as a figure."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hybridge.cli.output import show, show_facts

if TYPE_CHECKING:
    from hybridge.cost.surroundings import Surroundings
    from hybridge.emulate.baselines import Comparison
    from hybridge.emulate.emulation import Emulation

#: Points by which a distribution is drawn; more cannot be told apart.
_DRAWN = 1001


def _pooled(done: "Sequence[Comparison]") -> "dict[str, Emulation]":
    """Return each method over the requests of all traces together."""
    from hybridge.emulate.emulation import pooled

    return {
        name: pooled([comparison.methods[name] for comparison in done]) for name in done[0].methods
    }


def described(names: Sequence[Path], done: "Sequence[Comparison]") -> dict[str, Any]:
    """Return every method as plain data: all requests together, and those of each trace."""
    from hybridge.cost.reward import Reward

    def rows(methods: "dict[str, Emulation]") -> list[dict[str, Any]]:
        return [
            {"method": method, **asdict(emulation.summary(Reward()))}
            for method, emulation in methods.items()
        ]

    return {
        "rows": rows(_pooled(done)),
        "traces": [
            {"trace": str(name), **row}
            for name, comparison in zip(names, done, strict=True)
            for row in rows(comparison.methods)
        ],
        "left_out": done[0].left_out,
    }


def drawn(done: "Sequence[Comparison]") -> str:
    """Return the latencies of all methods as SVG."""
    import numpy as np

    from hybridge.emulate.baselines import PLAN
    from hybridge.report.figures import latency_distribution

    shares = np.linspace(0, 1, _DRAWN)
    latency_ms = {
        name: np.quantile(
            np.where(emulation.answered, emulation.latency_ms, np.inf),
            shares,
            method="inverted_cdf",  # none lies between an answer and none
        )
        for name, emulation in _pooled(done).items()
    }
    return latency_distribution(latency_ms, main=PLAN)


def show_emulated(done: "Sequence[Comparison]", around: "Surroundings", rtt_ms: float) -> None:
    """Print a table of every method over all requests, and what it was made with."""
    from hybridge.cost.reward import Reward
    from hybridge.report.tables import Column, Table
    from hybridge.report.values import format_value

    columns = (
        (Column("Method"), None),
        (Column("Accuracy", "percent"), "accuracy"),
        (Column("Sent", "percent"), "query_rate"),
        (Column("Mean", "ms"), "latency_ms"),
        (Column("p50", "ms"), "p50_ms"),
        (Column("p95", "ms"), "p95_ms"),
        (Column("p99", "ms"), "p99_ms"),
        (Column("Bytes", "bytes"), "payload_bytes"),
        (Column("Energy", "mj"), "energy_mj"),
        (Column("Reward", "number"), "reward"),
        (Column("Late", "number"), "timeouts"),
        (Column("Lost", "number"), "unanswered"),
    )
    found = {name: asdict(each.summary(Reward())) for name, each in _pooled(done).items()}
    rows = [(name, *(row[key] for _, key in columns if key)) for name, row in found.items()]
    requests = next(iter(found.values()))["requests"]
    over = "1 trace" if len(done) == 1 else f"{len(done)} traces"
    late = "Late: the cloud did not answer in time; lost: nobody did"
    caption = f"{requests:,} requests over {over}. {late}"
    show(Table([column for column, _ in columns], rows, caption, frozenset({0})).rich())
    facts = {
        "emulated with": f"{around.device}, {around.cloud}, "
        f"a round trip of {format_value(rtt_ms, 'ms')} ({around.link})",
    }
    for name, why in done[0].left_out.items():
        facts[f"left out: {name}"] = why
    show_facts(facts)
