"""Does anything but our own errors come out, whatever goes in?

Two targets: `wire` takes the bytes of a request or of a reply, as either end does, up to the
decoded tensors; `bundle` takes one file of a bundle, as it is or with a manifest that agrees with
it. Inputs are mutated from valid ones: by Atheris (libFuzzer), which follows what the code does
with them, where that is installed, else at random, from a seed.

    python benchmarks/fuzz.py wire --minutes 10

Prints how many inputs were tried, what crashed, the slowest, and how much memory grew. An input
that crashed is kept under `--out`; the exit code is then 1.
"""

import argparse
import faulthandler
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from fuzzing.mutations import mutated

from hybridge.errors import HybridgeError

ROOT = Path(__file__).resolve().parents[1]
_MEMORY = Path("/dev/shm")
#: Runs before memory is measured: caches fill, and modules load.
WARM_UP = 500


class Target(Protocol):
    """What is fuzzed: inputs that are valid, and what reads any input."""

    seeds: list[bytes]

    def run(self, data: bytes) -> None:
        """Read ``data``; a `HybridgeError` is a refusal, anything else that is raised a crash."""


@dataclass
class Tally:
    """What came of all inputs.

    Attributes:
        runs: Inputs that were tried.
        refused: Those of them that raised an error of ours.
        crashes: How often anything else came out, by what it was and where.
        slowest_ms: Time that the slowest input took.
        slowest: That input.
        memory_grew_bytes: Resident memory at the end, less that after `WARM_UP` runs.
    """

    runs: int = 0
    refused: int = 0
    crashes: dict[str, int] = field(default_factory=dict)
    slowest_ms: float = 0.0
    slowest: bytes = b""
    memory_grew_bytes: int = 0

    def try_(self, target: Target, data: bytes) -> str | None:
        """Try one input; return what crashed, the first time that it does."""
        began_s = time.perf_counter()
        crash = None
        try:
            target.run(data)
        except HybridgeError:
            self.refused += 1
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            crash = f"{type(error).__name__} at {Path(where.filename).name}:{where.lineno}"
            self.crashes[crash] = self.crashes.get(crash, 0) + 1
        self.runs += 1
        took_ms = (time.perf_counter() - began_s) * 1e3
        if took_ms > self.slowest_ms:
            self.slowest_ms, self.slowest = took_ms, data
        return crash if crash is not None and self.crashes[crash] == 1 else None


def fuzz(target: Target, rng: random.Random, seconds: float, out: Path, last: Path) -> Tally:
    """Try mutated inputs for so long; those that crash stay in ``out``, the last in ``last``."""
    tally = Tally()
    for seed in target.seeds:
        target.run(seed)  # what is valid must be taken
    ends_s = time.monotonic() + seconds
    warm_bytes = _resident_bytes()
    while time.monotonic() < ends_s:
        data = mutated(rng.choice(target.seeds), target.seeds, rng)
        # Where native code takes the process down, this is the input that did.
        last.write_bytes(data)
        if (crash := tally.try_(target, data)) is not None:
            (out / f"crash-{len(tally.crashes)}.bin").write_bytes(data)
            print(f"crash: {crash}, kept as crash-{len(tally.crashes)}.bin", flush=True)
        if tally.runs == WARM_UP:
            warm_bytes = _resident_bytes()
    tally.memory_grew_bytes = _resident_bytes() - warm_bytes
    (out / "slowest.bin").write_bytes(tally.slowest)
    return tally


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def fuzz_with_atheris(atheris: Any, target: Target, seconds: float, out: Path) -> None:
    """Let libFuzzer look for a crash; it prints its own figures, and ends the process."""
    corpus = out / "corpus"
    corpus.mkdir(exist_ok=True)
    for number, seed in enumerate(target.seeds):
        (corpus / f"seed-{number}").write_bytes(seed)

    def one(data: bytes) -> None:
        try:
            target.run(data)
        except HybridgeError:
            return

    atheris.instrument_all()
    limits = [f"-max_total_time={seconds:.0f}", "-print_final_stats=1", f"-artifact_prefix={out}/"]
    atheris.Setup([sys.argv[0], str(corpus), *limits], one)
    atheris.Fuzz()


def target_named(name: str, scratch: Path) -> Target:
    """Return a target, which may write in ``scratch``."""
    # Tests share tiny plans, which are what is mutated.
    sys.path.append(str(ROOT / "tests"))
    from fuzzing.targets import Bundles, Wire

    return Wire() if name == "wire" else Bundles(scratch)


def main() -> int:
    """Fuzz what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", choices=["wire", "bundle"])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0, help="of random mutations")
    parser.add_argument("--out", type=Path, default=ROOT / "runs/fuzz", help="for what is kept")
    settings = parser.parse_args()
    out, seconds = settings.out / settings.target, settings.minutes * 60
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    faulthandler.enable()
    # In memory: a disk would be what is waited for. Left there where the process dies.
    scratch = Path(tempfile.mkdtemp(prefix="fuzz-", dir=_MEMORY if _MEMORY.is_dir() else None))
    target = target_named(settings.target, scratch)
    try:
        import atheris
    except ModuleNotFoundError:
        print(f"mutating at random; the last input is in {scratch}/last.bin", flush=True)
        rng = random.Random(settings.seed)
        tally = fuzz(target, rng, seconds, out, scratch / "last.bin")
        shutil.rmtree(scratch)
    else:
        fuzz_with_atheris(atheris, target, seconds, out)
        return 0
    print(f"{settings.target}: {tally.runs:,} inputs, of which {tally.refused:,} were refused")
    print(f"crashes: {sum(tally.crashes.values())} {tally.crashes or ''}")
    print(f"slowest: {tally.slowest_ms:.1f} ms, {len(tally.slowest)} bytes, kept as slowest.bin")
    print(f"memory grew by {tally.memory_grew_bytes / 2**20:.1f} MiB after {WARM_UP} inputs")
    return 1 if tally.crashes else 0


if __name__ == "__main__":
    sys.exit(main())
