"""What a recipe of a joint search says, and what can be known of it before anything runs."""

import math
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from hybridge.cost.surroundings import Surroundings
from hybridge.data.source import DataSource
from hybridge.design.query.alternation import AlternateSettings, Mode
from hybridge.design.query.evaluate import EvaluateSettings
from hybridge.design.query.router import RouterSettings
from hybridge.design.search.evolve import EvolutionSettings
from hybridge.design.search.front import FrontSettings
from hybridge.design.supernet.costs import Footprint, footprint
from hybridge.design.supernet.evaluate import RUNGS, Rung
from hybridge.design.supernet.limits import Limits
from hybridge.design.supernet.pairs import Judge
from hybridge.design.train.settings import TrainSettings
from hybridge.errors import HybridgeError, MissingExtraError
from hybridge.plan.tensors import Frozen, Geometry
from hybridge.recipes.networks import NetworkConfig
from hybridge.recipes.pair_costs import bounds
from hybridge.recipes.schema import DataConfig, DeployConfig, HybridRecipe
from hybridge.recipes.supernet_schema import SupernetRecipe

Method = Literal["pair", "pair by confidence", "single", "random", "smallest + largest"]
JUDGES: dict[Method, Judge] = {"pair": "agreement", "pair by confidence": "confidence"}
"""Methods that search a pair, and how it is judged."""


class SearchConfig(Frozen):
    """How pairs are searched, and what stands beside them.

    Attributes:
        limits: What a pair may cost; each entry is a search of its own.
        surroundings: Device, server and link, where time or energy is limited.
        evolution: How candidates evolve.
        single_limits: More limits that one network is searched under, so that single networks make
            a curve beside the pairs.
        resolutions: What networks read images at, in pixels; none: all that the supernet was
            trained at. The full one alone where a device cannot scale.
        rungs: How exactly they are evaluated, from the screening to what counts, each on at least
            as many images as the one before.
        methods: What is found for every limit: a ``pair`` by search, judged by the agreement
            oracle as in the paper, or a ``pair by confidence``, which sends what its base is least
            sure of; ``single``, one network by the same search; ``random``, pairs drawn within the
            limit; ``smallest + largest``. The first of the pairs is the one that counts.
        random_pairs: Number of random pairs.
        adapt_to: A global that is given: then only bases are searched for it.
        front: How the whole front of accuracy against cost is searched besides; None leaves it
            out.
        workers: Processes of a Ray cluster that evaluate networks and make hybrids; 0 does it here.
    """

    limits: tuple[Limits, ...] = Field(min_length=1)
    single_limits: tuple[Limits, ...] = ()
    surroundings: Surroundings | None = None
    evolution: EvolutionSettings = EvolutionSettings()
    resolutions: tuple[int, ...] = ()
    rungs: tuple[Rung, ...] = Field(default=RUNGS, min_length=1)
    methods: tuple[Method, ...] = ("pair", "single")
    random_pairs: int = Field(default=3, ge=1)
    adapt_to: NetworkConfig | None = None
    front: FrontSettings | None = None
    workers: int = Field(default=0, ge=0)

    @property
    def alone(self) -> bool:
        """Whether single networks are all that is searched."""
        return self.methods == ("single",) and self.front is None

    @property
    def chosen(self) -> Method | None:
        """The first method that searches a pair: its pair is trained in every mode, and bundled."""
        return next((method for method in self.methods if method in JUDGES), None)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        every = [*self.limits, *self.single_limits]
        _check_distinct("limits and single_limits", [str(each.given) for each in every])
        _check_distinct("methods", self.methods)
        if not self.methods and self.front is None:
            raise ValueError("expected a method at least, or 'front'; got neither")
        for counts in (
            [rung.calibration_images for rung in self.rungs],
            [rung.validation_images or math.inf for rung in self.rungs],
        ):
            if counts != sorted(counts):
                raise ValueError(
                    f"expected rungs from few images to many, got {counts}; the last is what counts"
                )
        return self


