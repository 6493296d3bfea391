"""What a hybrid recipe says, and what can be known of it before anything runs."""

from pathlib import Path
from typing import Any

from pydantic import Field

from hybridge.codecs.codec import codec_named
from hybridge.cost.device import devices
from hybridge.cost.target import Target
from hybridge.cost.tune import Surroundings
from hybridge.data.source import DataSource
from hybridge.design.nets.network import networks
from hybridge.design.query.alternate import AlternateSettings, Mode
from hybridge.design.query.evaluate import EvaluateSettings
from hybridge.design.query.router import RouterSettings
from hybridge.design.train.loop import TrainSettings
from hybridge.errors import HybridgeError
from hybridge.links.link import links
from hybridge.plan.tensors import Frozen, Geometry


class NetworkConfig(Frozen):
    """A network, and where its weights come from.

    Attributes:
        network: Name in the registry, ``package.module:function`` or ``timm:NAME``.
        options: What else its builder takes.
        weights: A safetensors file, relative to the data folder; None trains it.
        prefixes: How keys of the file are renamed, by their beginning.
        mean: Per channel, of pixels scaled to 0..1; None takes the registry's.
        std: Likewise.
        train: How it is trained where it has no weights, and how its twins are.
    """

    network: str
    options: dict[str, Any] = Field(default_factory=dict)
    weights: Path | None = None
    prefixes: dict[str, str] = Field(default_factory=dict)
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    train: TrainSettings | None = None


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

        Args:
            root: Folder that data paths start from.
        """
        found = [*self._unknown_names(), *self._missing_parts()]
        for what, file in self._files():
            if not (root / file).exists():
                found.append(
                    f"{what}: there is no {root / file}; set HYBRIDGE_DATA to the folder of data"
                )
        return found

    def _unknown_names(self) -> list[str]:
        found, around = [], self.deploy.surroundings
        lookups = [
            ("deploy.codec", codec_named, self.deploy.codec),
            ("deploy.surroundings.device", devices.get, around.device),
            ("deploy.surroundings.cloud", devices.get, around.cloud),
            ("deploy.surroundings.link", links.get, around.link),
        ]
        for key, network in (("base", self.base), ("global", self.global_)):
            if ":" not in network.network:
                lookups.append((f"{key}.network", networks.get, network.network))
            elif network.mean is None or network.std is None:
                found.append(f"{key}: a network from elsewhere needs 'mean' and 'std'")
        if ":" in self.base.network and self.data.geometry is None:
            found.append("data.geometry: a base from elsewhere needs it")
        for key, lookup, name in lookups:
            try:
                lookup(name)
            except HybridgeError as error:
                found.append(f"{key}: {error}")
        return found

    def _missing_parts(self) -> list[str]:
        found = []
        for key, network in (("base", self.base), ("global", self.global_)):
            if network.weights is None and network.train is None:
                found.append(f"{key}: give 'weights', or 'train' to train it here")
            if network.weights is None and self.data.train is None:
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
