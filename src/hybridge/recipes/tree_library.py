"""From a recipe of a model tree to a library that can be searched."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path

import numpy as np
from torch import Tensor

from hybridge.codecs.codec import codec_named
from hybridge.cost.device import Device, device_named
from hybridge.cost.price import compute_ms
from hybridge.data.dataset import Dataset, subset
from hybridge.design.graph.sizes import encoded_sizes
from hybridge.design.modeltree.build import BuiltVariant, build_library, calibration_pixels
from hybridge.design.modeltree.choices import KEEP, BlockChoice, Composition
from hybridge.design.modeltree.costs import NetworkCosts
from hybridge.design.modeltree.evaluators import HeldOut, LibraryEvaluator
from hybridge.design.modeltree.exact import ExactSettings
from hybridge.design.modeltree.joint import train_together
from hybridge.design.modeltree.library import Library
from hybridge.design.modeltree.make_plan import FEATURE_CODEC
from hybridge.design.modeltree.sliced import SlicedNetwork, slice_network
from hybridge.design.modeltree.space import Options, all_options, alone, limited
from hybridge.design.store import Store
from hybridge.design.train.settings import TrainSettings
from hybridge.errors import ConfigError
from hybridge.hashing import hash_json
from hybridge.progress import track
from hybridge.recipes.training import CHECKPOINTS, read_weights_of, train_network
from hybridge.recipes.tree_schema import TreeRecipe


@dataclass(frozen=True)
class Prepared:
    """What every search of a recipe begins with.

    Attributes:
        recipe: As it is run.
        train: Training images.
        sliced: The original, in blocks.
        library: Variants, trained.
        alone: The library as it was before variants were trained together.
        options: What each unit may become in the search.
        sizes: Mean encoded bytes of the input and of every node.
        statistics: Training images for batch normalisation, as pixels.
        calibration: Images that the search judges by.
        reporting: Images that reports judge by.
        built: What came of each variant.
        joint_seconds: What training them together took, now or when it was kept.
    """

    recipe: TreeRecipe
    train: Dataset
    sliced: SlicedNetwork
    library: Library
    alone: Library
    options: Options
    sizes: dict[str, float]
    statistics: Tensor
    calibration: HeldOut
    reporting: HeldOut
    built: tuple[BuiltVariant, ...]
    joint_seconds: float

    @property
    def original(self) -> Composition:
        """The composition that keeps everything."""
        return (KEEP,) * len(self.sliced.units)

    def evaluator(self, held_out: HeldOut) -> LibraryEvaluator:
        """Return what judges compositions on some images."""
        return LibraryEvaluator(self.library, self.statistics, held_out, Store())

    def costs(
        self, device: Device, cloud: Device, sizes: Mapping[str, float] | None = None
    ) -> NetworkCosts:
        """Return the prices of the library's blocks; ``sizes`` where bytes are others."""
        return self._costs.on(device, cloud, sizes)

    @cached_property
    def _costs(self) -> NetworkCosts:
        """Prices for some device, whose count of layers all devices and scenes share."""
        recipe = self.recipe
        device, cloud = device_named(recipe.contexts[0].device), device_named(recipe.cloud)
        return NetworkCosts(self.library, device, cloud, self.sizes)


def check(recipe: TreeRecipe, root: Path) -> None:
    """Raise `ConfigError` naming everything that would stop the recipe, without running it."""
    if faults := recipe.faults(root):
        raise ConfigError("; ".join(faults))


def prepare(recipe: TreeRecipe, root: Path, folder: Path) -> Prepared:
    """Make the original ready, and build the library that is searched.

    Args:
        recipe: What to do.
        root: Folder that data paths start from.
        folder: Of the run; what was cut off goes on there.

    Raises:
        ConfigError: The recipe cannot be run, or the network cannot be captured or cut.
    """
    check(recipe, root)
    geometry, data, library = recipe.geometry(), recipe.data, recipe.library
    train = data.train.open(geometry, root)
    calibration = _first(data.calibration.open(geometry, root), recipe.search.images)
    reporting = data.reporting.open(geometry, root)
    sliced = _original(recipe, train, root, folder)
    some = calibration.pixels(np.arange(min(library.size_images, len(calibration))))
    codecs = codec_named(recipe.image_codec), codec_named(FEATURE_CODEC)
    sizes = encoded_sizes(sliced.graph, some, *codecs)
    statistics = calibration_pixels(train, library.statistics_images, recipe.seed + 1)
    judged = HeldOut(calibration)
    every = all_options(sliced, library.options)
    if library.variants_of_block is None:
        _check_size(every)
    by_itself, built = build_library(
        sliced, every, train, library.variants, Store(), seed=recipe.seed
    )
    options = _options(recipe, sliced, every, by_itself, statistics, judged)

    def searched() -> Library:
        return build_library(sliced, options, train, library.variants, Store(), seed=recipe.seed)[0]

    together = searched()
    joint_seconds = 0.0
    if library.together is not None and any(options.values()):
        joint_seconds = _train_together(together, library.together, train, folder, recipe.seed)
    return Prepared(
        recipe=recipe,
        train=train,
        sliced=sliced,
        library=together,
        alone=searched(),
        options=options,
        sizes=sizes,
        statistics=statistics,
        calibration=judged,
        reporting=HeldOut(reporting),
        built=built,
        joint_seconds=joint_seconds,
    )