class HybridConfig(Frozen):
    """How pairs are made hybrids, and judged.

    Attributes:
        held_out: Images that nothing was trained, searched or chosen by, to be halved.
        router_images: Images that nothing was trained or searched by, for fitting routers in
            every mode, besides the calibration halves; modes ``rb`` and ``rbg`` need them.
        modes: How the pair that counts is trained; every other pair is made a hybrid in mode
            ``r`` alone.
        seeds: Number of seeds, from the recipe's own on.
        twins: How twins of the base are trained in modes ``rb`` and ``rbg``.
        router: How routers are fitted.
        alternate: How modes ``rb`` and ``rbg`` train.
        evaluate: What is measured, besides the coverage that spends the limit.
        deploy: What goes into the bundle.
    """

    held_out: DataSource
    router_images: DataSource | None = None
    modes: tuple[Mode, ...] = Field(default=("r",), min_length=1)
    seeds: int = Field(default=1, ge=1)
    twins: TrainSettings | None = None
    router: RouterSettings = RouterSettings()
    alternate: AlternateSettings = AlternateSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    deploy: DeployConfig = DeployConfig()

    @model_validator(mode="after")
    def _modes_once(self) -> Self:
        _check_distinct("modes", self.modes)
        return self


def _check_distinct(key: str, values: Sequence[str]) -> None:
    twice = sorted({value for value in values if values.count(value) > 1})
    if twice:
        raise ValueError(f"expected each of {key} once, got {', '.join(twice)} twice")


