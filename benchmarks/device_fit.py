"""A phone's time per MAC, fitted on three networks, against the time of the fourth.

Measured times are those of the model-tree paper's table I, on a Xiaomi Mi 6X at 224 x 224. MACs
are counted from our networks of the same names. Nothing is timed here.

    python benchmarks/device_fit.py
"""

import argparse
from pathlib import Path

from common import Row, report

from hybridge.cost.device import devices
from hybridge.cost.fit import fit_rate
from hybridge.design.graph.outline import outline

#: Milliseconds by network; table I of the model-tree paper.
MEASURED_MS = {"vgg19": 5734.89, "resnet50": 1103.20, "resnet101": 2238.79, "resnet152": 3729.10}
PRESET = "xiaomi-mi6x"


def left_out(name: str, macs: dict[str, int]) -> Row:
    """Return how far the fit on the other networks is off for one."""
    others = [other for other in macs if other != name]
    rate = fit_rate([macs[other] for other in others], [MEASURED_MS[other] for other in others])
    predicted_ms = rate * macs[name] / 1e6
    return {
        "what": name,
        "M MACs": macs[name] / 1e6,
        "measured ms": MEASURED_MS[name],
        "its own ns/MAC": 1e6 * MEASURED_MS[name] / macs[name],
        "ns/MAC of the others": rate,
        "predicted ms": predicted_ms,
        "error %": 100 * (predicted_ms / MEASURED_MS[name] - 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    settings = parser.parse_args()
    settings.rounds, settings.seed = 1, 0  # counted, not timed
    macs = {
        name: outline(name, class_count=1000, resolution=224, channels=3).macs
        for name in MEASURED_MS
    }
    report("Left out in turn", [left_out(name, macs) for name in macs], settings)
    of_all = fit_rate(list(macs.values()), list(MEASURED_MS.values()))
    ((_, preset), *_) = devices.get(PRESET).numbers()
    print(f"ns/MAC: {of_all:.4f} fitted on all four, {preset.value:.4f} in {PRESET!r}")


if __name__ == "__main__":
    main()
