"""What `EdgeRuntime.predict` adds to the bare session, for inputs that stay on the edge.

Bound: a median ratio of at most 1.05, or a median difference of at most 100 microseconds. They
take turns of twenty calls, since a device runs one or the other, and not each with cold caches.
"""

import math
import tempfile
from pathlib import Path

import torch
from common import (
    CLASSES,
    arguments,
    compare,
    interleaved_us,
    random_network,
    random_pixels,
    report,
    session,
)

from hybridge.design.query.make_plan import make_plan
from hybridge.design.query.router import Anchor, Router, RouterSettings
from hybridge.design.query.scores import Confidence
from hybridge.plan.bundle import Bundle
from hybridge.plan.plan import Plan
from hybridge.plan.tensors import Geometry
from hybridge.runtime.edge.edge import EdgeRuntime


def plan_with(base: str, seed: int, folder: Path) -> Plan:
    """Return a plan whose threshold keeps everything."""
    anchor = Anchor(Confidence("entropy"), slope=2.0, offset=-1.0)
    return make_plan(
        random_network(base, seed),
        Router(CLASSES, RouterSettings(), anchor).eval(),
        random_network("cifar_resnet8", seed),
        geometry=Geometry(height=32, width=32),
        class_names=tuple(map(str, range(CLASSES))),
        directory=folder,
        threshold=math.inf,
    )


def main() -> None:
    settings = arguments(__doc__, rounds=1000)
    torch.set_num_threads(1)
    pixels = random_pixels(1, settings.seed)
    rows = []
    for base in ("cifar_resnet8", "cifar_resnet20"):
        with tempfile.TemporaryDirectory() as folder:
            plan = plan_with(base, settings.seed, Path(folder))
            path = plan.programs["base"].path
            assert path is not None
            runtime, bare = EdgeRuntime(Bundle(plan)), session(path)
        calls = [
            lambda run=bare.run: run(None, {"pixels": pixels}),
            lambda predict=runtime.predict: predict(pixels[0]),
        ]
        rows.append(compare(base, *interleaved_us(calls, settings.rounds, block=20)))
    report("EdgeRuntime.predict, against session.run", rows, settings)


if __name__ == "__main__":
    main()
