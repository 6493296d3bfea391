"""What the router adds to the base in one ONNX graph, at batch 1 on one thread.

Bound: a median ratio of at most 1.02, or a median difference of at most 50 microseconds. The
baseline is cifar_resnet20 alone; the others end in a score.
"""

import tempfile
from functools import partial
from pathlib import Path

import torch
from common import (
    CLASSES,
    PIXELS,
    arguments,
    compare,
    interleaved_us,
    random_network,
    random_pixels,
    report,
    session,
)
from torch import nn

from hybridge.design.export.onnx import freeze
from hybridge.design.query.fold import fold
from hybridge.design.query.make_plan import RoutedBase
from hybridge.design.query.router import Anchor, Router, RouterSettings
from hybridge.design.query.scores import Confidence


def variants(seed: int) -> dict[str, nn.Module]:
    base = random_network("cifar_resnet20", seed)
    anchor = Anchor(Confidence("entropy", 1.3), slope=2.0, offset=-1.0)
    router = Router(CLASSES, RouterSettings(), anchor).eval()
    reads_features = Router(CLASSES, RouterSettings(), anchor, embedding_width=64).eval()
    return {
        "router, as deployed": RoutedBase(base, fold(router)),
        "router, before folding": RoutedBase(base, router),
        "router that reads the base's features": RoutedBase(base, fold(reads_features)),
        "entropy alone": RoutedBase(base, Confidence("entropy")),
    }


def main() -> None:
    settings = arguments(__doc__, rounds=500)
    torch.set_num_threads(1)
    feed = {"pixels": random_pixels(1, settings.seed)}
    rows = []
    with tempfile.TemporaryDirectory() as folder:

        def frozen(module: nn.Module, outputs: tuple[str, ...]) -> partial[list[object]]:
            program = freeze(module, "program", PIXELS, outputs, None, Path(folder))
            assert program.path is not None
            return partial(session(program.path).run, None, feed)

        alone = frozen(random_network("cifar_resnet20", settings.seed), ("logits",))
        for what, module in variants(settings.seed).items():
            # Two at a time: more would push each other's weights out of the cache.
            calls = [alone, frozen(module, ("logits", "score"))]
            rows.append(compare(what, *interleaved_us(calls, settings.rounds)))
    report("Base and router in one graph, against cifar_resnet20 alone", rows, settings)


if __name__ == "__main__":
    main()
