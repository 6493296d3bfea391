"""Variants of a network's units: each is made from the original, and then trained by itself.

What a variant learns is to reproduce what the original gives on cached activations. Its unit is
what does so: of a filter-pruned layer that narrows the next unit, both together.

Letters: ``N`` images, ``B`` batch, ``C`` channels.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from hybridge.design.compress.prune import ZeroedConv, ZeroedNorm, importance, pruned_filters
from hybridge.design.compress.technique import option_name, option_named, options_for, techniques
from hybridge.design.modeltree.library import Variant, with_modules
from hybridge.design.modeltree.sliced import LayerPlace, SlicedNetwork
from hybridge.errors import ConfigError
from hybridge.plan.tensors import Frozen

PRUNING = "W1"


class VariantSettings(Frozen):
    """How each variant is trained by itself.

    Attributes:
        images: Training images whose activations are cached.
        epochs: Times each of them is seen.
        batch_size: Images in a step.
        learning_rate: Of Adam, falling to zero along a cosine.
    """

    images: int = Field(default=2000, gt=0)
    epochs: int = Field(default=3, ge=0)
    batch_size: int = Field(default=50, gt=0)
    learning_rate: float = Field(default=1e-3, gt=0)


@dataclass(frozen=True)
class UnitOption:
    """What a unit may become.

    Attributes:
        name: Name of the option.
        layers: Paths of the layers that it replaces.
        crossing: Whether it narrows what the next unit reads.
    """

    name: str
    layers: tuple[str, ...]
    crossing: bool

    def window(self, index: int) -> tuple[int, ...]:
        """Return the units whose output unit ``index`` learns to reproduce together."""
        return (index, index + 1) if self.crossing else (index,)


def unit_options(
    sliced: SlicedNetwork, index: int, patterns: Sequence[str] = ("*",)
) -> tuple[UnitOption, ...]:
    """Return what a unit may become, in the order of the techniques' names.

    Args:
        sliced: The network.
        index: The unit.
        patterns: Names of options that are wanted, ``*`` for any letters.
    """
    found: dict[str, list[str]] = {}
    unit = sliced.modules[index]
    for place in sliced.layers[index]:
        for name in options_for(unit.get_submodule(place.path), place.reads):
            if option_named(name)[0].name == PRUNING:
                continue  # below, where it is known what reads the filters
            found.setdefault(name, []).append(place.path)
    options = [UnitOption(name, tuple(paths), False) for name, paths in found.items()]
    pruning = techniques.get(PRUNING)
    paths, crossing = _pruned_layers(sliced, index)
    if paths:
        options += [
            UnitOption(option_name(PRUNING, strength), paths, crossing)
            for strength in pruning.strengths
        ]
    return tuple(
        option for option in options if any(fnmatch(option.name, each) for each in patterns)
    )


def _pruned_layers(sliced: SlicedNetwork, index: int) -> tuple[tuple[str, ...], bool]:
    """Return the convolutions that may be narrowed, and whether the next unit reads one of them.

    Those that are read inside the unit; where there is none, the one that the next unit reads.
    """
    own = {place.path for place in sliced.layers[index]}
    readers = {
        place.path: reader_of(sliced, place.path)
        for place in sliced.layers[index]
        if isinstance(sliced.modules[index].get_submodule(place.path), nn.Conv2d)
    }
    inside = tuple(path for path, reader in readers.items() if reader in own)
    if inside:
        return inside, False
    outside = tuple(path for path, reader in readers.items() if reader is not None)
    return outside, bool(outside)


def reader_of(sliced: SlicedNetwork, path: str) -> str | None:
    """Return the layer that alone reads another's maps, past norms, activations and pools."""
    graph, name = sliced.graph, path
    while True:
        readers = graph.readers(name)
        if len(readers) != 1:
            return None
        node = graph[readers[0]]
        if node.operation in ("Conv2d", "Linear"):
            grouped = node.operation == "Conv2d" and not _is_plain(sliced, node.name)
            return None if grouped else node.name
        if len(node.reads) != 1 or node.kind not in ("norm", "activation", "pool", "view", "other"):
            return None
        name = node.name


def _is_plain(sliced: SlicedNetwork, path: str) -> bool:
    layer = sliced.network.get_submodule(path)
    return isinstance(layer, nn.Conv2d) and layer.groups == 1


