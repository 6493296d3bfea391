"""The branches of a model tree's bundle: what leads there, what runs, what it costs and is worth.

Everything comes from the plan, its rehearsal and what the bundle says of its recipe.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hybridge.cost.device import Device, device_named
from hybridge.cost.price import Prices, price_plan
from hybridge.cost.reach import payloads_of
from hybridge.cost.reward import Reward
from hybridge.cost.spending import Priced, Spending
from hybridge.errors import HybridgeError
from hybridge.links.link import Link
from hybridge.plan.bundle import Bundle
from hybridge.plan.choosers import ByBandwidth
from hybridge.plan.plan import Fork, Path, Plan, Step
from hybridge.plan.rehearsal import Rehearsal
from hybridge.report.tables import Column, Table
from hybridge.report.values import format_value


@dataclass(frozen=True)
class BranchRow:
    """A branch of a tree, from the root to a leaf.

    Attributes:
        path: Of the leaf.
        leads: What leads there, in words.
        programs: Programs that run on the edge, in order.
        cloud: Program that goes on in the cloud, or None.
        compressed: What is compressed, by the name of each layer; None where that is not known.
        cut: Layer before which the network goes on in the cloud; None where it does not, or where
            that is not known.
        codec: How what is sent is encoded, or None.
        payload_bytes: Mean encoded bytes that are sent, or None where nothing is.
        accuracy: Share of the rehearsed images that it answers right, or None.
        edge_ms: Time on the device; None where it cannot be priced, like the next three.
        link_ms: Time of the transfer, at the type of bandwidth that was met last.
        cloud_ms: Time in the cloud.
        reward: Of time and accuracy together.
    """

    path: Path
    leads: str
    programs: tuple[str, ...]
    cloud: str | None
    compressed: Mapping[str, str] | None
    cut: str | None
    codec: str | None
    payload_bytes: float | None
    accuracy: float | None
    edge_ms: float | None = None
    link_ms: float | None = None
    cloud_ms: float | None = None
    reward: float | None = None

    @property
    def latency_ms(self) -> float | None:
        """All times together, or None where they are not known."""
        if self.edge_ms is None or self.link_ms is None or self.cloud_ms is None:
            return None
        return self.edge_ms + self.link_ms + self.cloud_ms


def branches(bundle: Bundle) -> list[BranchRow]:
    """Return a row for every leaf of a tree's plan, depth first.

    Times are left out where the bundle's device, cloud or link cannot be looked up.
    """
    pricing = _pricing(bundle)
    return [_row(bundle, pricing, path) for path, _ in bundle.plan.leaves()]


def branch_table(bundle: Bundle) -> Table:
    """Return every branch of a tree: programs, what is sent, times, accuracy, reward."""
    rows = branches(bundle)
    columns = (
        *(Column("Branch"), Column("On the edge"), Column("Compressed"), Column("Cut before")),
        *(Column("Codec"), Column("Sent", "bytes"), Column("Edge", "ms"), Column("Link", "ms")),
        *(Column("In cloud", "ms"), Column("Accuracy", "percent"), Column("Reward", "number")),
    )
    lines = [
        (
            *(row.leads, ", ".join(row.programs) or None, _compressed(row), _cut(row), row.codec),
            *(row.payload_bytes, row.edge_ms, row.link_ms or None, row.cloud_ms or None),
            row.accuracy,
            None if row.reward is None else f"{row.reward:.1f}",
        )
        for row in rows
    ]
    return Table(columns, lines, _caption(bundle))


def branch_notes(bundle: Bundle) -> dict[Path, list[str]]:
    """Return what a drawing says at the leaves and forks of a tree, by their paths.

    A leaf: reward, bytes, times and accuracy. A fork by bandwidth: the expected reward, every type
    as likely as another.
    """
    rows = {row.path: row for row in branches(bundle)}
    notes = {path: list(_notes(row)) for path, row in rows.items()}
    rewards: dict[Path, float | None] = {path: row.reward for path, row in rows.items()}
    forks = [each for each in bundle.plan.nodes() if isinstance(each.node, Fork)]
    for placed in reversed(forks):
        assert isinstance(placed.node, Fork)
        kinds = range(_kinds(placed.node))
        below = [rewards[*placed.path, kind] for kind in kinds]
        known = [reward for reward in below if reward is not None]
        mean = sum(known) / len(known) if len(known) == len(below) else None
        rewards[placed.path] = mean
        if mean is not None:
            notes[placed.path] = [f"expected reward {mean:.1f}"]
    return notes


def _kinds(fork: Fork) -> int:
    """Return between how many of its children a fork chooses, all as likely; a home is none."""
    return len(fork.children) - (fork.home is not None)


def _notes(row: BranchRow) -> list[str]:
    found = [] if row.reward is None else [f"reward {row.reward:.1f}"]
    if row.payload_bytes is not None:
        found.append(f"{format_value(row.payload_bytes, 'bytes')} sent")
    times = (("edge", row.edge_ms), ("link", row.link_ms), ("cloud", row.cloud_ms))
    found += [f"{name} {format_value(took, 'ms')}" for name, took in times if took]
    return found if row.accuracy is None else [*found, f"{100 * row.accuracy:.1f} % right"]


@dataclass(frozen=True)
class _Pricing:
    """What prices the branches of a tree, where all of it is known.

    Attributes:
        prices: Of its programs.
        link: At the median bandwidth.
        typical_bps: What stands for each type of bandwidth.
        reward: Of latency and accuracy.
    """

    prices: Prices
    link: Link
    typical_bps: Sequence[float]
    reward: Reward

    def link_of(self, fork: Fork | None, child: int) -> Link:
        """Return the link under which the child of a fork is taken."""
        if fork is None or not isinstance(fork.chooser, ByBandwidth):
            return self.link
        borders = fork.chooser.borders_bps
        if child > len(borders):  # A home, which sends nothing.
            return self.link
        if len(self.typical_bps) == len(borders) + 1:
            return replace(self.link, bandwidth_bps=self.typical_bps[child])
        low = borders[child - 1] if child else 0.0
        high = borders[child] if child < len(borders) else float("inf")
        return replace(self.link, bandwidth_bps=min(max(self.link.bandwidth_bps, low), high))


def _pricing(bundle: Bundle) -> _Pricing | None:
    """Return what prices a bundle's branches, or None where something of it is not known."""
    metadata: Any = bundle.metadata
    try:
        recipe = metadata["recipe"]
        return _Pricing(
            prices=price_plan(bundle.plan, _device(metadata), device_named(recipe["cloud"])),
            link=Link(**metadata["link"]),
            typical_bps=[1e6 * mbps for mbps in metadata["types_mbps"]],
            reward=Reward.model_validate(recipe["reward"]),
        )
    except (HybridgeError, KeyError, TypeError, ValueError):
        return None  # of another machine, or an older make: the table does without


