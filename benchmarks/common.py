"""What every benchmark shares: interleaved timing, random networks, a table, JSON on request."""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from hybridge.design.nets import PixelNetwork, build, networks
from hybridge.plan.tensors import TensorSpec

Row = Mapping[str, float | str]
PIXELS = TensorSpec(name="pixels", dtype="uint8", shape=(32, 32, 3))
CLASSES = 10


def arguments(about: str | None, rounds: int) -> argparse.Namespace:
    """Return ``rounds``, ``seed`` and ``json``, as given on the command line."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--rounds", type=int, default=rounds, help="repetitions")
    parser.add_argument("--seed", type=int, default=0, help="of weights and inputs")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    return parser.parse_args()


def random_network(name: str, seed: int) -> PixelNetwork:
    """Return a registered network of ten classes, with random weights: time does not know."""
    info = networks.get(name)
    torch.manual_seed(seed)
    return PixelNetwork(build(name, CLASSES), info.mean, info.std).eval()


def random_pixels(count: int, seed: int) -> NDArray[np.uint8]:
    """Return ``(count, 32, 32, 3)`` pixels."""
    return np.random.default_rng(seed).integers(0, 256, (count, *PIXELS.shape), np.uint8)


def session(path: Path) -> onnxruntime.InferenceSession:
    """Return a session on one thread, as the runtime makes it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def interleaved_us(
    calls: Sequence[Callable[[], object]], rounds: int, warmup: int = 50, block: int = 1
) -> NDArray[np.float64]:
    """Return microseconds of every call, ``(calls, rounds)``.

    All are called in turn, and in reverse order in every second turn, so that a load from
    elsewhere falls on each of them alike.

    Args:
        calls: What is timed.
        rounds: How often each is timed.
        warmup: Turns that are not counted.
        block: How often each is called in its turn. With more than one, it finds the caches as
            it left them, and not as another call did.
    """
    times = np.empty((len(calls), rounds))
    order = list(enumerate(calls))
    for first in range(-warmup * block, rounds, block):
        order.reverse()
        for index, call in order:
            for number in range(first, min(first + block, rounds)):
                began = time.perf_counter_ns()
                call()
                if number >= 0:
                    times[index, number] = (time.perf_counter_ns() - began) / 1e3
    return times


def compare(what: str, baseline: NDArray[np.float64], other: NDArray[np.float64]) -> Row:
    """Return medians, and medians of the paired ratio and difference, of times in microseconds."""
    return {
        "what": what,
        "baseline_us": float(np.median(baseline)),
        "other_us": float(np.median(other)),
        "ratio": float(np.median(other / baseline)),
        "difference_us": float(np.median(other - baseline)),
    }


def report(title: str, rows: Sequence[Row], settings: argparse.Namespace) -> None:
    """Print ``rows`` as a table, and write them to ``settings.json`` where it is given."""
    table = Table(title=title)
    for column in rows[0]:
        table.add_column(column, justify="left" if column == "what" else "right")
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    Console(width=120).print(table)
    conditions = {
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "rounds": settings.rounds,
        "seed": settings.seed,
    }
    print(", ".join(f"{name} {value}" for name, value in conditions.items()))
    if settings.json is not None:
        content = {
            "benchmark": Path(sys.argv[0]).stem,
            "machine": platform.machine(),
            "python": platform.python_version(),
            "onnxruntime": onnxruntime.__version__,
            "torch": torch.__version__,
            **conditions,
            "rows": [dict(row) for row in rows],
        }
        settings.json.write_text(json.dumps(content, indent=2) + "\n")


def _cell(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:,.3f}"
