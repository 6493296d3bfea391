"""What a recipe of a model tree says, and what can be known of it before anything runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import Field

from hybridge.codecs.codec import codec_named
from hybridge.cost.device import device_named
from hybridge.cost.reward import Reward
from hybridge.data.source import DataSource
from hybridge.design.compress.technique import option_named
from hybridge.design.modeltree.evaluators import DistillSettings
from hybridge.design.modeltree.searchers import searchers
from hybridge.design.modeltree.variants import VariantSettings
from hybridge.design.nets.network import networks
from hybridge.design.train.settings import TrainSettings
from hybridge.errors import HybridgeError
from hybridge.links.link import link_named
from hybridge.links.scenes import scenes
from hybridge.plan.tensors import Frozen, Geometry
from hybridge.recipes.networks import NetworkConfig


class TreeData(Frozen):
    """Which images are used for what; no two of them share any.

    Attributes:
        train: Images that networks are trained on.
        calibration: Images that the search judges by.
        reporting: Images that what is reported is judged by.
        geometry: Of the images; None takes the network's from the registry.
    """

    train: DataSource
    calibration: DataSource
    reporting: DataSource
    geometry: Geometry | None = None


class SliceConfig(Frozen):
    """How the network is cut into blocks.

    Attributes:
        blocks: Number of blocks, balanced by multiply-accumulates.
        at: Names of the layers with which the second and later blocks begin, instead.
        units: Most units that may be cut apart or compressed apart; neighbours are joined.
    """

    blocks: int = Field(default=3, gt=0)
    at: tuple[str, ...] = ()
    units: int | None = Field(default=None, gt=0)


class LibraryConfig(Frozen):
    """How the block library is built.

    Attributes:
        options: Names of options that units may have; ``*`` stands for any letters.
        variants: How each variant is trained by itself.
        variants_of_block: Most variants of a block that are searched, the original counted: the
            best by themselves. None searches all.
        together: How all variants are then trained together; None does not.
        statistics_images: Training images that batch normalisation is recalibrated on.
        size_images: Images of the calibration set that encoded sizes are measured on.
    """

    options: tuple[str, ...] = ("*",)
    variants: VariantSettings = VariantSettings()
    variants_of_block: int | None = Field(default=6, gt=1)
    together: TrainSettings | None = None
    statistics_images: int = Field(default=1000, gt=1)
    size_images: int = Field(default=200, gt=0)


class SearchConfig(Frozen):
    """How trees are searched.

    Attributes:
        searcher: Name of the searcher of the tree.
        settings: Of the searcher.
        images: Images of the calibration set that compositions are judged on; None takes all.
        accuracy_loss: The most that a branch may lose against the original, as a share of images;
            None leaves it to the reward.
        accuracy_points: Reward taken off for each hundredth that is lost beyond that.
        reward: What the search goes by, where that is not what is reported.
        finetune: How the compositions that were found are then trained together, so that they win
            back some of what they lost; None does not.
        compare: Searchers whose curves are drawn.
        seeds: How often each of them is run.
        distilled: Random compositions on which the library is compared with the paper's way.
        distill: The paper's way.
    """

    searcher: str = "reinforce"
    settings: dict[str, Any] = Field(default_factory=dict)
    images: int | None = Field(default=None, gt=0)
    accuracy_loss: float | None = Field(default=None, ge=0, lt=1)
    accuracy_points: float = Field(default=50.0, ge=0)
    reward: Reward | None = None
    finetune: TrainSettings | None = None
    compare: tuple[str, ...] = ()
    seeds: int = Field(default=5, gt=0)
    distilled: int = Field(default=0, ge=0)
    distill: DistillSettings = DistillSettings()


class ContextConfig(Frozen):
    """A device and the scenes it is used in.

    Attributes:
        device: Profile of the device.
        scenes: Names of scenes, or files of traces below the data folder.
        slower: How many times slower than its profile the device is.
        rate_per_s: Requests a second in emulations.
    """

    device: str = "xiaomi-mi6x"
    scenes: tuple[str, ...] = Field(min_length=1)
    slower: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    rate_per_s: float = Field(default=5.0, gt=0, allow_inf_nan=False)


class TreeRecipe(Frozen):
    """A network in, a model tree for each device and scene out.

    Attributes:
        name: Of the tree; also names its folder of results.
        seed: Of everything.
        data: Which images.
        network: The original.
        slices: Its blocks.
        library: Their variants.
        search: How trees are searched.
        contexts: For which devices and scenes.
        cloud: Profile of the server.
        links: Link whose round trip and ``f(S|W)`` a kind of scene has; bandwidths are the traces'.
        types: Types of bandwidth, ``K``.
        image_codec: How images cross.
        reward: What latency and accuracy are worth together.
        traces: Folder of traces below the data folder.
        emulate_s: Longest stretch of a trace that is emulated.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    seed: int = Field(default=0, ge=0)
    data: TreeData
    network: NetworkConfig
    slices: SliceConfig = SliceConfig()
    library: LibraryConfig = LibraryConfig()
    search: SearchConfig = SearchConfig()
    contexts: tuple[ContextConfig, ...] = Field(min_length=1)
    cloud: str = "gtx1080ti"
    links: dict[str, str] = Field(default_factory=lambda: {"4g": "lte", "wifi": "wifi"})
    types: int = Field(default=2, gt=0)
    image_codec: str = "webp"
    reward: Reward = Reward()
    traces: Path = Path("traces")
    emulate_s: float = Field(default=300.0, gt=0)

    def geometry(self) -> Geometry:
        """Return the geometry of the images; raises `UnknownNameError` for an unknown network."""
        return self.data.geometry or networks.get(self.network.network).geometry

    def slowed_devices(self) -> frozenset[str]:
        """Return the names of devices that are slower than their profiles, or faster."""
        return frozenset(
            device_named(each.device).slowed(each.slower).name
            for each in self.contexts
            if each.slower != 1
        )

    def faults(self, root: Path) -> list[str]:
        """Return everything that would stop this recipe, as far as it shows without running.

        Args:
            root: Folder that data paths start from.
        """
        found = [*self._unknown_names(), *self._missing_parts(), *self._overlaps()]
        for what, path in self._files():
            if not (root / path).exists():
                found.append(
                    f"{what}: there is no {root / path}; set HYBRIDGE_DATA to the folder of data"
                )
        geometry = self.data.geometry
        if geometry is None and self.network.network in networks:
            geometry = self.geometry()
        count = self.data.reporting.class_count(root)
        faults = self.network.faults(root, geometry, count, embeds=False)
        return found + [f"network: {fault}" for fault in faults]

    def _unknown_names(self) -> list[str]:
        lookups: list[tuple[str, Callable[[str], object], str]] = [
            ("cloud", device_named, self.cloud),
            ("image_codec", codec_named, self.image_codec),
            ("search.searcher", searchers.get, self.search.searcher),
            *(("search.compare", searchers.get, name) for name in self.search.compare),
            *((f"links.{kind}", link_named, name) for kind, name in self.links.items()),
            *(("contexts.device", device_named, each.device) for each in self.contexts),
            *(
                ("contexts.scenes", scenes.get, scene)
                for each in self.contexts
                for scene in each.scenes
                if "/" not in scene
            ),
            *(
                ("library.options", option_named, name)
                for name in self.library.options
                if not set("*?[") & set(name)
            ),
        ]
        found = []
        for key, lookup, name in lookups:
            try:
                lookup(name)
            except HybridgeError as error:
                found.append(f"{key}: {error}")
        if self.search.searcher in searchers:
            try:
                searchers.get(self.search.searcher).check(self.search.settings)
            except HybridgeError as error:
                found.append(f"search.settings: {error}")
        return found

    def _missing_parts(self) -> list[str]:
        found = []
        if self.network.weights is None and self.network.train is None:
            found.append("network: give 'weights', or 'train' to train it here")
        if self.data.geometry is None and ":" in self.network.network:
            found.append("data.geometry: a network from elsewhere needs it")
        for kind in ("4g", "wifi"):
            if kind not in self.links:
                found.append(f"links: name a link for scenes of {kind!r}")
        return found

    def _overlaps(self) -> list[str]:
        pairs = (("train", "calibration"), ("train", "reporting"), ("calibration", "reporting"))
        return [
            f"data.{one} and data.{other} share rows of the same data; give each rows of its own"
            for one, other in pairs
            if getattr(self.data, one).overlaps(getattr(self.data, other))
        ]

    def _files(self) -> list[tuple[str, Path]]:
        by_name = any("/" not in scene for each in self.contexts for scene in each.scenes)
        named = [
            ("network.weights", self.network.weights),
            ("traces", self.traces if by_name else None),
            *(
                (f"data.{key}", getattr(getattr(self.data, key), "path", None))
                for key in ("train", "calibration", "reporting")
            ),
            *(
                ("contexts.scenes", Path(scene))
                for each in self.contexts
                for scene in each.scenes
                if "/" in scene
            ),
        ]
        return [(what, path) for what, path in named if path is not None]
