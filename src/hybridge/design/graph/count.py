"""What a network costs: one `Layer` row for every operator that it runs, in that order.

Letters: ``B`` batch, ``K`` kernel size, ``Cin`` and ``Cout`` channels.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from hybridge.design.graph.meta import run
from hybridge.errors import ConfigError
from hybridge.plan.layers import Layer, total_macs, total_parameters

#: Matrix products, and which of their arguments is the left factor.
_MATRIX_PRODUCTS = {
    **dict.fromkeys(("mm", "bmm", "mv", "dot", "linear"), 0),
    **dict.fromkeys(("addmm", "baddbmm", "addmv"), 1),
}
#: Operators that may read a weight and multiply nothing by it that counts, besides the pointwise.
_FREE = {
    *("cat", "stack", "clone", "repeat", "index", "index_select", "gather", "embedding", "flip"),
    *("constant_pad_nd", "roll", "_softmax", "_log_softmax", "_safe_softmax"),
    *("mean", "sum", "var_mean", "amax", "linalg_vector_norm", "_weight_norm_interface"),
    *("native_layer_norm", "native_group_norm", "_fused_rms_norm"),
    *("upsample_bicubic2d", "upsample_bilinear2d", "upsample_nearest2d"),
}

#: Functions of one number that runtimes fuse into the layer before.
_ACTIVATIONS = {"relu", "hardtanh", "clamp", "leaky_relu", "sigmoid", "hardsigmoid", "tanh"}


def count_layers(module: nn.Module, *examples: Tensor) -> tuple[Layer, ...]:
    """Return the cost of ``module`` for one input, operator by operator.

    A convolution takes ``K * K * Cin / groups * Cout`` multiply-accumulates for each output
    pixel, a matrix product one for each pair of numbers multiplied; all else is priced by the
    bytes it writes. Operators that only look at their input in another shape have no row.
    Attention is taken apart into its matrix products; nothing is computed on the device ``meta``.

    Args:
        module: Run once, in evaluation mode, and put back into its own mode.
        examples: Its inputs, ``(1, ...)`` each, on its device.

    Raises:
        ConfigError: An operator that is not known here takes weights: its price would be zero.
    """
    with LayerCounter(module) as counter:
        module(*examples)
    return tuple(counter.rows)


def count_macs(module: nn.Module, *examples: Tensor) -> int:
    """Return the multiply-accumulates of ``module`` for one input."""
    return total_macs(count_layers(module, *examples))


def count_parameters(module: nn.Module, *examples: Tensor) -> int:
    """Return the parameters that ``module`` uses for one input."""
    return total_parameters(count_layers(module, *examples))


class LayerCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While entered, writes a row for every operator that runs, whichever module called it.

    The module is in evaluation mode meanwhile, and no gradients are kept.

    Args:
        module: Whose parameters are counted, and whose layers give the rows their names.

    Attributes:
        rows: What has been counted so far.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.rows: list[Layer] = []
        self._module = module
        self._paths = {child: path for path, child in module.named_modules()}
        self._running = [""]
        self._named: Counter[str] = Counter()
        # A weight reaches its operator as a view of itself, transposed perhaps.
        parameters = list(module.parameters())
        self._unseen = {storage(parameter): parameter.numel() for parameter in parameters}
        self._weights = {storage(parameter) for parameter in parameters if parameter.ndim > 1}
        self._entered = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as entering:
            entering.enter_context(_evaluating(self._module))
            entering.enter_context(_attention_apart())
            entering.enter_context(torch.no_grad())
            entering.callback(register_module_forward_pre_hook(self._enter_module).remove)
            entering.callback(register_module_forward_hook(self._leave_module).remove)
            self._entered = entering.pop_all()
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        self._entered.close()

    @contextmanager
    def inside(self, path: str) -> Iterator[None]:
        """Name what runs meanwhile as if the module at ``path`` had called it."""
        self._running.append(path)
        yield
        self._running.pop()

    def _enter_module(self, module: nn.Module, inputs: Any) -> None:
        if module in self._paths:
            self._running.append(self._paths[module])

    def _leave_module(self, module: nn.Module, inputs: Any, output: Any) -> None:
        if module in self._paths:
            self._running.pop()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = run(func, args, kwargs or {})
        self.watch(func, args, tensors((args, kwargs)), tensors(result))
        return result

    def watch(
        self, operator: Any, args: Any, inputs: Sequence[Tensor], outputs: Sequence[Tensor]
    ) -> None:
        """Add a row for an operator that has run, unless all it gave is a view of its input."""
        written = [tensor for tensor in outputs if tensor.numel()]
        in_place = operator._schema.is_mutable
        if written and (in_place or storage(written[0]) not in map(storage, inputs)):
            name = operator.overloadpacket.__name__
            if torch.Tag.pointwise not in operator.tags:
                self._check(name, inputs)
            self._add(name, args, inputs, written[0])

    def _check(self, operator: str, inputs: Sequence[Tensor]) -> None:
        known = operator == "convolution" or operator in _MATRIX_PRODUCTS or operator in _FREE
        if not known and not self._weights.isdisjoint(map(storage, inputs)):
            raise ConfigError(
                f"the operator {operator!r} takes weights and has no price; expected convolutions, "
                "matrix products and pointwise operators: build the network from those"
            )

    def _add(self, operator: str, args: Any, inputs: Sequence[Tensor], output: Tensor) -> None:
        kernel, macs = 0, 0
        if operator == "convolution":
            # Transposed, every number read goes into a patch; else a patch into each one written.
            spread = args[0] if args[6] else output
            kernel, macs = max(args[1].shape[2:]), spread.numel() * args[1][0].numel()
        elif operator in _MATRIX_PRODUCTS:
            macs = output.numel() * args[_MATRIX_PRODUCTS[operator]].shape[-1]
        self.rows.append(
            Layer(
                name=self._name(operator),
                kind=_kind(operator, args),
                kernel=kernel,
                macs=macs,
                parameters=sum(self._unseen.pop(storage(tensor), 0) for tensor in inputs),
                output_bytes=output.numel() * output.element_size(),
            )
        )

    def _name(self, operator: str) -> str:
        """Return the path of the layer that runs, or of the module and its operator."""
        path = self._running[-1]
        is_layer = path and not list(self._module.get_submodule(path).children())
        name = path if is_layer else f"{path}.{operator}".removeprefix(".")
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
    if "pool" in operator or operator in ("mean", "amax"):
        return "pool"
    if operator.removesuffix("_") in _ACTIVATIONS:
        return "activation"
    if operator.removesuffix("_") == "add" and len(tensors(args)) == 2:
        return "add"
    return "other"


def tensors(tree: Any) -> list[Tensor]:
    """Return the tensors in nested tuples, lists and mappings."""
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def storage(tensor: Tensor) -> int:
    """Return what is the same number for tensors, alive both, that share their memory."""
    # Not the address of its data, which all of the device ``meta`` share.
    return int(tensor.untyped_storage()._cdata)


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    was_training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(was_training)


@contextmanager
def _attention_apart() -> Iterator[None]:
    """Run attention as matrix products rather than as one operator, which would hide them."""
    was_fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(was_fast)
