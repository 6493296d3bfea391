"""A world whose every time is easily worked out by hand."""

import numpy as np

from hybridge.cost.device import devices
from hybridge.cost.price import Prices
from hybridge.emulate.world import World
from hybridge.links.link import Link
from hybridge.links.trace import Trace
from hybridge.plan.rehearsal import Rehearsal

EDGE_MS = 10.0
CLOUD_MS = 5.0
RTT_MS = 20.0
#: Bit/s at which the 48 bytes of a tiny image take as many milliseconds.
BPS = 8000.0
SENDING_MS = 48.0
SENT_MS = EDGE_MS + SENDING_MS + RTT_MS + CLOUD_MS
KEEP, SEND = -1.0, 1.0


def prices(edge_ms=EDGE_MS, cloud_ms=CLOUD_MS, device="galaxy-note8"):
    return Prices(devices.get(device), {"base": edge_ms}, {"global": cloud_ms})


PRICES = prices()


def world(trace=None, rtt_ms=RTT_MS, message_ms=0.0, prices=PRICES, **more):
    link = Link(1e6, rtt_ms, message_ms=message_ms)
    return World(prices, trace or Trace.constant(BPS), link, **more)


def random_rehearsal(plan, rng, count=5):
    """A rehearsal of any plan, in which everything is drawn at random."""
    paths = {placed.path: placed.node for placed in plan.nodes()}
    leaves = [path for path, node in paths.items() if node.kind == "leaf"]
    asks = [(path, step.codec) for path, step in plan.steps("cloud")]

    def codec_to(leaf):
        return next((codec for path, codec in asks if leaf[: len(path)] == path), None)

    return Rehearsal(
        fingerprint="f" * 64,
        programs={name: program.sha256 for name, program in plan.programs.items()},
        truth=rng.integers(3, size=count),
        score={path: rng.normal(size=count) for path, node in paths.items() if node.kind == "fork"},
        probabilities={
            (leaf, codec_to(leaf)): rng.random((count, 3), np.float32) for leaf in leaves
        },
        payload_bytes={ask: rng.integers(1, 100, size=count) for ask in asks},
    )
