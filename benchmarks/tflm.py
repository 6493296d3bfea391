"""A bundle in the integers of a microcontroller, over a whole test set, beside the paper's table 9.

    python benchmarks/tflm.py BUNDLE --calibration parquet:train.parquet --data parquet:test.parquet

Prints JSON: what `hybridge.design.export.tflm.export_tflm` reports, and latency and energy by the
device's profile.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from hybridge.cli.inputs import open_source
from hybridge.cost.device import device_named
from hybridge.cost.price import compute_ms, energy_mj
from hybridge.design.export.edge_program import edge_program
from hybridge.design.export.tflm import Images, export_tflm
from hybridge.plan.bundle import load_bundle
from hybridge.plan.layers import Layer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--calibration", required=True, help="images that give the ranges")
    parser.add_argument("--data", required=True, help="images to compare on")
    parser.add_argument("--count", type=int, help="how many of them; all where left out")
    parser.add_argument("--device", default="stm32f746")
    parser.add_argument("--out", type=Path, default=Path("runs/tflm"))
    given = parser.parse_args()
    bundle, device = load_bundle(given.bundle), device_named(given.device)
    ranges, data = (open_source(name, bundle.plan) for name in (given.calibration, given.data))
    rows = np.arange(len(data))[: given.count]
    report = export_tflm(
        bundle,
        given.out,
        ranges.pixels(np.arange(min(256, len(ranges)))),
        Images(data.pixels(rows), data.labels[rows]),
        device,
    )
    layers = edge_program(bundle.plan).program.layers
    base = [layer for layer in layers if layer.name.startswith("base.")]
    macs = report.router_macs or 0
    router = Layer(name="router", kind="linear", macs=macs, parameters=macs, output_bytes=2)
    profile = {}
    for name, parts in (("base", base), ("base_and_router", [*base, router])):
        ms = compute_ms(parts, device)
        profile[name] = {"latency_ms": ms, "energy_mj": energy_mj(device, ms, 0.0, 0.0)}
    figures = {"by_profile": profile, "base_macs": sum(layer.macs for layer in base)}
    print(json.dumps(report.model_dump(mode="json") | figures, indent=1))


if __name__ == "__main__":
    main()
