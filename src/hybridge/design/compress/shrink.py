"""Networks with pruned layers made narrow: channels that are always zero are left out.

Letters: ``B`` batch, ``C`` channels, ``H`` height, ``W`` width, ``K`` channels that are kept.
"""

import copy
import math
from collections import Counter
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from hybridge.design.compress.replacement import Replacement, narrow_reader
from hybridge.design.compress.zeroed import ZeroedConv, ZeroedNorm
from hybridge.errors import ConfigError

TOLERANCE = 1e-5

#: What works on each channel by itself and makes zeros of zeros.
_PASSING_MODULES = (
    *(nn.Identity, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.Hardswish, nn.Tanh),
    *(nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d),
    *(nn.Dropout, nn.Dropout2d),
)
_PASSING_FUNCTIONS = {
    *(torch.relu, torch.tanh, F.relu, F.relu6, F.leaky_relu, F.gelu, F.silu, F.hardswish),
    *(F.max_pool2d, F.avg_pool2d, F.adaptive_avg_pool2d, F.adaptive_max_pool2d),
    *(F.dropout, F.dropout2d),
}
_PASSING_METHODS = {"relu", "tanh", "contiguous", "clone"}
_MEANS = {"mean", "amax"}
_FLATTENINGS = {"flatten", "reshape", "view"}


def shrink(module: nn.Module, example: Tensor) -> nn.Module:
    """Return a copy of a network without the channels that its pruned layers leave at zero.

    Every `ZeroedConv` and `ZeroedNorm` becomes a plain, narrow one, and what reads their channels
    reads the others alone. It computes the same, which is checked.

    Args:
        module: From one tensor to one tensor; what `torch.fx` can trace.
        example: An input ``(B, ...)``, best a real one: the copy is compared on it.

    Raises:
        ConfigError: The network cannot be traced, or a pruned layer cannot be narrowed without
            another result: it is the output, is added to other maps, or is not followed by a
            `ZeroedNorm`.
    """
    if not any(isinstance(part, ZeroedConv | ZeroedNorm) for part in module.modules()):
        return copy.deepcopy(module)
    narrow, whole = copy.deepcopy(module), copy.deepcopy(module).eval()
    graph = _trace(narrow)
    shapes = _Shapes(fx.GraphModule(whole, graph))
    with torch.no_grad():
        expected = shapes.run(example)
    _Narrowing(narrow, graph, shapes.found).run()
    for path, part in list(narrow.named_modules(remove_duplicate=False)):
        if isinstance(part, ZeroedConv):
            narrow.set_submodule(path, part.conv)
        elif isinstance(part, ZeroedNorm):
            narrow.set_submodule(path, part.narrowed())
    _check_same(narrow, example, expected)
    return narrow


class _Tracer(fx.Tracer):
    """Follows a network down to layers and replacements."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        whole = isinstance(m, Replacement | ZeroedNorm)
        return whole or super().is_leaf_module(m, module_qualified_name)


def _trace(module: nn.Module) -> fx.Graph:
    if isinstance(module, Replacement | ZeroedNorm):
        raise ConfigError(
            f"{type(module).__name__} alone cannot be narrowed; expected the network around it"
        )
    try:
        return _Tracer().trace(module)
    except Exception as error:  # whatever the network's own code makes of a tensor without values
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConfigError(
            f"{type(module).__name__} cannot be traced, to narrow its pruned layers: {line}"
        ) from error


class _Shapes(fx.Interpreter):
    """Runs a network and keeps the shape of every tensor."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.found: dict[str, tuple[int, ...]] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if isinstance(value, Tensor):
            self.found[n.name] = tuple(value.shape)
        return value


