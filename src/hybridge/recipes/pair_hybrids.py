"""Pairs that a search found, made hybrids, and judged where they spend just what they may."""

from dataclasses import dataclass
from pathlib import Path

from hybridge.cost.operating import OperatingPoint
from hybridge.cost.target import Target
from hybridge.design.query.alternation import Mode
from hybridge.design.store import Store
from hybridge.design.supernet.judge import Subnet
from hybridge.design.supernet.limits import most_sent
from hybridge.design.supernet.sides import Network
from hybridge.design.train.outputs import keep_outputs
from hybridge.hashing import hash_json
from hybridge.plan.bundle import Bundle
from hybridge.progress import track
from hybridge.recipes import hybrid as hybrids
from hybridge.recipes.networks import NetworkConfig
from hybridge.recipes.pair import Found, PairRun
from hybridge.recipes.pair_networks import TakenOut, calibration_images
from hybridge.recipes.training import read_weights_of

#: A coverage is an open share: at its ends there is nothing to route.
_LEAST_SHARE = 0.01


@dataclass(frozen=True)
class MadeHybrid:
    """A pair as a hybrid.

    Attributes:
        found: Which pair, under which limit.
        mode: How it was trained.
        seed: Of its routers and training.
        coverage: Share of inputs that it may keep so that it spends the limit, and no more.
        oracle_coverage: Share of the validation images on which its base and global agree.
        run: What its recipe came to.
    """

    found: Found
    mode: Mode
    seed: int
    coverage: float
    oracle_coverage: float
    run: hybrids.HybridRun

    def points(self, method: str, fused: bool) -> list[OperatingPoint]:
        """Return the point of each split at which a method spends the limit."""
        return self.run.evaluation.results[method, fused].points[self.coverage]

    def oracle_points(self, method: str, fused: bool) -> list[OperatingPoint]:
        """Return the point of each split at which a method sends as much as the oracle would."""
        return self.run.evaluation.results[method, fused].points[self.oracle_coverage]


@dataclass(frozen=True)
class MadeSingle:
    """One network by itself, on all held-out images.

    Attributes:
        found: Which, under which limit.
        accuracy: Share that it is right on.
    """

    found: Found
    accuracy: float


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
    """Make every pair that a search found a hybrid, and save the bundle of the best.

    Args:
        done: What the searches came to.
        root: Folder that data paths start from.
        folder: Of the run.

    Raises:
        InfeasibleError: No threshold of the bundle reaches its target.
    """
    workshop = _Workshop(done, root, folder)
    tasks = workshop.tasks()
    made = [workshop.hybrid(*task) for task in track(tasks, "making hybrids")]
    singles = [workshop.single(found) for found in done.found if found.pair.global_ is None]
    settings = done.recipe.hybrid
    assert settings is not None
    last, chosen = settings.modes[-1], done.recipe.search.chosen
    best = next(each for each in made if each.found.method == chosen and each.mode == last)
    deploy = settings.deploy
    if "target" not in deploy.model_fields_set:
        deploy = deploy.model_copy(update={"target": Target(coverage=best.coverage)})
    bundle, point = hybrids.deploy(best.run, folder / "bundle", deploy)
    return Hybrids(made, singles, bundle, point)


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

    def tasks(self) -> list[tuple[Found, Mode, int]]:
        """Return what is to be made: the pair that counts in every mode, others in ``r``."""
        chosen = self.recipe.search.chosen
        seeds = range(self.recipe.seed, self.recipe.seed + self.settings.seeds)
        return [
            (found, mode, seed)
            for found in self.done.found
            if found.pair.global_ is not None
            for mode in (self.settings.modes if found.method == chosen else ("r",))
            for seed in seeds
        ]

    def hybrid(self, found: Found, mode: Mode, seed: int) -> MadeHybrid:
        """Return a pair, trained and judged."""
        assert found.pair.global_ is not None
        coverage, oracle_coverage = spending_coverage(found), _open(1 - found.agreement.query_rate)
        recipe = self.recipe.hybrid_recipe(
            self.recipe.name,
            self._network(found.pair.base),
            self._network(found.pair.global_),
            mode,
            seed,
        )
        wanted = tuple(
            sorted({*recipe.evaluate.coverages, coverage, oracle_coverage}, reverse=True)
        )
        judged = recipe.evaluate.model_copy(update={"coverages": wanted})
        recipe = recipe.model_copy(update={"evaluate": judged})
        run = hybrids.run(
            recipe, self.root, self.folder / "hybrids" / folder_name(found, mode, seed)
        )
        return MadeHybrid(found, mode, seed, coverage, oracle_coverage, run)

    def single(self, found: Found) -> MadeSingle:
        """Return one network's accuracy on the held-out images."""
        config = self._network(found.pair.base)
        supernet = self.recipe.supernet
        held_out = self.settings.held_out.open(supernet.geometry(), self.root)
        network = config.new(held_out.class_count, self.recipe.seed, "single")
        read_weights_of(config, network, self.root)
        outputs = keep_outputs(network, held_out, store=Store())
        return MadeSingle(found, outputs.accuracy(held_out.labels))

    def _network(self, network: Network) -> NetworkConfig:
        if isinstance(network, Subnet):
            return self.taken.config(network)
        given = self.recipe.search.adapt_to
        assert given is not None
        return given


def spending_coverage(found: Found) -> float:
    """Return the coverage at which a pair spends its limit, if all inputs are alike to it."""
    rate = most_sent(found.limits, found.kept, found.sent)
    return _open(1 - (found.agreement.query_rate if rate is None else rate))


def _open(share: float) -> float:
    return min(max(share, _LEAST_SHARE), 1 - _LEAST_SHARE)


def folder_name(found: Found, mode: Mode, seed: int) -> str:
    """Return where a hybrid's weights and checkpoints lie: those of another pair lie elsewhere."""
    limits = "-".join(f"{name}-{value:g}" for name, value in found.limits.given.items())
    method = found.method.replace(" + ", "-and-")
    pair = hash_json([str(found.pair.base), str(found.pair.global_)])[:12]
    return f"{limits}/{method}-{found.number}-{pair}-{mode}-seed{seed}"
