"""A recipe of a joint search, run: supernet, searches, hybrids (selective query, algorithm 1)."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import get_args

import numpy as np
import torch

from hybridge.data.dataset import Dataset, subset
from hybridge.design.nets.network import PixelNetwork
from hybridge.design.search.budget import AnyOf
from hybridge.design.search.evolve import Evolution, Trial, first_promising
from hybridge.design.search.front import Front, FrontPoint
from hybridge.design.search.problem import Measured
from hybridge.design.search.run import SearchResult, search
from hybridge.design.search.workers import Workers, open_workers
from hybridge.design.store import Store
from hybridge.design.supernet.costs import footprint, router_layers
from hybridge.design.supernet.evaluate import Answers, Evaluator, Images, answers_of
from hybridge.design.supernet.limits import Amounts, Costs, Limits
from hybridge.design.supernet.pairs import Judge, Pair, PairPoint, PairProblem, Part
from hybridge.design.supernet.sides import GivenNetwork, Side, Subnets
from hybridge.design.train.outputs import keep_outputs
from hybridge.design.train.processes import own_device
from hybridge.errors import ConfigError, InfeasibleError
from hybridge.plan.layers import total_macs
from hybridge.recipes.hybrid import open_data
from hybridge.recipes.pair_costs import mean_payload_bytes
from hybridge.recipes.pair_networks import calibration_images
from hybridge.recipes.pair_schema import JUDGES, Method, PairRecipe
from hybridge.recipes.schema import DeployConfig
from hybridge.recipes.supernet import find_supernet
from hybridge.recipes.training import read_weights_of
from hybridge.report.pair_tables import limits_text

Memo = dict[Part, Measured[Answers]]
#: Pairs that are screened until random ones within the limit are given up.
_TRIES = 200


@dataclass(frozen=True)
class Found:
    """A pair, or one network, that stands for a method under a limit.

    Attributes:
        limits: What it may cost.
        method: How it was found.
        number: Tells several of one method apart, from 1.
        pair: Which.
        agreement: How it does on the validation images under the agreement oracle.
        confidence: The same where what the base is least sure of is sent, as much as the limit
            allows.
        macs_m: Mean multiply-accumulates of an input, in millions, router included.
        within: Whether that is within the limits; two networks that are given may not be.
        kept: What an input costs that is kept.
        sent: What an input costs beyond that where it is sent.
        result: Of the search, where there was one.
    """

    limits: Limits
    method: Method
    number: int
    pair: Pair
    agreement: PairPoint
    confidence: PairPoint
    macs_m: float
    within: bool
    kept: Amounts
    sent: Amounts
    result: SearchResult[Trial[Pair]] | None = None

    @property
    def point(self) -> PairPoint:
        """How it does as the method judges."""
        by_confidence = JUDGES.get(self.method) == "confidence"
        return self.confidence if by_confidence else self.agreement


@dataclass(frozen=True)
class PairRun:
    """What a recipe's searches came to.

    Attributes:
        recipe: As it was run.
        supernet: Trained.
        found: Pairs and networks, by limit and method.
        fronts: The whole front under each limit, where it was searched.
        left_out: Why a method, or ``front``, has none under a limit.
        architectures_evaluated: Different networks that were evaluated, at whatever rung.
        measuring_seconds: What that took, even where it was kept from an earlier run.
    """

    recipe: PairRecipe
    supernet: PixelNetwork
    found: list[Found]
    fronts: list[tuple[Limits, tuple[FrontPoint[Pair], ...]]] = field(default_factory=list)
    left_out: list[tuple[Limits, str, str]] = field(default_factory=list)
    architectures_evaluated: int = 0
    measuring_seconds: float = 0.0


def check(recipe: PairRecipe, root: Path) -> None:
    """Raise `ConfigError` naming everything that would stop the recipe, without running it."""
    if faults := recipe.faults(root):
        raise ConfigError("; ".join(faults))


def run(recipe: PairRecipe, root: Path, folder: Path) -> PairRun:
    """Train the supernet where that was not done yet, and search.

    A run that was cut off goes on where it stopped, and comes to the same.

    Args:
        recipe: What to do.
        root: Folder that data paths start from.
        folder: Of the run; the supernet's own stands beside it, under its name.

    Raises:
        ConfigError: The recipe cannot be run.
        DataError: Its images cannot be opened, or are too few to judge hybrids by.
        InfeasibleError: A limit is below what the smallest pair costs, and nothing has been
            searched; or no pair that was evaluated is within one.
    """
    check(recipe, root)
    _check_images(recipe, root)
    network = trained_supernet(recipe, root, folder)
    with open_workers(recipe.search.workers) as workers:
        return _Searches(recipe, root, network, workers).run()


def _check_images(recipe: PairRecipe, root: Path) -> None:
    """Open the images of hybrids: what is wrong with them shows before hours have passed."""
    if recipe.hybrid is None:
        return
    some = recipe.supernet.network()
    trained = recipe.supernet.data.train.open(recipe.supernet.geometry(), root).class_count
    for mode in recipe.hybrid.modes:
        made = recipe.hybrid_recipe(recipe.name, some, some, mode, recipe.seed)
        judged = open_data(made, root).held_out.class_count
        if judged != trained:
            raise ConfigError(
                f"hybrid.held_out has {judged} classes, supernet.data.train has {trained}; they "
                "must be the same"
            )


def trained_supernet(recipe: PairRecipe, root: Path, folder: Path) -> PixelNetwork:
    """Return the supernet: public, or from its own folder, or trained into that."""
    own = folder.absolute().parent / recipe.supernet.name
    return find_supernet(recipe.supernet, root, own)


class _Searches:
    """The searches of a recipe, which share all that is evaluated."""

    def __init__(
        self, recipe: PairRecipe, root: Path, network: PixelNetwork, workers: Workers
    ) -> None:
        self.recipe, self.network, self.workers = recipe, network, workers
        supernet, settings = recipe.supernet, recipe.search
        most = max(rung.calibration_images for rung in settings.rungs)
        validation = shuffled(supernet.data.validation.open(supernet.geometry(), root), recipe.seed)
        images = Images(calibration_images(supernet, root, most), validation)
        evaluator = Evaluator(network, images, Store(), settings.rungs)
        self.side = Subnets(evaluator, recipe.resolutions())
        self.global_: Side = self.side
        if settings.adapt_to is not None:
            self.global_ = self._given(validation, root)
        around = None if settings.surroundings is None else settings.surroundings.look_up()
        fitted = None if recipe.hybrid is None else recipe.hybrid.router
        deploy = DeployConfig() if recipe.hybrid is None else recipe.hybrid.deploy
        payload = None if around is None else mean_payload_bytes(deploy.codec, validation)
        features = supernet.elastic().last_channels
        self.router = router_layers(validation.class_count, features, fitted)
        self.costs, self.single_costs = (
            [Costs(each, around, payload, self.router) for each in limits]
            for limits in (settings.limits, settings.single_limits)
        )
        self.memo: Memo = {}

    def _given(self, validation: Dataset, root: Path) -> GivenNetwork:
        config = self.recipe.search.adapt_to
        assert config is not None
        network = config.new(validation.class_count, self.recipe.seed, "global")
        read_weights_of(config, network, root)
        outputs = keep_outputs(network.to(own_device()), validation, store=Store())
        shape = (validation.geometry.channels, *validation.geometry.shape[:2])
        return GivenNetwork(
            config.network,
            answers_of(torch.from_numpy(outputs.logits)),
            footprint(network.cpu().network, shape),
            self.side,
        )

    def run(self) -> PairRun:
        """Search under every limit; one that nothing meets is found out before anything is.

        A pair that is searched has to be found; of what stands beside it, what there is.
        """
        global_ = None if self.recipe.search.alone else self.global_
        problems = [PairProblem(self.side, global_, costs) for costs in self.costs]
        done = PairRun(self.recipe, self.network, [])
        for number, problem in enumerate(problems):
            limits = problem.costs.limits
            for method in self.recipe.search.methods:
                try:
                    done.found.extend(self._find(problem, method, number))
                except InfeasibleError as error:
                    if method in JUDGES:
                        raise
                    done.left_out.append((limits, method, str(error)))
            if self.recipe.search.front is not None:
                try:
                    done.fronts.append((limits, self._front(problem)))
                except InfeasibleError as error:
                    done.left_out.append((limits, "front", str(error)))
        done.found.extend(self._single(costs) for costs in self.single_costs)
        evaluated = [
            (part, each) for part, each in self.memo.items() if part.side == self.side.name
        ]
        return replace(
            done,
            architectures_evaluated=len({part.network for part, _ in evaluated}),
            measuring_seconds=sum(each.seconds for _, each in evaluated),
        )

    def _find(self, problem: PairProblem, method: Method, number: int) -> list[Found]:
        match method:
            case "pair" | "pair by confidence":
                judged = PairProblem(self.side, self.global_, problem.costs, JUDGES[method])
                return [self._searched(judged, method)]
            case "single":
                return [self._single(problem.costs)]
            case "random":
                return self._random(problem, number)
            case _:
                ends = Pair(problem.smallest.base, problem.largest.global_)
                return [self._judged(problem, method, 1, ends)]

    def _single(self, costs: Costs) -> Found:
        return self._searched(PairProblem(self.side, None, costs), "single")

    def _searched(self, problem: PairProblem, method: Method) -> Found:
        limits = problem.costs.limits
        result = search(
            problem,
            Evolution(problem, self.recipe.seed, self.recipe.search.evolution),
            AnyOf(()),
            self.memo,
            counts=lambda trial: trial.rung == problem.top,
            workers=self.workers,
            what=f"searching a {method} within {limits_text(limits.given)}",
        )
        return self._found(problem, method, 1, result.best, result)

    def _random(self, problem: PairProblem, number: int) -> list[Found]:
        """Draw pairs until enough are within the limits, screened first; others for each limit."""
        rng = np.random.default_rng([self.recipe.seed, number])
        found: dict[Pair, Found] = {}
        for _ in range(_TRIES):
            pair = first_promising(problem, lambda thrift: problem.draw(rng, thrift))
            if pair is None or pair in found or not self._allowed(problem, Trial(pair, 0)):
                continue
            judged = self._judged(problem, "random", len(found) + 1, pair)
            if problem.costs.allow(judged.point.costs):
                found[pair] = judged
            if len(found) == self.recipe.search.random_pairs:
                break
        if not found:
            raise InfeasibleError(f"none of {_TRIES} random pairs is within the limit")
        return list(found.values())

    def _allowed(self, problem: PairProblem, trial: Trial[Pair]) -> bool:
        return problem.score(trial, self._answers(problem, trial)) > float("-inf")

    def _judged(self, problem: PairProblem, method: Method, number: int, pair: Pair) -> Found:
        return self._found(problem, method, number, Trial(pair, problem.top))

    def _found(
        self,
        problem: PairProblem,
        method: Method,
        number: int,
        trial: Trial[Pair],
        result: SearchResult[Trial[Pair]] | None = None,
    ) -> Found:
        pair, answers = trial.candidate, self._answers(problem, trial)
        points = {judge: problem.point(trial, answers, judge) for judge in get_args(Judge)}
        point = points[problem.judge]
        return Found(
            problem.costs.limits,
            method,
            number,
            pair,
            points["agreement"],
            points["confidence"],
            self._macs_m(problem, pair, point.query_rate),
            problem.costs.allow(point.costs),
            problem.kept(pair),
            problem.sent(pair),
            result,
        )

    def _macs_m(self, problem: PairProblem, pair: Pair, rate: float) -> float:
        macs = float(problem.base.footprint(pair.base).macs)
        if problem.global_ is not None and pair.global_ is not None:
            macs += total_macs(self.router) + rate * problem.global_.footprint(pair.global_).macs
        return macs / 1e6

    def _answers(self, problem: PairProblem, trial: Trial[Pair]) -> dict[Part, Answers]:
        for part in problem.parts(trial):
            if part not in self.memo:
                self.memo[part] = problem.measure(part)
        return {part: self.memo[part].value for part in problem.parts(trial)}

    def _front(self, problem: PairProblem) -> tuple[FrontPoint[Pair], ...]:
        front = Front(problem, self.recipe.seed, self.recipe.search.front)
        search(
            problem,
            front,
            AnyOf(()),
            self.memo,
            counts=lambda trial: trial.rung == problem.top,
            workers=self.workers,
            what=f"searching the front within {limits_text(problem.costs.limits.given)}",
        )
        return front.points


def shuffled(dataset: Dataset, seed: int) -> Dataset:
    """Return a dataset in an order that the seed draws, so that its first images are like all."""
    return subset(dataset, np.random.default_rng(seed).permutation(len(dataset)))
