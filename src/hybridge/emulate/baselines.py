"""What a plan is compared with: the device alone, the cloud alone, one branch, foresight."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from hybridge.cost.reach import payloads_of
from hybridge.cost.reward import Reward
from hybridge.cost.spending import Priced
from hybridge.emulate.arrivals import Arrivals
from hybridge.emulate.drive import emulate
from hybridge.emulate.emulation import Emulation
from hybridge.emulate.foresight import emulate_foresight
from hybridge.emulate.script import Script, codec_to
from hybridge.emulate.world import World
from hybridge.errors import PlanError
from hybridge.plan.log import DecisionLog
from hybridge.plan.plan import Path, Plan
from hybridge.plan.rehearsal import Rehearsal
from hybridge.plan.variants import always_home, answering_alone, cloud_only, pinned

#: Ways to send an image that a plan is compared with: as it is, smaller at a loss, and without.
CODECS = ("raw", "jpeg-90", "webp")

PLAN, EDGE_ONLY, FIXED_PLAN, FORESIGHT = "plan", "edge only", "fixed plan", "foresight"


@dataclass(frozen=True)
class Comparison:
    """A plan beside its baselines, over the same requests.

    Attributes:
        methods: What became of the requests with each method; the plan itself first.
        left_out: Why a method is not among them, for each that is not.
    """

    methods: dict[str, Emulation]
    left_out: dict[str, str]


def compare(
    plan: Plan,
    rehearsal: Rehearsal,
    world: World,
    arrivals: Arrivals,
    reward: Reward,
    log: DecisionLog | None = None,
) -> Comparison:
    """Play the same requests against ``plan`` and every baseline.

    ``edge only`` always goes home; ``cloud only`` sends every input, once for each codec that was
    rehearsed; ``fixed plan`` takes the one branch that is best at the trace's mean bandwidth;
    ``foresight`` knows the trace ahead (see `emulate_foresight`).

    Args:
        plan: The plan.
        rehearsal: Played with its programs.
        world: What requests meet.
        arrivals: When they come.
        reward: What makes a branch the best.
        log: Where the plan's own decisions are written, or None.

    Raises:
        PlanError: The rehearsal does not fit the plan.
        ConfigError: A program has no price.
    """
    done = Comparison({PLAN: emulate(plan, rehearsal, world, arrivals, log)}, {})
    world = world.plain
    baselines: dict[str, Callable[[], Emulation]] = {
        EDGE_ONLY: lambda: emulate(always_home(plan), rehearsal, world, arrivals),
        **{
            f"cloud only, {codec}": partial(_cloud_only, plan, rehearsal, world, arrivals, codec)
            for codec in CODECS
        },
        FIXED_PLAN: partial(_fixed_plan, plan, rehearsal, world, arrivals, reward),
        FORESIGHT: partial(emulate_foresight, plan, rehearsal, world, arrivals, reward),
    }
    for name, play in baselines.items():
        try:
            done.methods[name] = play()
        except PlanError as error:
            done.left_out[name] = str(error)
    return done


def codecs_of(plan: Plan) -> tuple[str, ...]:
    """Return the codecs to rehearse besides the plan's own, so that baselines can be played."""
    sends_images = plan.geometry is not None and any(answering_alone(plan))
    return CODECS if sends_images else ()


def best_branch(plan: Plan, rehearsal: Rehearsal, world: World, reward: Reward) -> Path:
    """Return the leaf of best reward if every request took its branch, at the mean bandwidth.

    Queueing is left out. A branch that asks the cloud is not taken where most of its answers would
    come too late, as long as another is left.
    """
    script = Script(plan, rehearsal, world.prices)
    return max(script.endings, key=lambda leaf: _worth(script, rehearsal, world, reward, leaf))


def _worth(script: Script, rehearsal: Rehearsal, world: World, reward: Reward, leaf: Path) -> float:
    link, asks = world.link, codec_to(script.plan, leaf) is not None
    if asks:
        if world.trace.mean_bps == 0:
            return -np.inf
        link = replace(link, bandwidth_bps=world.trace.mean_bps)
    spent = Priced(script.plan, world.prices, link, payloads_of(rehearsal)).to_leaf(leaf)
    latency_ms = np.broadcast_to(spent.latency_ms, len(rehearsal))
    within_ms = world.within_ms
    limit_ms = world.longest_ms + spent.edge_ms if within_ms is None else within_ms
    if asks and np.mean(latency_ms > limit_ms) > 0.5:
        return -np.inf
    return reward.of(float(latency_ms.mean()), float(np.mean(script.endings[leaf].right)))


def _fixed_plan(
    plan: Plan, rehearsal: Rehearsal, world: World, arrivals: Arrivals, reward: Reward
) -> Emulation:
    leaf = best_branch(plan, rehearsal, world, reward)
    return emulate(pinned(plan, leaf), rehearsal, world, arrivals)


def _cloud_only(
    plan: Plan, rehearsal: Rehearsal, world: World, arrivals: Arrivals, codec: str
) -> Emulation:
    """Play the cloud alone, with what the rehearsal knows of it."""
    alone = cloud_only(plan, codec)
    path, step, _ = next(answering_alone(plan))
    said = rehearsal.alone.get((step.program, codec))
    payload_bytes = rehearsal.payload_bytes.get((path, codec))
    if said is None or payload_bytes is None:
        raise PlanError(
            f"what {step.program!r} says of {codec} inputs by itself was not rehearsed; "
            "rehearse the plan again"
        )
    known = replace(
        rehearsal,
        score={},
        held_out_score={},
        probabilities={((), codec): said},
        payload_bytes={((), codec): payload_bytes},
    )
    return emulate(alone, known, world, arrivals)
