"""The block library: every unit of a network under every option, and the networks they make.

A unit under an option is a *variant*: the modules that stand in the place of the network's own.
Units after the first compressed one may be *tuned*: they start as the network's own, and are
trained together with the variants, so that blocks can be plugged into one another.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

from torch import fx, nn

from hybridge.design.modeltree.choices import KEEP, Composition
from hybridge.design.modeltree.sliced import SlicedNetwork
from hybridge.design.train.outputs import hash_network
from hybridge.errors import ConfigError
from hybridge.hashing import hash_json

Variant = Mapping[str, nn.Module]
"""The module in the place of each path that is replaced."""


class Library(nn.Module):
    """Variants of a network's units, and tuned copies of all of its modules.

    Args:
        sliced: The network; its own modules are never changed.
        variants: The variant of a unit under an option, by both.

    Attributes:
        sliced: The network.
    """

    def __init__(self, sliced: SlicedNetwork, variants: Mapping[tuple[int, str], Variant]) -> None:
        super().__init__()
        self.sliced = sliced
        self._paths: dict[str, str] = {}
        self._tuned = nn.ModuleDict()
        self._variants = nn.ModuleDict()
        self._replaced: dict[tuple[int, str], dict[str, nn.Module]] = {}
        self._units: dict[tuple[int, str, bool], fx.GraphModule] = {}
        for index in range(len(sliced.units)):
            for path, module in sliced.modules_of(index).items():
                self._tuned[_key(path)] = copy.deepcopy(module)
        for (index, option), variant in sorted(variants.items()):
            for path, module in variant.items():
                self._variants[_key(f"{index}:{option}:{path}")] = module
            self._replaced[index, option] = dict(variant)
        self.requires_grad_(True)

    @property
    def options(self) -> dict[int, tuple[str, ...]]:
        """What each unit may become, `KEEP` first."""
        found: dict[int, tuple[str, ...]] = {
            index: (KEEP,) for index in range(len(self.sliced.units))
        }
        for index, option in self._replaced:
            found[index] = (*found[index], option)
        return found

    def variant(self, index: int, option: str) -> Variant:
        """Return the variant of a unit; raises `ConfigError` where there is none."""
        try:
            return self._replaced[index, option]
        except KeyError:
            unit = self.sliced.units[index]
            raise ConfigError(
                f"the library has no {option!r} of {unit.first!r}; it has "
                f"{', '.join(self.options[index])}"
            ) from None

    def variants(self) -> Iterator[tuple[tuple[int, str], Variant]]:
        """Yield every variant with its unit and option."""
        yield from self._replaced.items()

    def unit(self, index: int, option: str, tuned: bool) -> fx.GraphModule:
        """Return a unit under an option, of the library's own modules.

        Args:
            index: Which unit.
            option: What it becomes.
            tuned: Whether a unit before it is compressed, so that what is kept is the tuned copy.
        """
        key = index, option, tuned or option != KEEP
        if key not in self._units:
            self._units[key] = self._compose(*key)
        return self._units[key]

    def units(self, composition: Composition) -> list[fx.GraphModule]:
        """Return every unit of a composed network, in order."""
        found, tuned = [], False
        for index, option in enumerate(composition):
            found.append(self.unit(index, option, tuned))
            tuned = tuned or option != KEEP
        return found

    def network(self, composition: Composition) -> nn.Sequential:
        """Return a composed network from pixels to logits, of the library's own modules."""
        return nn.Sequential(*self.units(composition))

    def copy(self) -> "Library":
        """Return a library of the same network with variants and tuned copies of its own.

        Statistics, which change as compositions are run, begin anew.
        """
        made = Library(self.sliced, {at: copy.deepcopy(v) for at, v in self.variants()})
        made.load_state_dict(self.state_dict())
        for norm in norms([made]):
            norm.reset_running_stats()
        return made

    @cached_property
    def fingerprint(self) -> str:
        """Hash of every layer and weight, as they were when this was first asked for."""
        options = sorted((index, option) for index, option in self._replaced)
        return hash_json([options, hash_network(self), hash_network(self.sliced.network)])

    def _compose(self, index: int, option: str, tuned: bool) -> fx.GraphModule:
        replaced: dict[str, nn.Module] = {}
        if tuned:
            paths = self.sliced.modules_of(index)
            replaced |= {path: self._tuned[_key(path)] for path in paths}
        if option != KEEP:
            replaced |= self.variant(index, option)
        return with_modules(self.sliced.modules[index], replaced)


def with_modules(module: fx.GraphModule, replaced: Variant) -> fx.GraphModule:
    """Return a graph module with other modules at some of its paths, sharing the rest."""
    root: dict[str, object] = {}
    for node in module.graph.nodes:
        target = str(node.target)
        if node.op == "call_module":
            root[target] = replaced.get(target) or module.get_submodule(target)
        elif node.op == "get_attr":
            root[target] = _attribute(module, target)
    made = fx.GraphModule(root, copy.deepcopy(module.graph))
    made.train(module.training)
    return made


def norms(modules: Sequence[nn.Module]) -> list[nn.BatchNorm2d]:
    """Return every batch normalisation in some modules, each once."""
    found = (
        module
        for root in modules
        for module in root.modules()
        if isinstance(module, nn.BatchNorm2d)
    )
    return list(dict.fromkeys(found))


def _attribute(module: nn.Module, path: str) -> object:
    found: object = module
    for name in path.split("."):
        found = getattr(found, name)
    return found


def _key(path: str) -> str:
    # A name in a module's dictionary has no dots.
    return path.replace(".", "/")
