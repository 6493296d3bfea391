"""Policies of the threshold over recorded uplinks: tuned on the first half, reported on the second.

Each trace is cut in the middle. On its first half, and on one half of the bundle's rehearsed
inputs, three are tuned: `fixed` (its threshold), `fixed` with a deadline (both), and `cost` (what a
point is worth, and its deadline). On the second half of the trace, and on the other half of the
inputs, they are reported. The yardstick is `fixed` at the coverage that is asked for:

- equal p95 latency: of what was no later than the yardstick on the first half, the most accurate;
- equal accuracy: of what was no less accurate on the first half, the one with the lowest p95, and
  the one with the lowest mean latency.

`coverage` is tuned on nothing but its target, and meets a stream whose classes change midway: four
fifths of the first half are of the five classes that the base finds easiest, of the second half of
the others. All by emulation.

    python benchmarks/policies.py runs/cifar10-resnet/bundle --page docs/results/policies.md

With `--json`, the figures of the last load are written.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from common import Row, report
from pages.policies import write_page

from hybridge.cost.device import devices
from hybridge.cost.price import Prices, price_plan
from hybridge.cost.reward import Reward
from hybridge.data.splits import halves
from hybridge.emulate.arrivals import at_fixed_rate
from hybridge.emulate.drive import emulate
from hybridge.emulate.emulation import Emulation, Summary
from hybridge.emulate.world import World
from hybridge.links.link import Link, links
from hybridge.links.read import read_trace
from hybridge.links.trace import Trace
from hybridge.plan.bundle import inspect_bundle
from hybridge.plan.plan import Plan
from hybridge.plan.rehearsal import Array, Rehearsal
from hybridge.plan.variants import with_threshold
from hybridge.progress import track
from hybridge.recipes.load import data_root
from hybridge.walk.observer import Observer
from hybridge.walk.threshold import Coverage, Fixed, Policy, WorthIt

UPLINKS = ("mahimahi/*.up", "orange-4g-uplink/**/*.pps", "solis-wifi-uplink/traces/*")
DEADLINES_MS = (None, 600.0, 400.0, 250.0, 120.0)
COVERAGES = (0.98, 0.94, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.5, 0.4, 0.3, 0.15, 0.0)
MS_PER_POINT = (0.5, 1.0, 2.0, 3.0, 4.5, 7.0, 10.0, 15.0, 22.0, 33.0, 50.0, 100.0, 200.0, 1000.0)
_REWARD = Reward()


@dataclass(frozen=True)
class Load:
    """What crosses the link, and how often.

    Attributes:
        name: What the page calls it.
        mean_bytes: What messages are scaled to on average; None as they are.
        rate: Requests a second.
    """

    name: str
    mean_bytes: float | None
    rate: float

    def of(self, rehearsal: Rehearsal) -> Rehearsal:
        """Return the rehearsal with messages of that size."""
        if self.mean_bytes is None:
            return rehearsal
        sizes = {
            key: np.maximum(1, np.rint(array * self.mean_bytes / array.mean())).astype(np.int64)
            for key, array in rehearsal.payload_bytes.items()
        }
        return replace(rehearsal, payload_bytes=sizes)


LOADS = (
    Load("images of 32 pixels as they are, 10 requests a second", None, 10.0),
    Load("messages of 50 KB, as of photographs, 4 requests a second", 50e3, 4.0),
)


@dataclass(frozen=True, eq=False)
class Advised(World):
    """A world whose policies know other inputs than those that come.

    Attributes:
        known: Rehearsal of the inputs that they know.
    """

    known: Rehearsal | None = None

    def observer(self, plan: Plan, rehearsal: Rehearsal) -> Observer:
        """Return what walks are advised by."""
        return super().observer(plan, self.known or rehearsal)


@dataclass(frozen=True)
class Choice:
    """A setting that may be chosen.

    Attributes:
        plan: With its threshold.
        policy: Of the threshold.
        deadline_ms: Time within which to answer, or None.
    """

    plan: Plan
    policy: Policy
    deadline_ms: float | None


@dataclass(frozen=True)
class Setting:
    """What all emulations share.

    Attributes:
        plan: The bundle's.
        prices: Of its programs.
        link: Round trip.
        known: Rehearsal of the inputs that are tuned on.
        unknown: Of those that are reported on.
        rate: Requests a second.
        requests: Of each emulation.
    """

    plan: Plan
    prices: Prices
    link: Link
    known: Rehearsal
    unknown: Rehearsal
    rate: float
    requests: int

    def at_coverage(self, coverage: float) -> Plan:
        """Return the plan that keeps that share of the known inputs."""
        threshold = float(np.quantile(self.known.score[()], coverage))
        return with_threshold(self.plan, threshold if coverage > 0 else -np.inf)

    def play(self, choice: Choice, trace: Trace, inputs: Rehearsal, count: int = 0) -> Emulation:
        """Return what becomes of requests."""
        world = Advised(
            self.prices,
            trace,
            self.link,
            choice.deadline_ms,
            policy=choice.policy,
            known=self.known,
        )
        arrivals = at_fixed_rate(self.rate, count or self.requests)
        return emulate(choice.plan, inputs, world, arrivals)

    def tuned(self, choice: Choice, trace: Trace) -> Summary:
        """Return the figures by which choices are made."""
        return self.play(choice, trace, self.known).summary(_REWARD)

    def reported(self, choice: Choice, trace: Trace) -> Summary:
        """Return the figures that count."""
        return self.play(choice, trace, self.unknown).summary(_REWARD)


#: Chooses among settings and their figures, given those of the yardstick.
Chooser = Callable[[list[tuple[Choice, Summary]], Summary], Choice]


def rows_of(rehearsal: Rehearsal, rows: Array) -> Rehearsal:
    """Return the rehearsal of some of its inputs, in that order."""
    tables = ("score", "probabilities", "payload_bytes", "held_out_score", "alone")
    taken = {
        name: {key: array[rows] for key, array in getattr(rehearsal, name).items()}
        for name in tables
    }
    return replace(rehearsal, truth=rehearsal.truth[rows], **taken)


def compared(setting: Setting, name: str, trace: Trace, coverage: float) -> Row:
    """Tune both policies on a trace's first half; report on the second what they differ by."""
    middle_s = trace.duration_s / 2
    first, second = trace.between(0, middle_s), trace.between(middle_s, trace.duration_s)
    bounded = [
        Choice(setting.at_coverage(each), Fixed(), deadline_ms)
        for each in COVERAGES
        for deadline_ms in DEADLINES_MS
    ]
    by_cost = [
        Choice(setting.plan, WorthIt(ms_per_point=each), deadline_ms)
        for each in MS_PER_POINT
        for deadline_ms in DEADLINES_MS
    ]
    yardstick = setting.tuned(Choice(setting.at_coverage(coverage), Fixed(), None), first)
    row: dict[str, float | str] = {"what": name}
    for kind, kept in (("yardstick", coverage), ("all sent", 0.0)):
        told = setting.reported(Choice(setting.at_coverage(kept), Fixed(), None), second)
        row[f"{kind} accuracy"] = 100 * told.accuracy
    found = {
        kind: [(each, setting.tuned(each, first)) for each in choices]
        for kind, choices in (("bounded", bounded), ("cost", by_cost))
    }
    found["fixed"] = [each for each in found["bounded"] if each[0].deadline_ms is None]
    for purpose, choose in CHOICES.items():
        for kind, tuned in found.items():
            told = setting.reported(choose(tuned, yardstick), second)
            row[f"{kind} accuracy, {purpose}"] = 100 * told.accuracy
            row[f"{kind} p95, {purpose}"] = told.p95_ms
            row[f"{kind} mean, {purpose}"] = told.latency_ms
    return row


