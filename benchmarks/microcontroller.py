"""A hybrid whose base is a microcontroller's: the paper's tables 8, 9 and 4 in kind, as a page.

    make microcontroller

makes the bundle (`recipes/cifar10_microcontroller.yaml`) where there is none; of another:

    python benchmarks/microcontroller.py BUNDLE --calibration parquet:train.parquet \
        --data parquet:test.parquet --page docs/results/microcontroller.md

The base runs in integers in the interpreter of TensorFlow Lite for Microcontrollers over all
images, with activations of 8 and of 16 bits; in floating point on a Cortex-M7 in QEMU over 100; and
a thousand requests go over a disturbed serial line. Every part leaves a report in `--out`, in a
folder that is named by all that is given, and a part whose report lies there is not run again. A
part whose tools are missing is left out, and says so.
"""

import argparse
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from common import session
from numpy.typing import NDArray
from pages.microcontroller import Found, write_page

from hybridge.cli.inputs import open_source
from hybridge.cost.device import Device, device_named
from hybridge.data.dataset import Dataset
from hybridge.design.export.cortex_m import CortexMReport, Memory, export_cortex_m
from hybridge.design.export.edge_program import EdgeProgram, edge_program
from hybridge.design.export.tflm import Images, TflmReport, export_tflm
from hybridge.design.export.translation import Bits
from hybridge.errors import MissingExtraError, MissingToolError
from hybridge.files import read_json_as, replacing
from hybridge.hashing import hash_array, hash_json
from hybridge.plan.bundle import Bundle, load_bundle

CALIBRATION, IN_QEMU, BATCH = 256, 100, 100
SERIAL = Path(__file__).parents[1] / "tests" / "runtime" / "serial"
REPORT = "report.json"


@dataclass(frozen=True)
class Given:
    """What all parts read."""

    bundle: Bundle
    edge: EdgeProgram
    calibration: NDArray[np.uint8]
    images: Images
    device: Device
    folder: Path


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--calibration", required=True, help="images that give the ranges")
    parser.add_argument("--data", required=True, help="images to compare on")
    parser.add_argument("--count", type=int, help="how many of them; all where left out")
    parser.add_argument("--device", default="stm32f746")
    parser.add_argument("--out", type=Path, default=Path("runs/microcontroller"))
    parser.add_argument("--page", type=Path, help="Markdown to write; printed where left out")
    return parser.parse_args()


@contextmanager
def made(folder: Path) -> Iterator[Path | None]:
    """Yield where a part is to be written, which is kept where all went well; None: it is there."""
    if (folder / REPORT).exists():
        yield None
        return
    new = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    yield new
    shutil.rmtree(folder, ignore_errors=True)
    new.rename(folder)


def in_integers(given: Given, bits: Bits) -> tuple[TflmReport, dict[str, NDArray[np.float32]]]:
    """Return the report of the interpreter, and what both networks said of every image."""
    folder = given.folder / f"int{bits}"
    with made(folder) as new:
        if new is not None:
            about = (given.calibration, given.images, given.device)
            export_tflm(given.bundle, new, *about, bits=bits)
    with np.load(folder / "answers.npz") as answers:
        return read_json_as(TflmReport, folder / REPORT, "report", "delete it"), dict(answers)


def in_qemu(given: Given) -> CortexMReport | None:
    """Return the report of the emulated board; None without its tools."""
    folder, memory = given.folder / "cortex-m", Memory.of(given.device)
    try:
        with made(folder) as new:
            if new is not None:
                export_cortex_m(given.bundle, new, given.images.pixels[:IN_QEMU], memory)
    except (MissingToolError, MissingExtraError) as error:
        print(f"left out, the Cortex-M7 in QEMU: {error}", file=sys.stderr)
        return None
    return read_json_as(CortexMReport, folder / REPORT, "report", "delete it")


def over_serial(given: Given) -> dict[str, dict[str, str]]:
    """Return the figures of both tests of a thousand requests, by the test's name."""
    told = given.folder / "serial.xml"
    if not told.exists():
        files = [SERIAL / "test_serial_line.py", SERIAL / "test_emulated_board.py"]
        command = [sys.executable, "-m", "pytest", "-q", "-m", "slow", *map(str, files)]
        with replacing(told) as new:
            told_as = ["-o", "junit_family=xunit1", "--junitxml", str(new)]
            subprocess.run([*command, *told_as], check=True)
    figures = {}
    for case in ElementTree.parse(told).iter("testcase"):
        properties = case.iter("property")
        figures[case.attrib["name"]] = {
            entry.attrib["name"]: entry.attrib["value"] for entry in properties
        }
    return {name: found for name, found in figures.items() if found}


def in_the_cloud(given: Given) -> NDArray[np.intp]:
    """Return the class that the global says of every image."""
    kept = given.folder / "global.npy"
    if not kept.exists():
        assert given.edge.asked is not None
        runs = session(given.edge.asked.path)
        name, pixels = given.edge.asked.inputs[0].name, given.images.pixels
        batches = (pixels[first : first + BATCH] for first in range(0, len(pixels), BATCH))
        said = [runs.run(["logits"], {name: batch})[0].argmax(axis=1) for batch in batches]
        np.save(kept, np.concatenate(said))
    loaded: NDArray[np.intp] = np.load(kept)
    return loaded


def read(options: argparse.Namespace) -> Given:
    bundle = load_bundle(options.bundle)
    calibration, data = (
        open_source(name, bundle.plan) for name in (options.calibration, options.data)
    )
    edge = edge_program(bundle.plan)
    ranges = calibration.pixels(np.arange(min(CALIBRATION, len(calibration))))
    images, device = images_of(data, options.count), device_named(options.device)
    folder = options.out / key_of(bundle, ranges, images, device)
    folder.mkdir(parents=True, exist_ok=True)
    return Given(bundle, edge, ranges, images, device, folder)


def key_of(bundle: Bundle, ranges: NDArray[np.uint8], images: Images, device: Device) -> str:
    """Return the name of the folder for what is given: other images or limits have another."""
    given = {
        "plan": bundle.plan.model_dump(mode="json", exclude={"programs"}),
        "programs": {name: held.sha256 for name, held in bundle.plan.programs.items()},
        "ranges": hash_array(ranges),
        "pixels": hash_array(images.pixels),
        "labels": None if images.labels is None else hash_array(images.labels),
        "device": device.model_dump(mode="json"),
    }
    return hash_json(given)[:16]


def images_of(data: Dataset, count: int | None) -> Images:
    rows = np.arange(len(data))[:count]
    return Images(data.pixels(rows), data.labels[rows])


def main() -> None:
    options = arguments()
    given = read(options)
    cloud = in_the_cloud(given)
    integers = {bits: in_integers(given, bits) for bits in (8, 16)}
    found = Found(
        edge=given.edge,
        labels=given.images.labels,
        cloud=cloud,
        integers={bits: report for bits, (report, _) in integers.items()},
        answers={bits: answers for bits, (_, answers) in integers.items()},
        qemu=in_qemu(given),
        serial=over_serial(given),
        device=given.device,
    )
    page = write_page(found)
    if options.page is None:
        print(page)
    else:
        options.page.write_text(page)


if __name__ == "__main__":
    main()
