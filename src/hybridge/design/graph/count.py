"""What a network costs: one `Layer` row for every operator that it runs, in that order.

Letters: ``B`` batch, ``K`` kernel size, ``Cin`` and ``Cout`` channels.
"""

from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.module_tracker import ModuleTracker

from hybridge.plan.layers import Layer, total_macs, total_parameters

_MATRIX_PRODUCTS = {"mm", "addmm", "bmm", "baddbmm", "linear"}


def count_layers(module: nn.Module, *examples: Tensor) -> tuple[Layer, ...]:
    """Return the cost of ``module`` for one input, operator by operator.

    A convolution takes ``K * K * Cin / groups * Cout`` multiply-accumulates for each output
    pixel, a matrix product one for each pair of numbers multiplied; all else is priced by the
    bytes it writes. Operators that only look at their input in another shape have no row.

    Args:
        module: Run once, in evaluation mode, and put back into its own mode.
        examples: Its inputs, ``(1, ...)`` each.
    """
    was_training = module.training
    module.eval()
    try:
        with torch.no_grad(), ModuleTracker() as tracker, _Watcher(module, tracker) as watcher:
            module(*examples)
    finally:
        module.train(was_training)
    return tuple(watcher.rows)


def count_macs(module: nn.Module, *examples: Tensor) -> int:
    """Return the multiply-accumulates of ``module`` for one input."""
    return total_macs(count_layers(module, *examples))


def count_parameters(module: nn.Module, *examples: Tensor) -> int:
    """Return the parameters that ``module`` uses for one input."""
    return total_parameters(count_layers(module, *examples))


class _Watcher(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every operator that runs, whichever module or function called it."""

    def __init__(self, module: nn.Module, tracker: ModuleTracker) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.rows: list[Layer] = []
        self._tracker = tracker
        self._root = type(module).__name__
        named = module.named_modules()
        self._layers = {name for name, child in named if name and not list(child.children())}
        self._named: Counter[str] = Counter()
        # A weight reaches its operator as a view of itself, transposed perhaps.
        self._unseen = {_storage(parameter): parameter.numel() for parameter in module.parameters()}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        inputs = _tensors((args, kwargs))
        outputs = _tensors(result)
        written = [tensor for tensor in outputs if tensor.numel()]
        in_place = func._schema.is_mutable
        if written and (in_place or _storage(written[0]) not in map(_storage, inputs)):
            self._add(func.overloadpacket.__name__, args, inputs, written[0])
        return result

    def _add(self, operator: str, args: Any, inputs: list[Tensor], output: Tensor) -> None:
        kernel, macs = 0, 0
        if operator == "convolution":
            kernel, macs = args[1].shape[-1], output.numel() * args[1][0].numel()
        elif operator in _MATRIX_PRODUCTS:
            macs = output.numel() * inputs[-1].shape[-2]
        self.rows.append(
            Layer(
                name=self._name(operator),
                kind=_kind(operator, args),
                kernel=kernel,
                macs=macs,
                parameters=sum(self._unseen.pop(_storage(tensor), 0) for tensor in inputs),
                output_bytes=output.numel() * output.element_size(),
            )
        )

    def _name(self, operator: str) -> str:
        """Return the path of the layer that runs, or of the module and its operator."""
        path = max(self._tracker.parents - {"Global"}, key=len)
        path = path.removeprefix(self._root).removeprefix(".")
        name = path if path in self._layers else f"{path}.{operator}".removeprefix(".")
        self._named[name] += 1
        return name if self._named[name] == 1 else f"{name}:{self._named[name]}"


def _kind(operator: str, args: Any) -> str:
    if operator == "convolution":
        groups = args[8]
        return "depthwise" if groups > 1 and groups == args[0].shape[1] else "conv"
    if operator in _MATRIX_PRODUCTS:
        return "linear"
    if "norm" in operator:
        return "norm"
    return "pool" if "pool" in operator or operator == "mean" else "other"


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
