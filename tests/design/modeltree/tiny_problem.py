"""A problem like VGG11 on a phone, small enough to try every tree: 3 blocks, 2 types."""

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from hybridge.design.modeltree.choices import KEEP, BlockSpace, Slot, Space
from hybridge.design.modeltree.problem import AccuracyFloor, TreeProblem
from hybridge.design.search.problem import Measured
from hybridge.links.link import Link

POOR, GOOD = Link(1e6, 40), Link(8e6, 40)
ORIGINAL = 0.92


def slot(name, *options, kind="conv", channels=64, crossing=()):
    return Slot(name, kind, 3, 1, 1, channels, channels, (KEEP, *options), frozenset(crossing))


def tiny_space(types=2):
    """At most six variants a block, in 216 compositions; every unit may be cut but the first."""
    first = BlockSpace(
        ((slot("a", "C1"),), (), (slot("b", "C1", "C3", channels=128),)), cuts=(0, 1, 2)
    )
    second = BlockSpace(
        ((slot("c", "C1", "W1", channels=256, crossing=("W1",)),), (slot("d", "C2"),)), cuts=(0, 1)
    )
    third = BlockSpace(
        (
            (slot("e", "C2", channels=512),),
            (slot("f", "F1", "F3", kind="linear", channels=10),),
        ),
        cuts=(0, 1),
    )
    return Space((first, second, third), types)


@dataclass
class TinyCosts:
    """Edge times add up per layer; what is compressed takes part of the time."""

    space: Space
    layer_ms: dict[str, float]
    option_share: dict[tuple[str, str], float]
    bytes_at: dict[tuple[int, int], float]

    def edge_ms(self, level, choice):
        slots = self.space.blocks[level].slots
        return sum(
            self.layer_ms[s.name] * self.option_share.get((s.name, option), 1.0)
            for s, option in zip(slots, choice.options, strict=False)
        )

    def cloud_ms(self, level, cut):
        return 0.5 * (3 - level)

    def payload_bytes(self, level, cut):
        return self.bytes_at[level, cut]


@dataclass
class TinyEvaluator:
    """What layers lose adds up, pairs of compressed neighbours lose more, and there is noise."""

    loss: dict[tuple[str, str], float]
    pair_loss: dict[tuple[str, str], float]
    space: Space
    seed: int
    asked: list = field(default_factory=list)

    def accuracy(self, composition):
        self.asked.append(composition)
        names = [s.name for s in self.space.slots]
        lost = sum(
            self.loss.get((name, option), 0.0)
            for name, option in zip(names, composition, strict=True)
        )
        for index in range(len(names) - 1):
            if KEEP not in composition[index : index + 2]:
                lost += self.pair_loss[names[index], names[index + 1]]
        digest = np.random.default_rng([self.seed, *map(ord, "".join(composition))])
        noise = digest.normal(0, 0.002) if set(composition) != {KEEP} else 0.0
        return Measured(float(np.clip(ORIGINAL - lost + noise, 0.1, 1.0)), 2.0)


def tiny_problem(seed=0, floor=None, links=(POOR, GOOD), edge_ms=44.0):
    """Costs and accuracies are drawn from ``seed``; the whole takes ``edge_ms`` on the edge."""
    random = np.random.default_rng(seed)
    space = tiny_space(len(links))
    slots = space.slots
    layer_ms = random.dirichlet(np.full(len(slots), 3.0)) * edge_ms
    pairs = [(s.name, option) for s in slots for option in s.options[1:]]
    sizes = {
        (level, cut): 2000.0 * random.uniform(0.5, 2.0)
        for level, block in enumerate(space.blocks)
        for cut in block.cuts
    }
    costs = TinyCosts(
        space,
        {s.name: float(ms) for s, ms in zip(slots, layer_ms, strict=True)},
        {pair: float(random.uniform(0.2, 0.7)) for pair in pairs},
        sizes,
    )
    evaluator = TinyEvaluator(
        {pair: float(random.uniform(0.0, 0.04)) for pair in pairs},
        {(s.name, after.name): float(random.uniform(0, 0.02)) for s, after in pairwise(slots)},
        space,
        seed,
    )
    held = None if floor is None else AccuracyFloor(floor)
    return TreeProblem(space, links, costs, evaluator, floor=held)