def _most_accurate(tuned: list[tuple[Choice, Summary]], yardstick: Summary) -> Choice:
    in_time = [each for each in tuned if each[1].p95_ms <= yardstick.p95_ms]
    return max(in_time or tuned, key=lambda each: (each[1].accuracy, -each[1].p95_ms))[0]


def _quickest(tuned: list[tuple[Choice, Summary]], yardstick: Summary, figure: str) -> Choice:
    good = [each for each in tuned if each[1].accuracy >= yardstick.accuracy]
    if not good:
        return max(tuned, key=lambda each: each[1].accuracy)[0]
    return min(good, key=lambda each: (getattr(each[1], figure), -each[1].accuracy))[0]


CHOICES: dict[str, Chooser] = {
    "most accurate": _most_accurate,
    "lowest p95": partial(_quickest, figure="p95_ms"),
    "lowest mean": partial(_quickest, figure="latency_ms"),
}


def shifted(setting: Setting, seed: int) -> Array:
    """Return the order of inputs of a stream whose classes change midway: ``(requests,)``."""
    rng = np.random.default_rng(seed)
    known, unknown = setting.known, setting.unknown
    right = known.answers((0,)) == known.truth
    classes = np.unique(known.truth)
    ease = [right[known.truth == each].mean() for each in classes]
    easy = np.isin(unknown.truth, classes[np.argsort(ease)[len(classes) // 2 :]])
    half = setting.requests // 2
    parts = []
    for mostly in (easy, ~easy):
        of_them = rng.random(half) < 0.8
        pools = [np.flatnonzero(mostly), np.flatnonzero(~mostly)]
        parts.append(np.where(of_them, *(rng.choice(pool, half) for pool in pools)))
    return np.concatenate(parts)


def held(setting: Setting, trace: Trace, coverage: float, seed: int) -> tuple[Row, ...]:
    """Return how well the coverage is held under a shift of classes, by `coverage` and `fixed`."""
    order = shifted(setting, seed)
    inputs = rows_of(setting.unknown, order)
    rows = []
    for name, choice in (
        ("coverage", Choice(setting.plan, Coverage(coverage=coverage), None)),
        ("fixed", Choice(setting.at_coverage(coverage), Fixed(), None)),
    ):
        told = setting.play(choice, trace, inputs, len(order))
        kept = ~(told.asked | told.failed)
        windows = kept[: len(kept) // 500 * 500].reshape(-1, 500).mean(axis=1)
        before, after = np.array_split(kept, 2)
        rows.append(
            {
                "what": name,
                "target": 100 * coverage,
                "all": 100 * float(kept.mean()),
                "before": 100 * float(before.mean()),
                "after": 100 * float(after.mean()),
                "least of 500": 100 * float(windows.min()),
                "most of 500": 100 * float(windows.max()),
            }
        )
    return tuple(rows)


def _settings() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--trace", action="append", type=Path, help="all uplinks where left out")
    parser.add_argument("--device", default="xiaomi-mi6x")
    parser.add_argument("--cloud", default="gtx1080ti")
    parser.add_argument("--link", default="lte-near", help="whose round trip counts")
    parser.add_argument("--coverage", type=float, default=0.7)
    parser.add_argument("--requests", type=int, default=2500, help="of each emulation")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    parser.add_argument("--page", type=Path, help="page to write the results to")
    return parser.parse_args()


def _uplinks(settings: argparse.Namespace) -> Sequence[Path]:
    root = data_root() / "traces"
    return settings.trace or sorted(path for each in UPLINKS for path in root.glob(each))


def main() -> None:
    settings = _settings()
    bundle = inspect_bundle(settings.bundle)
    if bundle.rehearsal is None:
        raise SystemExit(f"{settings.bundle} holds no rehearsal; train it again")
    prices = price_plan(bundle.plan, devices.get(settings.device), devices.get(settings.cloud))
    traces = {path.name: read_trace(path) for path in _uplinks(settings)}
    settings.rounds = settings.requests
    found: dict[str, list[Row]] = {}
    for load in LOADS:
        rehearsal = load.of(bundle.rehearsal)
        known, unknown = (
            rows_of(rehearsal, rows) for rows in halves(len(rehearsal), settings.seed)
        )
        shares = (bundle.plan, prices, links.get(settings.link), known, unknown)
        setting = Setting(*shares, load.rate, settings.requests)
        found[load.name] = [
            compared(setting, name, trace, settings.coverage)
            for name, trace in track(list(traces.items()), "trace")
        ]
        report(load.name, found[load.name], settings)
        if load is LOADS[0]:
            longest = max(traces.values(), key=lambda trace: trace.duration_s)
            shifts = held(setting, longest, settings.coverage, settings.seed)
    settings.json = None
    report("coverage", shifts, settings)
    if settings.page is not None:
        write_page(settings.page, found, shifts, settings)


if __name__ == "__main__":
    main()
