"""Write docs/results/cifar10-resnet.md from the figures of its recipe.

hybridge train recipes/cifar10_resnet.yaml --mode r --splits 5 --json out.json
python scripts/cifar10_page.py out.json
"""

import json
import sys
from pathlib import Path
from typing import Any

Row = dict[str, Any]
TARGET = Path(__file__).parent.parent / "docs/results/cifar10-resnet.md"
METHODS = ("router", "entropy", "top1", "margin", "random", "agreement_oracle", "label_oracle")


def main() -> None:
    """Write the page."""
    summary = json.loads(Path(sys.argv[1]).read_text())
    sections = [head(summary), points(summary), differences(summary), matching(summary)]
    TARGET.write_text("\n\n".join(sections) + "\n")


def head(summary: Row) -> str:
    """Return what was run."""
    return f"""# ResNet-20 and ResNet-56 on CIFAR-10

```bash
hybridge train recipes/cifar10_resnet.yaml --mode r --splits 5 --json out.json
```

Both networks are pre-trained and have seen every training image, so routers, fusion and thresholds
are fitted on one half of the test set and everything is reported on the other, over
{summary["splits"]} random halves. Whole test set: base {summary["base_accuracy"]:.2f} %, global
{summary["global_accuracy"]:.2f} %. Written by `scripts/cifar10_page.py`."""


def points(summary: Row) -> str:
    """Return accuracy of every method at fixed coverage."""
    coverages = sorted({row["coverage"] for row in summary["operating_points"]}, reverse=True)
    found = {
        (row["method"], row["fused"], row["coverage"]): row for row in summary["operating_points"]
    }
    rows = [
        [
            method.replace("_", " "),
            "yes" if fused else "no",
            *(_accuracy(found[method, fused, coverage]) for coverage in coverages),
            f"{found[method, fused, 0.7]['gain_over_global_mean']:+.2f}",
            f"{found[method, fused, 0.7]['macs_m']:.1f}",
        ]
        for fused in (False, True)
        for method in METHODS
    ]
    names = ["method", "fused", *(f"{c:.0%}" for c in coverages), "gain at 70 %", "M MACs at 70 %"]
    return f"""## Hybrid accuracy at fixed coverage

Percent, mean ± standard deviation over splits; the gain is over the global alone, paired.

{table(names, rows)}"""


def differences(summary: Row) -> str:
    """Return the router against the best confidence, and fused answers against the cloud."""
    rows = [
        [f"{row['coverage']:.0%}", "yes" if row["fused"] else "no", row["best"], _interval(row)]
        for row in summary["router_minus_best_confidence"]
    ]
    gains = [
        [f"{row['coverage']:.0%}", _interval(row)] for row in summary["fused_gain_over_global"]
    ]
    return f"""## Paired differences, in points

Router less the best confidence baseline (best on the reporting halves, so with hindsight), with
the 95 % t-interval over splits. On this pair confidence is hard to beat: the router ties with it.

{table(["coverage", "fused", "best confidence", "router less best"], rows)}

Fused router less the cloud alone:

{table(["coverage", "gain"], gains)}"""


def matching(summary: Row) -> str:
    """Return the query rate needed to match the cloud."""
    rows = [
        [
            row["method"].replace("_", " "),
            "yes" if row["fused"] else "no",
            f"{100 * row['mean']:.1f} ± {100 * row['std']:.1f} %",
            f"{row['accuracy_minus_global_mean']:+.2f}",
            f"{row['macs_m']:.1f}",
        ]
        for row in summary["query_rate_to_match_cloud"]
    ]
    return f"""## Query rate needed to match the cloud

The least that reaches the cloud's accuracy on the calibration half, and what came of it on the
reporting half. The least of a noisy curve is a little too hopeful, as the last but one column
shows.

{table(["method", "fused", "query rate", "accuracy less cloud's", "M MACs"], rows)}"""


def table(names: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _accuracy(row: Row) -> str:
    return f"{row['accuracy_mean']:.2f} ± {row['accuracy_std']:.2f}"


def _interval(row: Row) -> str:
    return f"{row['mean']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]"


if __name__ == "__main__":
    main()
