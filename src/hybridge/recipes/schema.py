"""What a hybrid recipe says, and what can be known of it before anything runs."""

from collections.abc import Callable
from pathlib import Path

from pydantic import Field

from hybridge.codecs.codec import codec_named
from hybridge.cost.device import device_named
from hybridge.cost.surroundings import Surroundings
from hybridge.cost.target import Target
from hybridge.data.source import DataSource
from hybridge.design.nets.network import networks
from hybridge.design.query.alternation import AlternateSettings, Mode
from hybridge.design.query.evaluate import EvaluateSettings
from hybridge.design.query.router import RouterSettings
from hybridge.errors import HybridgeError
from hybridge.links.link import link_named
from hybridge.plan.tensors import Frozen, Geometry
from hybridge.recipes.networks import NetworkConfig as NetworkConfig


class DataConfig(Frozen):
    """Which images are used for what.

    Attributes:
        train: Images that networks may be trained on.
        router: Images that no network is trained on, for fitting routers; besides the
            calibration halves.
        held_out: Images that no network is trained on, to be halved: calibration, reporting.
        geometry: Of the images; None takes the base's from the registry.
    """

    held_out: DataSource
    train: DataSource | None = None
    router: DataSource | None = None
    geometry: Geometry | None = None


class DeployConfig(Frozen):
    """What goes into the bundle.

    Attributes:
        target: What the threshold is chosen for, on the calibration half.
        fused: Whether sent inputs are answered by base and global together.
        codec: How images are encoded for the link.
        surroundings: Device, cloud and link that price a target.
    """

    target: Target = Target(coverage=0.7)
    fused: bool = True
    codec: str = "webp"
    surroundings: Surroundings = Surroundings()

    def unknown_names(self) -> list[str]:
        """Return which names of codec, devices and link no registry knows, and the key of each."""
        found, around = [], self.surroundings
        lookups: list[tuple[str, Callable[[str], object], str]] = [
            ("codec", codec_named, self.codec),
            ("surroundings.device", device_named, around.device),
            ("surroundings.cloud", device_named, around.cloud),
            ("surroundings.link", link_named, around.link),
        ]
        for key, lookup, name in lookups:
            try:
                lookup(name)
            except HybridgeError as error:
                found.append(f"{key}: {error}")
        return found


#: Sources of which no two may share images.
SOURCE_PAIRS = (("train", "held_out"), ("router", "held_out"), ("train", "router"))


class HybridRecipe(Frozen):
    """Two networks in, a hybrid out.

    Attributes:
        name: Of the hybrid; also names its folder of results.
        seed: Of everything.
        mode: Which of router, base and global are trained together.
        data: Which images.
        base: The edge's network.
        global_: The cloud's network.
        router: How routers are fitted.
        alternate: How modes ``rb`` and ``rbg`` train.
        evaluate: What is measured.
        deploy: What goes into the bundle.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    seed: int = Field(default=0, ge=0)
    mode: Mode = "r"
    data: DataConfig
    base: NetworkConfig
    global_: NetworkConfig = Field(alias="global")
    router: RouterSettings = RouterSettings()
    alternate: AlternateSettings = AlternateSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    deploy: DeployConfig = DeployConfig()

    def geometry(self) -> Geometry:
        """Return the geometry of the images; raises `UnknownNameError` for an unknown base."""
        return self.data.geometry or networks.get(self.base.network).geometry

    def faults(self, root: Path) -> list[str]:
        """Return everything that would stop this recipe, as far as it shows without running.

        Both networks are built and run on one image, without storage for weights where that
        works; of files of weights, the headers are read.

        Args:
            root: Folder that data paths start from.
        """
        found = [f"deploy.{fault}" for fault in self.deploy.unknown_names()]
        found += [*self._missing_parts(), *self._overlaps()]
        for what, file in self._files():
            if not (root / file).exists():
                found.append(
                    f"{what}: there is no {root / file}; set HYBRIDGE_DATA to the folder of data"
                )
        return found + self._network_faults(root)

    def _network_faults(self, root: Path) -> list[str]:
        found = []
        geometry = self.data.geometry
        if geometry is None and ":" in self.base.network:
            found.append("data.geometry: a base from elsewhere needs it")
        elif geometry is None and self.base.network in networks:
            geometry = self.geometry()
        count = self.data.held_out.class_count(root)
        for key, network in (("base", self.base), ("global", self.global_)):
            embeds = key == "base" and self.router.embedding
            faults = network.faults(root, geometry, count, embeds=embeds)
            found += [f"{key}: {fault}" for fault in faults]
            # Where the data do not say, the weights of the base do.
            count = count or network.class_count(root)
        return found

    def _overlaps(self) -> list[str]:
        """Return which sources share rows: what is fitted on images cannot be judged by them."""
        return [
            f"data.{one} and data.{other} share rows of the same data; give each rows of its own"
            for one, other in SOURCE_PAIRS
            if (first := getattr(self.data, one)) is not None
            and (second := getattr(self.data, other)) is not None
            and first.overlaps(second)
        ]

    def _missing_parts(self) -> list[str]:
        found = []
        for key, network in (("base", self.base), ("global", self.global_)):
            if network.weights is None and network.train is None:
                found.append(f"{key}: give 'weights', or 'train' to train it here")
            trained = network.weights is None or network.finetune is not None
            if trained and self.data.train is None:
                found.append(f"{key}: training it needs 'data.train'")
        if self.mode != "r":
            if self.base.train is None:
                found.append(f"mode {self.mode!r} trains twins of the base: give 'base.train'")
            if self.data.train is None or self.data.router is None:
                found.append(f"mode {self.mode!r} needs 'data.train' and 'data.router'")
        return found

    def _files(self) -> list[tuple[str, Path]]:
        named = [
            ("base.weights", self.base.weights),
            ("global.weights", self.global_.weights),
            *(
                (f"data.{key}", getattr(getattr(self.data, key), "path", None))
                for key in ("train", "router", "held_out")
            ),
        ]
        return [(what, path) for what, path in named if path is not None]
