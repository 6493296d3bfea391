"""Foresight: what could be had by a chooser that knew the trace ahead. No device can.

Letters: ``N`` rehearsed inputs.
"""

import math
from dataclasses import dataclass

import numpy as np

from hybridge.cost.operating import Floats
from hybridge.cost.reward import Reward
from hybridge.emulate.arrivals import Arrivals
from hybridge.emulate.drive import Passage, Replay
from hybridge.emulate.emulation import Emulation
from hybridge.emulate.script import Part, Script
from hybridge.emulate.world import World
from hybridge.plan.observation import Choice, Observation
from hybridge.plan.plan import Fork, Leaf, Node, Path, Plan, Step
from hybridge.plan.rehearsal import Rehearsal

#: Inputs of neighbouring scores over which an accuracy is taken, about, and bins at most.
_INPUTS_OF_BIN = 50
_MOST_BINS = 20


def emulate_foresight(
    plan: Plan, rehearsal: Rehearsal, world: World, arrivals: Arrivals, reward: Reward
) -> Emulation:
    """Play requests that take, at every fork, the branch that is best for each of them.

    Best is what brings the most ``reward``, from the latency that the branch will really have: its
    transfers through the trace that lies ahead, behind all that is queued already. Accuracy is
    what is to be expected of the branch from the request's score: its label is not known. A branch
    whose message would come too late is not taken while another is left.

    Args:
        plan: The plan; its own choosers are not asked.
        rehearsal: Played with its programs.
        world: What requests meet.
        arrivals: When they come.
        reward: What latency and accuracy are worth together.

    Raises:
        PlanError: The rehearsal does not fit the plan.
        ConfigError: A program has no price.
    """
    script = Script(plan, rehearsal, world.prices)
    choosers: list[_Foresight] = []

    def foresee(node: Node, path: Path) -> Node:
        match node:
            case Leaf():
                return node
            case Step():
                return node.model_copy(update={"then": foresee(node.then, path)})
            case Fork():
                chooser = _Foresight(_ways(script, rehearsal, path, reward), reward)
                choosers.append(chooser)
                children = tuple(
                    foresee(child, (*path, index)) for index, child in enumerate(node.children)
                )
                # It stands in no file, so it is none of the choosers that a plan may name.
                return node.model_copy(update={"chooser": chooser, "children": children})

    script.plan = plan.model_copy(update={"root": foresee(plan.root, ())})
    replay = Replay(script, world, world.observer(plan, rehearsal), arrivals.count)
    for chooser in choosers:
        chooser.replay = replay
    replay.play(arrivals)
    return replay.emulation()


def accuracy_by_score(rehearsal: Rehearsal, fork: Path, right: list[bool]) -> Floats:
    """Return how often a leaf is right on inputs that look, at a fork, like each of ``N``.

    That is its accuracy in the input's bin of about 50 neighbouring scores; over all inputs where
    the fork has no score. Bins are made of held-out scores where the rehearsal has them.

    Args:
        rehearsal: Of ``N`` inputs.
        fork: Where the score is seen.
        right: Whether the leaf is right on each input.
    """
    score, correct = rehearsal.score.get(fork), np.asarray(right, np.float64)
    if score is None:
        return np.full(len(correct), correct.mean())
    judged = rehearsal.held_out_score.get(fork, score)
    bins = min(max(len(correct) // _INPUTS_OF_BIN, 1), _MOST_BINS)
    edges = np.sort(judged)[np.arange(1, bins) * len(judged) // bins]
    bin_of = np.searchsorted(edges, judged, side="right")
    counts = np.bincount(bin_of, minlength=bins)
    sums = np.bincount(bin_of, weights=correct, minlength=bins)
    accuracy = np.where(counts > 0, sums / np.maximum(counts, 1), correct.mean())
    found: Floats = accuracy[np.searchsorted(edges, score, side="right")]
    return found


@dataclass(frozen=True, slots=True)
class _Way:
    """From a fork to one of the leaves below it.

    Attributes:
        child: Child of the fork that leads there.
        steps: What is to be run and sent, in order.
        worth: Reward of each input's accuracy there, before any latency.
    """

    child: int
    steps: tuple[tuple[Step, Part], ...]
    worth: list[float]


def _ways(script: Script, rehearsal: Rehearsal, fork: Path, reward: Reward) -> list[_Way]:
    """Return the ways from a fork to every leaf below it."""
    ways = []
    for leaf, ending in script.endings.items():
        if leaf[: len(fork)] != fork:
            continue
        steps = tuple(
            (step, script.parts[path, step.program])
            for path, step in script.plan.steps()
            if len(path) > len(fork) and leaf[: len(path)] == path
        )
        accuracy = accuracy_by_score(rehearsal, fork, ending.right)
        worth = reward.of(np.zeros_like(accuracy), accuracy)
        ways.append(_Way(leaf[len(fork)], steps, worth.tolist()))
    return ways


class _Foresight:
    """A chooser that looks at the world itself, where others look at an observation."""

    kind = "foresight"
    replay: Replay

    def __init__(self, ways: list[_Way], reward: Reward) -> None:
        self._ways = ways
        self._reward_of_ms = reward.latency_weight / reward.latency_limit_ms

    def choose(self, seen: Observation) -> Choice:
        """Choose the child that leads to the best leaf."""
        passage = self.replay.passage
        assert passage is not None
        best, child = -math.inf, self._ways[0].child
        for way in self._ways:
            latency_ms = self._ends_ms(way, passage, seen.left_ms) - passage.began_ms
            worth = way.worth[passage.input] - self._reward_of_ms * latency_ms
            if worth > best:
                best, child = worth, way.child
        return Choice(child, "best in foresight")

    def _ends_ms(self, way: _Way, passage: Passage, left_ms: float | None) -> float:
        """Return when a way would end; infinity where its message would come too late."""
        replay, link = self.replay, self.replay.world.link
        now_ms, edge_free_ms = passage.now_ms, replay.edge_free_ms
        by_ms = math.inf if left_ms is None else now_ms + left_ms
        for step, part in way.steps:
            if step.place == "edge":
                now_ms = edge_free_ms = max(now_ms, edge_free_ms) + part.takes_ms
                continue
            payload_bytes = part.sizes[step.codec][passage.input]
            limit_ms = now_ms + replay.timeout_ms if left_ms is None else by_ms
            now_ms = replay.channel.preview(now_ms / 1e3, payload_bytes) * 1e3
            now_ms += link.rtt_ms + link.handling_ms(payload_bytes) + part.takes_ms
            if now_ms > limit_ms:
                return math.inf
        return now_ms