def _check_size(options: Options) -> None:
    """Raise `ConfigError` where there is more than the exact search, the yardstick, can do."""
    count, most = prod(1 + len(each) for each in options.values()), ExactSettings().compositions
    if count > most:
        raise ConfigError(
            f"expected a space of at most {most:,} compositions, got {count:,}; name fewer "
            "'library.options', or give 'library.variants_of_block'"
        )


def _train_together(
    library: Library, settings: TrainSettings, train: Dataset, folder: Path, seed: int
) -> float:
    """Train variants together, and return the seconds that it took, now or when it was kept."""
    began = time.perf_counter()
    checkpoint = folder / CHECKPOINTS / "library.safetensors"
    train_together(library, train, settings, seed=seed, checkpoint=checkpoint)
    seconds = time.perf_counter() - began
    key = hash_json(["seconds together", library.fingerprint])
    return float(Store().keep(key, lambda: {"seconds": np.array(seconds)})["seconds"])


def _first(data: Dataset, count: int | None) -> Dataset:
    return data if count is None or count >= len(data) else subset(data, np.arange(count))


def _original(recipe: TreeRecipe, train: Dataset, root: Path, folder: Path) -> SlicedNetwork:
    """Return the original, ready; what cannot be captured or cut is found before it is trained."""
    network = recipe.network.new(train.class_count, recipe.seed, "original")
    slices = recipe.slices
    sliced = slice_network(
        network,
        recipe.geometry(),
        block_count=slices.blocks,
        at=slices.at,
        unit_count=slices.units,
    )
    read_weights_of(recipe.network, network, root)
    train_network(network, recipe.network, train, folder=folder, role="original", seed=recipe.seed)
    return sliced


def _options(
    recipe: TreeRecipe,
    sliced: SlicedNetwork,
    options: Options,
    library: Library,
    statistics: Tensor,
    judged: HeldOut,
) -> Options:
    """Return the options that are searched: the best of each block by themselves."""
    most = recipe.library.variants_of_block
    if most is None:
        return options
    evaluator = LibraryEvaluator(library, statistics, judged, Store())
    device_name = recipe.contexts[0].device
    worth = _Worth(recipe, sliced, library, device_name)
    original = evaluator.accuracy((KEEP,) * len(sliced.units)).value
    gains = {}
    singles = [(index, option) for index, each in options.items() for option in each]
    for index, option in track(singles, "judging options"):
        composition = alone(sliced, index, option.name)
        lost = original - evaluator.accuracy(composition).value
        gains[index, option.name] = worth.saved(composition) / (max(lost, 0.0) + _LEAST_LOSS)
    return limited(sliced, options, gains, most)


#: What an option loses at least, as a share of images, when its gain is judged: less is noise.
_LEAST_LOSS = 0.01


class _Worth:
    """Time on a device that compositions save."""

    def __init__(
        self, recipe: TreeRecipe, sliced: SlicedNetwork, library: Library, device_name: str
    ) -> None:
        device = device_named(device_name)
        self._sliced = sliced
        self._costs = NetworkCosts(library, device, device_named(recipe.cloud), {"input": 0.0})
        self._original_ms = compute_ms(sliced.graph.layers, device)

    def saved(self, composition: Composition) -> float:
        """Return the milliseconds that a composition saves on the edge."""
        total_ms = 0.0
        for level in range(len(self._sliced.block_starts)):
            units = self._sliced.block_units(level)
            choice = BlockChoice(None, composition[units.start : units.stop])
            total_ms += self._costs.edge_ms(level, choice)
        return self._original_ms - total_ms
