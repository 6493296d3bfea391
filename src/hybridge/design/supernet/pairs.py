"""The search for a base and a global together, or for one network, as a problem.

A pair is judged in one of two ways. By the **agreement oracle** (selective query, section 2.2):
where base and global agree the base answers, else global does. So a pair answers what its global
answers, its accuracy is the global's, and the base decides what that costs: by what it takes, and
by how often it agrees. No router knows that much. By **confidence**, which is beyond the paper:
what the base is least sure of is sent, as much as the limits allow, as a router would about do.

Among pairs that are right equally often, the one that sends less is the better.

Letters: ``n`` images.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from hybridge.design.search.evolve import Trial
from hybridge.design.search.problem import Measured
from hybridge.design.supernet.evaluate import Answers
from hybridge.design.supernet.limits import Amounts, Costs, joined, most_sent, out_of_reach, told
from hybridge.design.supernet.sides import Network, Side
from hybridge.errors import ConfigError, InfeasibleError


@dataclass(frozen=True, slots=True)
class Pair:
    """Two networks that work together, or one by itself.

    Attributes:
        base: On the device.
        global_: In the cloud; None where the base is alone.
    """

    base: Network
    global_: Network | None = None

    def __str__(self) -> str:
        return str(self.base) if self.global_ is None else f"{self.base} + {self.global_}"


@dataclass(frozen=True, slots=True)
class Part:
    """A network to evaluate.

    Attributes:
        side: Name of the side that evaluates it.
        network: Which.
        rung: How exactly.
    """

    side: str
    network: Network
    rung: int


@dataclass(frozen=True, slots=True)
class PairPoint:
    """How a pair does, as it is judged.

    Attributes:
        accuracy: Share of images answered right.
        base_accuracy: The same by the base alone.
        query_rate: Share that is sent: on which base and global disagree, or that may be.
        costs: What an input costs on the mean, by name of the limit.
    """

    accuracy: float
    base_accuracy: float
    query_rate: float
    costs: Amounts


Answered = Mapping[Part, Answers]
Judge = Literal["agreement", "confidence"]
#: What a pair that sends everything loses to one that sends nothing: less than an image is worth.
_TIE_BREAK = 1e-7
#: Share of an image that a sum of shares may lack.
_ROUNDING = 1e-6
#: How likely each choice of a global is drawn anew that came out as its base, and how often.
_APART, _APART_TRIES = 0.1, 20


class PairProblem:
    """Which pair is right most often within its limits (selective query, eq. 3 and algorithm 4).

    Args:
        base: What the base may be.
        global_: What the global may be: the very same object where one supernet serves both; None
            searches one network alone.
        costs: Limits, and what networks are priced by.
        judge: How pairs are judged.

    Raises:
        ConfigError: The sides differ in their images, or two of them have one name.
        InfeasibleError: Not even the smallest networks are within the limits.
    """

    def __init__(
        self, base: Side, global_: Side | None, costs: Costs, judge: Judge = "agreement"
    ) -> None:
        if global_ is not None and global_ is not base:
            if global_.name == base.name:
                raise ConfigError(f"expected two names for two sides, got {base.name!r} twice")
            sides = (base, global_)
            labels = [[side.labels(rung) for rung in range(side.rungs)] for side in sides]
            if len(labels[0]) != len(labels[1]) or not all(map(np.array_equal, *labels)):
                raise ConfigError("expected both sides to answer the same images at every rung")
        self.base, self.global_, self.costs, self.judge = base, global_, costs, judge
        self._sides = {side.name: side for side in (base, global_) if side is not None}
        self._kept: dict[Network, Amounts] = {}
        self._sent: dict[Network, Amounts] = {}
        if not self.costs.allow(self.kept(self.smallest)):
            raise self.infeasible()

    @property
    def top(self) -> int:
        """The rung that counts."""
        return self.base.rungs - 1

    @property
    def smallest(self) -> Pair:
        """The smallest base with the smallest global."""
        return Pair(self.base.smallest, None if self.global_ is None else self.global_.smallest)

    @property
    def largest(self) -> Pair:
        """The largest base with the largest global."""
        return Pair(self.base.largest, None if self.global_ is None else self.global_.largest)

    def draw(self, rng: np.random.Generator, thrift: float = 0.0) -> Pair:
        """Draw both networks evenly; each choice is the smallest with probability ``thrift``."""
        base = self.base.draw(rng, thrift)
        if self.global_ is None:
            return Pair(base)
        pair = Pair(base, self.global_.draw(rng, thrift))
        for _ in range(_APART_TRIES):
            if not self._is_one(pair):
                break
            # Two that are drawn as small as can be are one: the global differs a little.
            pair = Pair(base, self.global_.mutate(base, _APART, rng))
        return pair

    def mutate(self, pair: Pair, probability: float, rng: np.random.Generator) -> Pair:
        """Return a pair of which every choice was drawn anew with a probability."""
        base = self.base.mutate(pair.base, probability, rng)
        if self.global_ is None or pair.global_ is None:
            return Pair(base)
        return Pair(base, self.global_.mutate(pair.global_, probability, rng))

    def cross(self, one: Pair, other: Pair, rng: np.random.Generator) -> Pair:
        """Return a pair that has each choice from either one, as likely as from the other."""
        base = self.base.cross(one.base, other.base, rng)
        if self.global_ is None or one.global_ is None or other.global_ is None:
            return Pair(base)
        return Pair(base, self.global_.cross(one.global_, other.global_, rng))

    def promising(self, pair: Pair) -> bool:
        """Return whether a pair would be within the limits if its networks always agreed.

        One network twice is no pair: it agrees with itself, and a router beside it has nothing to
        tell.
        """
        return not self._is_one(pair) and self.costs.allow(self.kept(pair))

    def _is_one(self, pair: Pair) -> bool:
        return self.base is self.global_ and pair.base == pair.global_

    def parts(self, trial: Trial[Pair]) -> tuple[Part, ...]:
        """Return the networks of a pair, at the rung that it is asked at."""
        pair = trial.candidate
        parts = [Part(self.base.name, pair.base, trial.rung)]
        if self.global_ is not None and pair.global_ is not None:
            parts.append(Part(self.global_.name, pair.global_, trial.rung))
        return tuple(dict.fromkeys(parts))

    def measure(self, part: Part) -> Measured[Answers]:
        """Return what a network answers."""
        return self._sides[part.side].measure(part.network, part.rung)

    def score(self, trial: Trial[Pair], measures: Answered) -> float:
        """Return the accuracy of a pair, and a little less the more it sends.

        Minus infinity where it is over a limit, or one network twice.
        """
        point = self.point(trial, measures)
        if self._is_one(trial.candidate) or not self.costs.allow(point.costs):
            return float("-inf")
        return point.accuracy - _TIE_BREAK * point.query_rate

    def point(
        self, trial: Trial[Pair], measures: Answered, judge: Judge | None = None
    ) -> PairPoint:
        """Return how a pair does, within the limits or not; as the problem judges by default."""
        parts = self.parts(trial)
        base, global_ = measures[parts[0]], measures[parts[-1]]
        labels = self.base.labels(trial.rung)
        kept, extra = self.kept(trial.candidate), self.sent(trial.candidate)
        sent = base["label"] != global_["label"]
        if (judge or self.judge) == "confidence":
            share = most_sent(self.costs.limits, kept, extra)
            count = int(sent.sum()) if share is None else int(share * len(sent) + _ROUNDING)
            sent = _least(base["margin"], count)
        rate = float(sent.mean())
        return PairPoint(
            accuracy=float((np.where(sent, global_["label"], base["label"]) == labels).mean()),
            base_accuracy=float((base["label"] == labels).mean()),
            query_rate=rate,
            costs=joined(kept, extra, rate),
        )

    def kept(self, pair: Pair) -> Amounts:
        """Return what an input costs that is kept."""
        if pair.base not in self._kept:
            footprint = self.base.footprint(pair.base)
            self._kept[pair.base] = self.costs.kept(footprint, alone=self.global_ is None)
        return self._kept[pair.base]

    def sent(self, pair: Pair) -> Amounts:
        """Return what an input costs beyond that where it is sent; nothing for one network."""
        if self.global_ is None or pair.global_ is None:
            return {}
        if pair.global_ not in self._sent:
            self._sent[pair.global_] = self.costs.sent(self.global_.footprint(pair.global_))
        return self._sent[pair.global_]

    def objectives(self, trial: Trial[Pair], measures: Answered) -> tuple[float, float]:
        """Return accuracy, and cost in the currency of the first limit."""
        point = self.point(trial, measures)
        return point.accuracy, next(iter(point.costs.values()))

    def infeasible(self) -> InfeasibleError:
        """Return an error that says what is feasible."""
        what = "network" if self.global_ is None else "pair"
        limits, least = self.costs.limits, self.kept(self.smallest)
        small, large = (
            joined(self.kept(pair), self.sent(pair), 1.0) for pair in (self.smallest, self.largest)
        )
        if not self.costs.allow(least):
            return out_of_reach(limits, what, least, large)
        return InfeasibleError(
            f"no {what} that was evaluated is within the limits, {told(limits.given)}: the "
            f"smallest costs {told(least)} if nothing is sent and {told(small)} if everything is, "
            f"and its networks agree too seldom; the largest costs {told(large)} if everything is "
            "sent"
        )

    def recombined(self, measures: Answered, count: int) -> list[Pair]:
        """Return the best pairs that can be put together, by agreement, from what is known in full.

        The accuracy of a pair is its global's: so globals are gone through from the best on, each
        with the base that makes it cheapest, as long as one is within the limits.

        Args:
            measures: What is known, of whatever rung.
            count: Pairs, at most; each of another global.
        """
        if self.global_ is None:
            return []
        bases, globals_ = self._known(self.base, measures), self._known(self.global_, measures)
        labels = self.base.labels(self.top)
        ranked = sorted(
            globals_, key=lambda each: -float((globals_[each]["label"] == labels).mean())
        )
        pool = [base for base in bases if self.promising(Pair(base))]
        if not pool:
            return []
        answers = np.stack([bases[base]["label"] for base in pool])
        found: list[Pair] = []
        for global_ in ranked:
            rates = (answers != globals_[global_]["label"]).mean(axis=1)
            pair = self._cheapest(pool, global_, rates)
            found += [] if pair is None else [pair]
            if len(found) == count:
                break
        return found

    def _known(self, side: Side, measures: Answered) -> dict[Network, Answers]:
        return {
            part.network: answers
            for part, answers in measures.items()
            if part.side == side.name and part.rung == self.top
        }

    def _cheapest(
        self,
        pool: list[Network],
        global_: Network,
        rates: np.ndarray[tuple[int], np.dtype[np.float64]],
    ) -> Pair | None:
        """Return the pair of a global that costs least in the first currency, and is allowed.

        Among equals, the one that sends least.
        """
        found: list[tuple[float, float, int]] = []
        for index, (base, rate) in enumerate(zip(pool, rates.tolist(), strict=True)):
            pair = Pair(base, global_)
            costs = joined(self.kept(pair), self.sent(pair), rate)
            if self.costs.allow(costs) and not self._is_one(pair):
                found.append((next(iter(costs.values())), rate, index))
        return Pair(pool[min(found)[2]], global_) if found else None


def _least(
    margins: np.ndarray[Any, np.dtype[np.float32]], count: int
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return where the ``count`` least of some margins ``(n,)`` are, the first of equals."""
    least = np.zeros(len(margins), bool)
    least[np.argsort(margins, kind="stable")[:count]] = True
    return least