class PairRecipe(Frozen):
    """A supernet in, hybrids of its best pairs out (selective query, algorithm 1).

    Attributes:
        name: Of the search; also names its folder of results.
        seed: Of everything.
        supernet: What networks are taken from, and how it is trained; one that
            ``hybridge supernet train`` has left beside the folder of this run is taken as it is,
            and one with ``weights`` is public.
        search: How pairs are searched. They are judged on the supernet's validation images.
        hybrid: How they are made hybrids; None leaves that out.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    seed: int = Field(default=0, ge=0)
    supernet: SupernetRecipe
    search: SearchConfig
    hybrid: HybridConfig | None = None

    @model_validator(mode="after")
    def _names(self) -> Self:
        if self.name == self.supernet.name:
            raise ValueError(f"expected two names for search and supernet, got {self.name!r} twice")
        return self

    def resolutions(self) -> tuple[int, ...]:
        """Return the resolutions that networks are searched at."""
        return self.search.resolutions or self.supernet.resolutions()

    def hybrid_recipe(
        self, name: str, base: NetworkConfig, global_: NetworkConfig, mode: Mode, seed: int
    ) -> HybridRecipe:
        """Return the recipe by which two networks are made a hybrid."""
        settings = self.hybrid
        assert settings is not None
        return HybridRecipe(
            name=name,
            seed=seed,
            mode=mode,
            data=DataConfig(
                held_out=settings.held_out,
                train=None if mode == "r" else self.supernet.data.train,
                router=settings.router_images,
                geometry=self.supernet.geometry(),
            ),
            base=base.model_copy(update={"train": settings.twins}),
            **{"global": global_},
            router=settings.router,
            alternate=settings.alternate,
            evaluate=settings.evaluate,
            deploy=settings.deploy,
        )

    def faults(self, root: Path) -> list[str]:
        """Return everything that would stop this recipe, as far as it shows without running.

        Args:
            root: Folder that data paths start from.
        """
        found = [f"supernet.{fault}" for fault in self.supernet.faults(root)]
        known = not found  # else there is no family, or no image, to count with
        found += self._methods_faults()
        if known:
            found += self._resolution_faults()
        if known and self.search.adapt_to is not None:
            given = self._given_faults(self.search.adapt_to, root)
            found, known = found + given, not given
        if known:
            found += self._limits_faults(root)
        if self.hybrid is not None:
            found += self._hybrid_faults(self.hybrid, root)
        return found

    def _methods_faults(self) -> list[str]:
        found = []
        if self.hybrid is not None and self.search.chosen is None:
            found.append("search.methods: hybrids are made of the pair that was found; add 'pair'")
        if self.search.workers and find_spec("ray") is None:
            found.append(f"search.workers: {MissingExtraError('ray', 'ray')}")
        return found

    def _resolution_faults(self) -> list[str]:
        trained = self.supernet.resolutions()
        if set(self.search.resolutions) <= set(trained):
            return []
        return [
            f"search.resolutions: expected some of {', '.join(map(str, trained))}, which the "
            f"supernet was trained at, got {', '.join(map(str, self.search.resolutions))}"
        ]

    def _given_faults(self, given: NetworkConfig, root: Path) -> list[str]:
        """Return why a global that is given cannot be used as it is."""
        count = self.supernet.data.train.class_count(root)
        found = given.faults(root, self.supernet.geometry(), count, embeds=False)
        if given.weights is None:
            found.append("give the 'weights' of a global that is given")
        elif not (root / given.weights).exists():
            found.append(
                f"there is no {root / given.weights}; set HYBRIDGE_DATA to the folder of data"
            )
        if given.finetune is not None:
            found.append("a global that is given is not trained on: leave 'finetune' out")
        return [f"search.adapt_to: {fault}" for fault in found]

    def _limits_faults(self, root: Path) -> list[str]:
        surroundings, given = self.search.surroundings, self.search.adapt_to
        geometry = self.supernet.geometry()
        # Where nobody says so there are two classes at least.
        count = self.supernet.data.train.class_count(root) or 2
        try:
            around = None if surroundings is None else surroundings.look_up()
        except HybridgeError as error:
            return [f"search.surroundings: {error}"]
        ends = bounds(
            self.supernet.elastic(),
            self.resolutions(),
            count,
            geometry.channels,
            None if self.hybrid is None else self.hybrid.router,
            None if given is None else _footprint_of(given, geometry, count),
            around,
        )
        return [
            *ends.faults("search.limits", self.search.limits, alone=self.search.alone),
            *ends.faults("search.single_limits", self.search.single_limits, alone=True),
        ]

    def _hybrid_faults(self, hybrid: HybridConfig, root: Path) -> list[str]:
        found = self._overlaps(hybrid)
        found += [f"hybrid.deploy.{fault}" for fault in hybrid.deploy.unknown_names()]
        for key in ("held_out", "router_images"):
            path = getattr(getattr(hybrid, key), "path", None)
            if path is not None and not (root / path).exists():
                found.append(
                    f"hybrid.{key}: there is no {root / path}; set HYBRIDGE_DATA to the folder of "
                    "data"
                )
        if any(mode != "r" for mode in hybrid.modes):
            if hybrid.twins is None:
                found.append("hybrid.modes: modes rb and rbg train twins of the base: give 'twins'")
            if hybrid.router_images is None:
                found.append(
                    "hybrid.modes: modes rb and rbg train on what routers make of images that no "
                    "network has fitted: give 'router_images'"
                )
        return found

    def _overlaps(self, hybrid: HybridConfig) -> list[str]:
        """Return which images are shared: what is trained or searched by judges nothing."""
        data = self.supernet.data
        named = [("supernet.data.train", data.train), ("supernet.data.validation", data.validation)]
        found = []
        for key in ("held_out", "router_images"):
            source: DataSource | None = getattr(hybrid, key)
            if source is None:
                continue
            found += [
                f"hybrid.{key} and {other_key} share rows of the same data; give each rows of its "
                "own"
                for other_key, other in named
                if source.overlaps(other)
            ]
            named.append((f"hybrid.{key}", source))
        return found


def _footprint_of(given: NetworkConfig, geometry: Geometry, class_count: int) -> Footprint:
    network = given.outline(class_count, geometry).network
    return footprint(network, (geometry.channels, geometry.height, geometry.width))