class _Narrowing:
    """Follows the maps of every pruned layer to their readers, and narrows these in place."""

    def __init__(
        self, root: nn.Module, graph: fx.Graph, shapes: dict[str, tuple[int, ...]]
    ) -> None:
        self._root = root
        self._graph = graph
        self._shapes = shapes
        self._calls = Counter(node.target for node in graph.nodes if node.op == "call_module")
        self._norms: set[nn.Module] = set()
        self._layer = ""

    def run(self) -> None:
        """Narrow all that reads pruned layers."""
        for node in self._graph.nodes:
            module = self._module(node)
            if isinstance(module, ZeroedConv):
                self._layer = str(node.target)
                self._check_once(node)
                self._follow(node, module.kept)
        for path, module in self._root.named_modules():
            if isinstance(module, ZeroedNorm) and module not in self._norms:
                raise ConfigError(
                    f"the norm {path!r} leaves channels at zero that no layer before it drops; "
                    "expected a pruned convolution before it"
                )

    def _follow(self, node: fx.Node, kept: Tensor) -> None:
        """Narrow what reads a value of which only the channels ``kept`` are not zero."""
        for user in node.users:
            if user.op == "call_module":
                self._follow_module(user, node, kept)
            elif self._is_passing(user) or self._is_mean(user):
                self._follow(user, kept)
            elif _name(user) in _FLATTENINGS:
                self._follow(user, self._flat(user, node, kept))
            elif _name(user) not in ("size", "shape"):
                self._refuse(user)

    def _follow_module(self, user: fx.Node, node: fx.Node, kept: Tensor) -> None:
        module = self._module(user)
        if isinstance(module, ZeroedNorm) and torch.equal(module.kept_channels, kept):
            self._check_once(user)
            self._norms.add(module)
            self._follow(user, kept)
        elif isinstance(module, _PASSING_MODULES):
            self._follow(user, kept)
        elif isinstance(module, nn.Flatten):
            self._follow(user, self._flat(user, node, kept))
        elif isinstance(module, Replacement):
            self._check_once(user)
            module.narrow_inputs(kept)
        elif reader := self._plain_reader(module, node):
            self._check_once(user)
            narrow_reader(reader, kept)
        else:
            self._refuse(user)

    def _plain_reader(
        self, module: nn.Module | None, node: fx.Node
    ) -> nn.Conv2d | nn.Linear | None:
        if isinstance(module, nn.Linear) and len(self._shapes[node.name]) == 2:
            return module
        return module if isinstance(module, nn.Conv2d) and module.groups == 1 else None

    def _is_passing(self, user: fx.Node) -> bool:
        if user.op == "call_method":
            return user.target in _PASSING_METHODS
        return user.op == "call_function" and user.target in _PASSING_FUNCTIONS

    def _is_mean(self, user: fx.Node) -> bool:
        """Return whether ``user`` takes the mean or the maximum over pixels alone."""
        if _name(user) not in _MEANS:
            return False
        axes = user.kwargs.get("dim", user.args[1] if len(user.args) > 1 else None)
        axes = axes if isinstance(axes, list | tuple) else [axes]
        return all(isinstance(axis, int) and axis % 4 >= 2 for axis in axes)

    def _flat(self, user: fx.Node, node: fx.Node, kept: Tensor) -> Tensor:
        """Return the features that come of the channels ``kept``, where maps are flattened."""
        batch, channels, *size = self._shapes[node.name]
        pixels = math.prod(size)
        if self._shapes[user.name] != (batch, channels * pixels):
            self._refuse(user)
        return (kept[:, None] * pixels + torch.arange(pixels, device=kept.device)).flatten()

    def _module(self, node: fx.Node) -> nn.Module | None:
        if node.op != "call_module":
            return None
        return self._root.get_submodule(str(node.target))

    def _check_once(self, node: fx.Node) -> None:
        if self._calls[node.target] > 1:
            raise ConfigError(
                f"{self._layer!r} cannot be narrowed: {str(node.target)!r} is used "
                f"{self._calls[node.target]} times, expected once"
            )

    def _refuse(self, user: fx.Node) -> None:
        if user.op == "output":
            reason = "it is what the network gives"
        else:
            module = self._module(user)
            label = f"{str(user.target)!r} ({type(module).__name__})" if module else _name(user)
            reason = f"{label} reads it, which would give something else"
        raise ConfigError(
            f"{self._layer!r} cannot be narrowed: {reason}; expected a ZeroedNorm of the same "
            "filters, activations and pools, and then only convolutions and linear layers: keep "
            "this layer whole"
        )


def _name(node: fx.Node) -> str:
    """Return the name of a function or method that is called, or of an attribute that is read."""
    if node.target is getattr and len(node.args) > 1:
        return str(node.args[1])
    return str(getattr(node.target, "__name__", node.target))


def _check_same(narrow: nn.Module, example: Tensor, expected: Tensor) -> None:
    """Raise `ConfigError` unless a narrowed network computes what it did before."""
    tested = copy.deepcopy(narrow).eval()
    try:
        with torch.no_grad():
            got = tested(example)
    except RuntimeError as error:
        line = str(error).strip().splitlines()[0]
        raise ConfigError(
            f"narrowed, the network cannot run: {line}; it depends on its number of channels"
        ) from error
    if got.shape != expected.shape:
        raise ConfigError(
            f"narrowed, the network gives {tuple(got.shape)}, expected {tuple(expected.shape)}"
        )
    difference = float((got - expected).abs().max())
    if not difference <= TOLERANCE * max(1.0, float(expected.abs().max())):
        raise ConfigError(f"narrowed, the network's output differs by {difference:.1e}")
