"""What a recipe of a supernet says, and what can be known of it before anything runs."""

from pathlib import Path
from typing import Literal

from pydantic import Field, FiniteFloat

from hybridge.data.source import DataSource
from hybridge.design.nets.families import families
from hybridge.design.nets.mobilenet import Family
from hybridge.design.nets.network import networks
from hybridge.design.supernet.judge import Subnet, parse_subnet
from hybridge.design.supernet.phases import (
    Phase,
    ShrinkSettings,
    default_phases,
    resolutions_of,
)
from hybridge.errors import HybridgeError
from hybridge.plan.tensors import Frozen, Geometry
from hybridge.recipes.networks import NetworkConfig


class SupernetData(Frozen):
    """Which images are used for what; no two of them share any.

    Attributes:
        train: Images that the supernet is trained on.
        validation: Images that its subnets are judged by, and searched by.
        geometry: Of the images; None takes the family's from the registry.
    """

    train: DataSource
    validation: DataSource
    geometry: Geometry | None = None


class SubnetsConfig(Frozen):
    """Which subnets are judged after the training, and how.

    Attributes:
        random: Number of random subnets besides the smallest and the largest.
        statistics_images: Training images that batch normalisation is recalibrated on.
        alone: Subnets that are also trained by themselves, for as many epochs as the supernet:
            ``smallest``, ``largest``, or ``KERNELS | EXPANSIONS | DEPTHS``, with ``@ RESOLUTION``
            behind where that is not the largest.
    """

    random: int = Field(default=3, ge=0)
    statistics_images: int = Field(default=2000, gt=1)
    alone: tuple[str, ...] = ()


class SupernetRecipe(Frozen):
    """A family in, all its networks out, trained in one set of weights.

    Attributes:
        name: Of the supernet; also names its folder of results.
        seed: Of everything.
        data: Which images.
        family: Name of the elastic family.
        mean: Per channel, of pixels scaled to 0..1; None takes the registry's.
        std: Likewise.
        weights: A checkpoint of a supernet, relative to the data folder: then none is trained.
        names: Whose names its keys have, such as ``ofa``; None: the supernet's own.
        shrink: How it is trained.
        subnets: What is then judged.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    seed: int = Field(default=0, ge=0)
    data: SupernetData
    family: str
    mean: tuple[FiniteFloat, ...] | None = Field(default=None, min_length=1)
    std: tuple[FiniteFloat, ...] | None = Field(default=None, min_length=1)
    weights: Path | None = None
    names: Literal["ofa"] | None = None
    shrink: ShrinkSettings = ShrinkSettings()
    subnets: SubnetsConfig = SubnetsConfig()

    def elastic(self) -> Family:
        """Return the family; raises `UnknownNameError` for an unknown one."""
        return families.get(self.family)

    def geometry(self, resolution: int | None = None) -> Geometry:
        """Return the geometry of the images, in full or at a resolution."""
        whole = self.data.geometry or networks.get(self.family).geometry
        if resolution is None:
            return whole
        return whole.model_copy(update={"height": resolution, "width": resolution})

    def phases(self) -> tuple[Phase, ...]:
        """Return the phases of the training."""
        side = self.geometry().height
        return self.shrink.phases or tuple(default_phases(self.elastic(), side))

    def resolutions(self) -> tuple[int, ...]:
        """Return the resolutions that subnets are trained at, ascending."""
        return resolutions_of(self.phases(), self.geometry().height)

    def alone(self) -> tuple[Subnet, ...]:
        """Return the subnets that are trained by themselves; raises `ConfigError` for others."""
        space, resolutions = self.elastic().space, self.resolutions()
        return tuple(parse_subnet(text, space, resolutions) for text in self.subnets.alone)

    def network(self, subnet: Subnet | None = None) -> NetworkConfig:
        """Return the network of a subnet, the largest by default, as a recipe has it."""
        architecture = self.elastic().space.largest if subnet is None else subnet.architecture
        phases = self.phases()
        return NetworkConfig(
            network=self.family,
            options={
                "architecture": str(architecture),
                "channels": self.geometry().channels,
            },
            mean=self.mean,
            std=self.std,
            train=self.shrink.training(phases[0], sum(phase.epochs for phase in phases)),
        )

    def faults(self, root: Path) -> list[str]:
        """Return everything that would stop this recipe, as far as it shows without running.

        Args:
            root: Folder that data paths start from.
        """
        found = [*self._data_faults(root)]
        try:
            family = self.elastic()
        except HybridgeError as error:
            return [*found, f"family: {error}"]
        geometry = self.geometry()
        if geometry.height != geometry.width:
            found.append(
                "data.geometry: expected images as high as wide, "
                f"got {geometry.height}x{geometry.width}"
            )
        found += self._phase_faults(family, geometry.height)
        count = self.data.train.class_count(root)
        faults = self.network().faults(root, geometry, count, embeds=False)
        found += [f"network: {fault}" for fault in faults]
        found += self._weights_faults(root)
        return found + self._alone_faults()

    def _weights_faults(self, root: Path) -> list[str]:
        """Return what is given to no purpose, and that there is no checkpoint where one is named.

        Whether it is of this supernet shows when it is read.
        """
        if self.weights is None:
            return [] if self.names is None else ["names: they are those of 'weights': give them"]
        found = []
        if not (root / self.weights).exists():
            found.append(
                f"weights: there is no {root / self.weights}; set HYBRIDGE_DATA to the folder of "
                "data"
            )
        for key, given in (
            ("shrink", self.shrink != ShrinkSettings()),
            ("subnets.alone", bool(self.subnets.alone)),
        ):
            if given:
                found.append(f"{key}: a supernet that has 'weights' is not trained: leave it out")
        return found

    def _alone_faults(self) -> list[str]:
        try:
            alone = self.alone()
        except HybridgeError as error:
            return [f"subnets.alone: {error}"]
        if len(set(alone)) < len(alone):
            return [f"subnets.alone: expected each once, got {', '.join(self.subnets.alone)}"]
        return []

    def _data_faults(self, root: Path) -> list[str]:
        found = []
        if self.data.train.overlaps(self.data.validation):
            found.append(
                "data.train and data.validation share rows of the same data; give each rows of "
                "its own"
            )
        for key in ("train", "validation"):
            path = getattr(getattr(self.data, key), "path", None)
            if path is not None and not (root / path).exists():
                found.append(
                    f"data.{key}: there is no {root / path}; set HYBRIDGE_DATA to the folder of "
                    "data"
                )
        return found

    def _phase_faults(self, family: Family, side: int) -> list[str]:
        phases = self.phases()
        found = [f"shrink.phases: {fault}" for p in phases for fault in p.faults(family, side)]
        names = [phase.name for phase in phases]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            found.append(
                f"shrink.phases: expected names of their own, got {', '.join(twice)} twice"
            )
        return found
