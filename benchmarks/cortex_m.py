"""Base and router on an emulated Cortex-M7: equal to onnxruntime, and what the router adds.

Bounds: outputs within 1e-4 of onnxruntime's on all images; under 2 % more instructions with the
router (paper, section 3.4). The smallest and the largest network of `elastic_small`, with random
weights, are each given a router over every confidence; `--bundle` takes a bundle of yours instead.
All are linked into the memory of an STM32F746, 1 MiB of flash and 320 KiB of RAM. Rounds are
images. Instructions are counted, not timed: they do not depend on the machine's load.
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from common import CLASSES, Row, report

from hybridge.design.export.cortex_m import CortexMReport, Memory, export_cortex_m
from hybridge.design.nets import PixelNetwork, build, networks
from hybridge.design.nets.families import families
from hybridge.design.query.make_plan import make_plan
from hybridge.design.query.router import Anchor, Router, RouterSettings
from hybridge.design.query.scores import CONFIDENCES, Confidence
from hybridge.errors import ConfigError, MissingExtraError
from hybridge.plan.bundle import Bundle, load_bundle

FAMILY = "elastic_small"
STM32F746 = Memory(flash_bytes=1024 * 1024, ram_bytes=320 * 1024)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100, help="images")
    parser.add_argument("--seed", type=int, default=0, help="of weights and images")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    parser.add_argument("--bundle", type=Path, help="export this one instead")
    parser.add_argument("--confidence", choices=CONFIDENCES, action="append", help="of the router")
    parser.add_argument("--keep", type=Path, help="folder where the projects stay")
    return parser.parse_args()


def random_bundle(architecture: str, confidence: str, seed: int, folder: Path) -> Bundle:
    """Return a base with normalised activations, and a router that is not zero."""
    torch.manual_seed(seed)
    info = networks.get(FAMILY)
    network = build(FAMILY, CLASSES, architecture=architecture).train()
    with torch.no_grad():
        for _ in range(10):
            network(torch.randn(16, 3, info.resolution, info.resolution))
    base = PixelNetwork(network, info.mean, info.std).eval()
    router = Router(CLASSES, RouterSettings(), Anchor(Confidence(confidence, 1.3), 2.0, 0.5))
    torch.nn.init.normal_(router.head.weight, std=0.3)
    names = tuple(map(str, range(CLASSES)))
    geometry = info.geometry
    return Bundle(
        make_plan(base, router.eval(), base, geometry=geometry, class_names=names, directory=folder)
    )


def bundles(settings: argparse.Namespace, folder: Path) -> Iterator[tuple[str, Bundle]]:
    if settings.bundle is not None:
        yield settings.bundle.name, load_bundle(settings.bundle)
        return
    space = families.get(FAMILY).space
    for size, architecture in (("smallest", space.smallest), ("largest", space.largest)):
        for confidence in settings.confidence or CONFIDENCES:
            name = f"{size}-{confidence}"
            yield name, random_bundle(str(architecture), confidence, settings.seed, folder / name)


def rows_of(name: str, bundle: Bundle, told: CortexMReport) -> Iterator[Row]:
    macs_m = bundle.plan.programs[told.program].macs / 1e6
    for what, program in (("base", told.base), ("base and router", told.base_and_router)):
        if program is not None:
            yield {
                "what": f"{name} ({macs_m:.2f} M MACs): {what}",
                "instructions_m": program.instructions / 1e6,
                "extra_percent": 100 * (program.instructions / told.base.instructions - 1),
                "text": str(program.text_bytes),
                "data": str(program.data_bytes),
                "bss": str(program.bss_bytes),
                "arena": str(program.arena_bytes),
                "stack": str(program.stack_bytes),
                "difference": f"{program.largest_difference:.1e}",
            }


def main() -> None:
    settings = arguments()
    torch.set_num_threads(1)
    rng = np.random.default_rng(settings.seed)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        for name, bundle in bundles(settings, Path(scratch)):
            folder = (settings.keep or Path(scratch) / "projects") / name
            shape = (settings.rounds, *bundle.plan.input.shape)
            images = rng.integers(0, 256, shape, dtype=np.uint8)
            try:
                told = export_cortex_m(bundle, folder, images, STM32F746)
            except MissingExtraError as error:
                print(f"left out: {error}")
                return
            except ConfigError as error:
                if "is not installed" not in str(error):
                    raise
                print(f"left out: {error}")
                return
            rows += rows_of(name, bundle, told)
    report("A base and its router on a Cortex-M7", rows, settings)


if __name__ == "__main__":
    main()