def _device(metadata: Mapping[str, Any]) -> Device:
    """Return the device of the bundle, which is one of its recipe's; a KeyError where it is not."""
    for context in metadata["recipe"]["contexts"]:
        device = device_named(context["device"]).slowed(context["slower"])
        if device.name == metadata["device"]:
            return device
    raise KeyError(metadata["device"])


def _row(bundle: Bundle, pricing: _Pricing | None, leaf: Path) -> BranchRow:
    plan, rehearsal = bundle.plan, bundle.rehearsal
    steps = [(path, step) for path, step in plan.steps() if leaf[: len(path)] == path]
    edge = tuple(step.program for _, step in steps if step.place == "edge")
    sent = next(((path, step) for path, step in steps if step.place == "cloud"), None)
    codec = None if sent is None else sent[1].codec
    known = _known(bundle.metadata, leaf)
    row = BranchRow(
        path=leaf,
        leads=_leads(plan, leaf),
        programs=edge,
        cloud=None if sent is None else sent[1].program,
        compressed=None if known is None else known["compressed"],
        cut=None if known is None else known["cut"],
        codec=codec,
        payload_bytes=_sent_bytes(rehearsal, sent),
        accuracy=_accuracy(rehearsal, leaf, codec),
    )
    return row if pricing is None or rehearsal is None else _priced(row, plan, pricing, rehearsal)


def _priced(row: BranchRow, plan: Plan, pricing: _Pricing, rehearsal: Rehearsal) -> BranchRow:
    forks = _forks(plan)

    def link_at(path: Path) -> Link:
        return pricing.link_of(forks.get(path[:-1]), path[-1]) if path else pricing.link

    spent = Priced(plan, pricing.prices, link_at, payloads_of(rehearsal)).to_leaf(row.path).mean()
    edge_ms, cloud_ms = float(spent.edge_ms), float(spent.cloud_ms)
    row = replace(row, edge_ms=edge_ms, link_ms=_link_ms(spent), cloud_ms=cloud_ms)
    assert row.latency_ms is not None
    if row.accuracy is None:
        return row
    return replace(row, reward=pricing.reward.of(row.latency_ms, row.accuracy))


def _link_ms(spent: Spending) -> float:
    return float(spent.sending_ms) + float(spent.round_trip_ms)


def _sent_bytes(rehearsal: Rehearsal | None, sent: tuple[Path, Step] | None) -> float | None:
    if rehearsal is None or sent is None:
        return None
    return float(np.mean(rehearsal.payload_bytes[sent[0], sent[1].codec]))


def _accuracy(rehearsal: Rehearsal | None, leaf: Path, codec: str | None) -> float | None:
    if rehearsal is None:
        return None
    return float(np.mean(rehearsal.answers(leaf, codec) == rehearsal.truth))


def _leads(plan: Plan, leaf: Path) -> str:
    """Return what is chosen at every fork on the way to a leaf."""
    forks, words = _forks(plan), []
    for level, child in enumerate(leaf):
        fork = forks[leaf[:level]]
        words.append("home" if child == fork.home else fork.chooser.describe(child))
    # What is compared is the same at every fork: it is named once.
    first, *others = words or ["always"]
    return ", then ".join((first, *(word.removeprefix("bandwidth ") for word in others)))


def _forks(plan: Plan) -> dict[Path, Fork]:
    return {each.path: each.node for each in plan.nodes() if isinstance(each.node, Fork)}


def _known(metadata: Mapping[str, Any], leaf: Path) -> Mapping[str, Any] | None:
    """Return what the bundle says of a branch, or None where it says nothing."""
    said: Sequence[Mapping[str, Any]] = metadata.get("branches", ())
    return next((branch for branch in said if tuple(branch["path"]) == leaf), None)


def _compressed(row: BranchRow) -> str | None:
    if row.compressed is None:
        return None
    found = (f"{_short(layer)} {option}" for layer, option in row.compressed.items())
    return ", ".join(found) or "nothing"


def _cut(row: BranchRow) -> str | None:
    return None if row.cut is None else _short(row.cut)


def _short(layer: str) -> str:
    """Return a layer's path in its network, which itself lies within one that reads pixels."""
    return layer.removeprefix("network.")


def _caption(bundle: Bundle) -> str:
    names = [bundle.metadata.get(key) for key in ("name", "device", "scene", "method")]
    return ", ".join(str(name) for name in names if name is not None)
