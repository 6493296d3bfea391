"""Pairs that a search found, made hybrids, and judged where they spend just what they may."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from hybridge.cost.operating import OperatingPoint
from hybridge.cost.target import Target
from hybridge.design.query.alternation import Mode
from hybridge.design.search.problem import Measured, Measurer
from hybridge.design.search.workers import Workers, open_workers
from hybridge.design.supernet.judge import Subnet
from hybridge.design.supernet.limits import most_sent
from hybridge.design.supernet.pairs import Pair
from hybridge.design.supernet.sides import Network
from hybridge.hashing import hash_file, hash_json
from hybridge.plan.bundle import Bundle
from hybridge.progress import track
from hybridge.recipes import hybrid as hybrids
from hybridge.recipes.networks import NetworkConfig
from hybridge.recipes.pair import Found, PairRun
from hybridge.recipes.pair_judged import Judged, judged_by, read_judged, write_judged
from hybridge.recipes.pair_networks import TakenOut, calibration_images
from hybridge.recipes.pair_schema import PairRecipe
from hybridge.recipes.pair_singles import MadeSingle, Singles
from hybridge.recipes.schema import DeployConfig, HybridRecipe

Thing = TypeVar("Thing")
Value = TypeVar("Value")

#: A coverage is an open share: at its ends there is nothing to route.
_LEAST_SHARE = 1e-6


@dataclass(frozen=True, slots=True)
class Job:
    """A hybrid to be made, whatever limits its pair was found under.

    Attributes:
        pair: Base and global.
        mode: How it is trained.
        seed: Of its routers and training.
    """

    pair: Pair
    mode: Mode
    seed: int


@dataclass(frozen=True)
class MadeHybrid:
    """A pair as a hybrid.

    Attributes:
        found: Which pair, under which limit.
        job: How it was made.
        coverage: Share of inputs that it may keep so that it spends the limit, and no more.
        oracle_coverage: Share of the validation images on which its base and global agree.
        judged: How every method does.
    """

    found: Found
    job: Job
    coverage: float
    oracle_coverage: float
    judged: Judged

    def points(self, method: str, fused: bool) -> list[OperatingPoint]:
        """Return the point of each split at which a method spends the limit."""
        return self.judged.at(method, fused, self.coverage)

    def oracle_points(self, method: str, fused: bool) -> list[OperatingPoint]:
        """Return the point of each split at which a method sends as much as the oracle would."""
        return self.judged.at(method, fused, self.oracle_coverage)


@dataclass(frozen=True)
class Hybrids:
    """Everything that was judged on the held-out images.

    Attributes:
        hybrids: Pairs, in every mode and with every seed.
        singles: Networks by themselves.
        bundle: Of the first limit's pair, in the last mode.
        point: Its operating point on the calibration half.
    """

    hybrids: list[MadeHybrid]
    singles: list[MadeSingle]
    bundle: Bundle
    point: OperatingPoint


def make_hybrids(done: PairRun, root: Path, folder: Path) -> Hybrids:
    """Make every pair that a search found a hybrid, and save a bundle.

    Args:
        done: What the searches came to.
        root: Folder that data paths start from.
        folder: Of the run.

    Raises:
        InfeasibleError: No threshold of the bundle reaches its target.
    """
    recipe = done.recipe
    assert recipe.hybrid is not None
    # Workers on a cluster have working folders of their own.
    root, folder = root.absolute(), folder.absolute()
    workshop = _Workshop(done, root, folder)
    singles = Singles(recipe, workshop.taken, root, folder / "singles")
    with open_workers(recipe.search.workers) as workers:
        made = workshop.make_all(workers)
        wanted = singles.jobs(done.found)
        for _, job in wanted:
            singles.config(job)  # so that no two workers write the same network
        accuracies = _each(workers, singles, [job for _, job in wanted], "judging single networks")
    last, chosen = recipe.hybrid.modes[-1], recipe.search.chosen
    first = next(each for each in made if each.found.method == chosen and each.job.mode == last)
    bundle, point = hybrids.deploy(
        workshop.run(first.job), folder / "bundle", _deployed(recipe, first.coverage)
    )
    alone = [MadeSingle(found, job, accuracies[job]) for found, job in wanted]
    return Hybrids(made, alone, bundle, point)


def _deployed(recipe: PairRecipe, coverage: float) -> DeployConfig:
    """Return what the bundle is to be, by what was searched for where nothing else is said."""
    assert recipe.hybrid is not None
    deploy, around = recipe.hybrid.deploy, recipe.search.surroundings
    own: dict[str, object] = {"target": Target(coverage=coverage)}
    if around is not None:
        own["surroundings"] = around
    return deploy.model_copy(
        update={key: value for key, value in own.items() if key not in deploy.model_fields_set}
    )


def _each(
    workers: Workers, measurer: Measurer[Thing, Value], jobs: Iterable[Thing], what: str
) -> dict[Thing, Value]:
    """Return what comes of each job; of one that stands there twice, once."""
    once = list(dict.fromkeys(jobs))
    measured = track(workers.measure(measurer, once), what, len(once))
    return {job: each.value for job, each in zip(once, measured, strict=True)}


class _Workshop:
    """Makes hybrids of pairs, each network written down once."""

    def __init__(self, done: PairRun, root: Path, folder: Path) -> None:
        recipe = done.recipe
        assert recipe.hybrid is not None
        self.done, self.recipe, self.settings = done, recipe, recipe.hybrid
        self.root, self.folder = root, folder
        exactly = recipe.search.rungs[-1]
        calibration = calibration_images(recipe.supernet, root, exactly.calibration_images)
        self.taken = TakenOut(recipe.supernet, done.supernet, calibration, folder / "networks")

    def make_all(self, workers: Workers) -> list[MadeHybrid]:
        """Make the pair that counts a hybrid in every mode, and others in ``r``."""
        wanted = [(found, job) for found in self._pairs() for job in self._jobs(found)]
        for _, job in wanted:
            self._recipe(job)  # so that no two workers write the same network
        judged = _each(workers, self, [job for _, job in wanted], "making hybrids")
        return [MadeHybrid(found, job, *_coverages(found), judged[job]) for found, job in wanted]

    def _pairs(self) -> list[Found]:
        return [found for found in self.done.found if found.pair.global_ is not None]

    def _jobs(self, found: Found) -> list[Job]:
        modes = self.settings.modes if found.method == self.recipe.search.chosen else ("r",)
        seeds = range(self.recipe.seed, self.recipe.seed + self.settings.seeds)
        return [Job(found.pair, mode, seed) for mode in modes for seed in seeds]

    def measure(self, part: Job) -> Measured[Judged]:
        """Return how a hybrid does, trained first; from its folder where it was judged before."""
        began, recipe, folder = time.perf_counter(), self._recipe(part), self._folder(part)
        depends = self._hash(recipe)
        judged = read_judged(folder, depends)
        if judged is None:
            judged = judged_by(hybrids.run(recipe, self.root, folder).evaluation)
            write_judged(folder, depends, judged)
        return Measured(judged, time.perf_counter() - began)

    def run(self, job: Job) -> hybrids.HybridRun:
        """Train a hybrid, or find it trained, and judge it."""
        return hybrids.run(self._recipe(job), self.root, self._folder(job))

    def _folder(self, job: Job) -> Path:
        return self.folder / "hybrids" / folder_name(job)

    def _hash(self, recipe: HybridRecipe) -> str:
        """Hash all that a hybrid depends on."""
        data = hybrids.open_data(recipe, self.root)
        opened = (data.held_out, data.train, data.router)
        images = [each.fingerprint for each in opened if each is not None]
        weights = [
            hash_file(self.root / each.weights)
            for each in (recipe.base, recipe.global_)
            if each.weights is not None
        ]
        return hash_json([recipe.model_dump(mode="json", by_alias=True), images, weights])

    def _recipe(self, job: Job) -> HybridRecipe:
        """Return how a hybrid is made, and judged wherever its pair was found."""
        pair = job.pair
        assert pair.global_ is not None
        recipe = self.recipe.hybrid_recipe(
            self.recipe.name,
            self._network(pair.base),
            self._network(pair.global_),
            job.mode,
            job.seed,
        )
        own = [_coverages(found) for found in self._pairs() if found.pair == pair]
        coverages = {*recipe.evaluate.coverages, *(share for each in own for share in each)}
        judged = recipe.evaluate.model_copy(
            update={"coverages": tuple(sorted(coverages, reverse=True))}
        )
        return recipe.model_copy(update={"evaluate": judged})

    def _network(self, network: Network) -> NetworkConfig:
        if isinstance(network, Subnet):
            return self.taken.config(network)
        given = self.recipe.search.adapt_to
        assert given is not None
        return given


def _coverages(found: Found) -> tuple[float, float]:
    """Return the coverage at which a pair spends its limit, and that of the agreement oracle."""
    return spending_coverage(found), _open(1 - found.agreement.query_rate)


def spending_coverage(found: Found) -> float:
    """Return the coverage at which a pair spends its limit, if all inputs are alike to it."""
    rate = most_sent(found.limits, found.kept, found.sent)
    return _open(1 - (found.agreement.query_rate if rate is None else rate))


def _open(share: float) -> float:
    return min(max(share, _LEAST_SHARE), 1 - _LEAST_SHARE)


def folder_name(job: Job) -> str:
    """Return where a hybrid's weights and checkpoints lie: those of another pair lie elsewhere."""
    pair = hash_json([str(job.pair.base), str(job.pair.global_)])[:12]
    return f"{pair}-{job.mode}-seed{job.seed}"
