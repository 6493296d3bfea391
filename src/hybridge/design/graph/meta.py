"""Short cuts on the device ``meta``, where tensors have a shape and no numbers.

torch decides in Python what an operator gives there, which takes a hundred times as long as saying
that a shape stays what it was. Networks are counted by the dozen, and in searches by the thousand.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

#: Operators that give what they read first, in shape and type, if all else they read fits it.
_KEEPING = {"add", "mul", "relu", "hardtanh", "hardswish", "hardsigmoid"}
#: Functions that only write numbers into a tensor.
_WRITING = {
    *("normal_", "uniform_", "zero_", "fill_"),
    *("kaiming_normal_", "kaiming_uniform_", "ones_", "zeros_", "constant_"),
}


class Undrawn(TorchFunctionMode):
    """While entered, no numbers are drawn for tensors that have none."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        options = kwargs or {}
        if getattr(func, "__name__", "") in _WRITING:
            tensor = args[0] if args else options.get("tensor")
            if isinstance(tensor, Tensor) and tensor.is_meta:
                return tensor
        return func(*args, **options)


def run(operator: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Return what an operator gives, without running it where that is known by its shape."""
    given = _kept(operator, args, kwargs)
    return operator(*args, **kwargs) if given is None else given


def _kept(operator: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    read = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    if not read or args[0] is not read[0] or not all(tensor.is_meta for tensor in read):
        return None
    name = operator.overloadpacket.__name__
    if name.removesuffix("_") in _KEEPING and "out" not in kwargs and _fit(read):
        return read[0] if operator._schema.is_mutable else torch.empty_like(read[0])
    if name == "native_batch_norm" and _normalises(args):
        nothing = read[0].new_empty(0)
        return torch.empty_like(read[0]), nothing, nothing
    return None


def _fit(read: Sequence[Tensor]) -> bool:
    """Return whether all that is read is spread over the first, and is of its type."""
    first = read[0]
    if not first.is_floating_point() or any(tensor.dtype != first.dtype for tensor in read):
        return False
    return all(_spreads(tensor.shape, first.shape) for tensor in read)


def _spreads(shape: Sequence[int], over: Sequence[int]) -> bool:
    """Return whether a tensor is spread over another one by torch's rules, which keep its shape."""
    pairs = zip(reversed(shape), reversed(over), strict=False)
    return len(shape) <= len(over) and all(one in (1, other) for one, other in pairs)


def _normalises(args: Any) -> bool:
    """Return whether statistics and scales of every channel are given, and none are to be made."""
    maps, weight, bias, mean, variance, training = args[:6]
    given = [tensor for tensor in (weight, bias, mean, variance) if tensor is not None]
    channels = maps.shape[1:2]
    return not training and mean is not None and all(tensor.shape == channels for tensor in given)