def make_variant(
    sliced: SlicedNetwork, index: int, option: UnitOption, inputs: Tensor
) -> dict[str, nn.Module]:
    """Return the variant of a unit as it starts, from the original's weights.

    Args:
        sliced: The network.
        index: The unit.
        option: What it becomes.
        inputs: What the unit reads: ``(N, ...)``.

    Raises:
        ConfigError: The option does not fit the unit.
    """
    known = [each.name for each in unit_options(sliced, index)]
    if option.name not in known:
        raise ConfigError(
            f"{sliced.units[index].first!r} cannot become {option.name!r}; it may become "
            f"{', '.join(known) or 'nothing else'}"
        )
    places = [place for place in sliced.layers[index] if place.path in option.layers]
    made: dict[str, nn.Module] = {}
    for place in places:
        if option_named(option.name)[0].name == PRUNING:
            made |= _prune(sliced, index, place, option.name, inputs)
        else:
            made |= _replace(sliced, index, place, option.name, inputs)
    return made


def _replace(
    sliced: SlicedNetwork, index: int, place: LayerPlace, option: str, inputs: Tensor
) -> dict[str, nn.Module]:
    technique, strength = option_named(option)
    unit = sliced.modules[index]
    layer = unit.get_submodule(place.path)
    seen = _seen_by(unit, place.path, inputs)
    made = {place.path: technique.replace(layer, strength, place.reads, seen)}
    if place.norm is not None:
        made[place.norm] = copy.deepcopy(unit.get_submodule(place.norm))
    return made


def _prune(
    sliced: SlicedNetwork, index: int, place: LayerPlace, option: str, inputs: Tensor
) -> dict[str, nn.Module]:
    _, strength = option_named(option)
    unit = sliced.modules[index]
    layer = unit.get_submodule(place.path)
    assert isinstance(layer, nn.Conv2d)
    reader_path = reader_of(sliced, place.path)
    assert reader_path is not None
    reader = sliced.network.get_parameter(f"{reader_path}.weight")
    follows = torch.relu(_seen_from(unit, place.norm or place.path, inputs))
    dropped = pruned_filters(importance(layer, follows, [reader]), strength)
    made: dict[str, nn.Module] = {place.path: ZeroedConv(layer, dropped)}
    if place.norm is not None:
        norm = unit.get_submodule(place.norm)
        assert isinstance(norm, nn.BatchNorm2d)
        made[place.norm] = ZeroedNorm(norm, dropped)
    return made


@torch.no_grad()
def _seen_by(unit: nn.Module, path: str, inputs: Tensor) -> Tensor:
    """Return what a layer of a unit reads."""
    seen: list[Tensor] = []
    layer = unit.get_submodule(path)
    handle = layer.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    try:
        unit(inputs)
    finally:
        handle.remove()
    return seen[0]


@torch.no_grad()
def _seen_from(unit: nn.Module, path: str, inputs: Tensor) -> Tensor:
    """Return what a module of a unit gives."""
    seen: list[Tensor] = []
    handle = unit.get_submodule(path).register_forward_hook(lambda _, __, out: seen.append(out))
    try:
        unit(inputs)
    finally:
        handle.remove()
    return seen[0]


def train_variant(
    sliced: SlicedNetwork,
    index: int,
    option: UnitOption,
    variant: Variant,
    inputs: Tensor,
    settings: VariantSettings,
    seed: int,
) -> float:
    """Train a variant in place to give what the original gives, and return its relative error.

    Args:
        sliced: The network.
        index: The unit.
        option: What it becomes.
        variant: Of `make_variant`.
        inputs: What the unit reads: ``(N, ...)``.
        settings: How.
        seed: Of the order of images.

    Returns:
        Mean squared error on the cached activations over their variance, after training.
    """
    window = option.window(index)
    teacher = nn.Sequential(*(sliced.modules[unit] for unit in window))
    student = nn.Sequential(
        with_modules(sliced.modules[index], variant),
        *(copy.deepcopy(sliced.modules[unit]) for unit in window[1:]),
    ).eval()
    for module in variant.values():
        module.train()
    with torch.no_grad():
        targets = torch.cat([teacher(part) for part in torch.split(inputs, settings.batch_size)])
    scale = targets.var().clamp_min(1e-12)
    trained = [p for module in variant.values() for p in module.parameters()]
    optimizer = torch.optim.Adam(trained, lr=settings.learning_rate)
    steps = settings.epochs * -(-len(inputs) // settings.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    generator = torch.Generator().manual_seed(seed)
    for _ in range(settings.epochs):
        order = torch.randperm(len(inputs), generator=generator)
        for rows in torch.split(order, settings.batch_size):
            loss = F.mse_loss(student(inputs[rows]), targets[rows]) / scale
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return _error(student, inputs, targets, settings.batch_size) / float(scale)


@torch.no_grad()
def _error(student: nn.Module, inputs: Tensor, targets: Tensor, batch_size: int) -> float:
    parts = zip(torch.split(inputs, batch_size), torch.split(targets, batch_size), strict=True)
    total = sum(float(F.mse_loss(student(x), y)) * len(x) for x, y in parts)
    return total / len(inputs)
