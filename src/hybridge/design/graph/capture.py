"""A torch network captured as a `Graph`, by tracing it and running the trace node by node."""

import inspect
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn

from hybridge.design.graph.count import LayerCounter, storage, tensors
from hybridge.design.graph.graph import INPUT, Graph, GraphNode
from hybridge.errors import ConfigError
from hybridge.plan.layers import Layer

#: Where a line of code does not tell why a network cannot be captured.
_NOT_TOLD = (str(Path(torch.__file__).parent), __file__)


def capture(network: nn.Module, example: Tensor) -> Graph:
    """Return a network as a graph of its modules and operations.

    Modules of torch are one node each, as are the operations of all other modules. What only
    prepares weights or sizes is no node. Costs are those of `count_layers`: no storage is needed
    on the device ``meta``.

    Args:
        network: From one tensor to one tensor. Run once, in evaluation mode, and put back into
            its own mode; the graph shares its modules and weights.
        example: An input ``(1, ...)``, on its device.

    Raises:
        ConfigError: What the network does depends on the values or the size of its input, it
            reads what was overwritten, an operator has no price, or it does not take the example.
    """
    counter = _CaptureCounter(network)
    with torch.device(example.device), counter:
        module = _trace(network)
        recorder = _Recorder(module, counter)
        recorder.run(example)
    return Graph(
        module=module,
        nodes=tuple(recorder.nodes),
        input_shape=tuple(example.shape[1:]),
        input_dtype=_dtype(example),
        input_bytes=_size(example),
        output=recorder.answer,
    )


def _trace(network: nn.Module) -> fx.GraphModule:
    tracer = _Tracer()
    try:
        graph = tracer.trace(network)
    except Exception as error:  # whatever the network's own code makes of a tensor without values
        raise ConfigError(
            f"{_where(tracer, network, error)} cannot be captured: {_line(error)}; expected a "
            "forward without decisions by the values or the size of a tensor, whose modules are "
            "attributes of one another"
        ) from error
    for placeholder in graph.find_nodes(op="placeholder")[1:]:
        if placeholder.users:
            raise ConfigError(
                f"{type(network).__name__} takes more than one input, such as "
                f"{placeholder.target!r}; expected a network from one tensor to one tensor"
            )
        graph.erase_node(placeholder)
    return fx.GraphModule(network, graph, type(network).__name__)


class _Tracer(fx.Tracer):
    """Follows a network; arguments of its forward that have a default take it."""

    def create_args_for_root(
        self, root_fn: Callable[..., Any], is_module: bool, concrete_args: Any = None
    ) -> tuple[Any, list[Any]]:
        function, (root, image, *others) = super().create_args_for_root(
            root_fn, is_module, concrete_args
        )
        parameters = inspect.signature(root_fn).parameters

        def default(proxy: fx.Proxy) -> Any:
            parameter = parameters.get(str(proxy.node.target))
            missing = parameter is None or parameter.default is parameter.empty
            return proxy if missing or parameter is None else parameter.default

        return function, [root, image, *map(default, others)]


def _where(tracer: fx.Tracer, network: nn.Module, error: Exception) -> str:
    """Return the innermost module that was being followed, and the line of its code."""
    path, kind = next(reversed(tracer.module_stack.values()), ("", type(network)))
    label = f"{path!r} ({kind.__name__})" if path else kind.__name__
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not frame.filename.startswith(_NOT_TOLD):
            return f"{label}, line {frame.lineno} of {Path(frame.filename).name} ({frame.line}),"
    return label


class _CaptureCounter(LayerCounter):  # type: ignore[no-untyped-call]
    """Counts, and sees what makes a capture untrue for other inputs."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__(module)
        self.step = 0
        self.overwritten: dict[int, int] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        # Before the first step the network is traced: what runs then does not see the input.
        if self.step and _looks_at_values(func, args):
            raise ConfigError(
                f"the size of what {func.overloadpacket.__name__!r} gives, or a number in the "
                "network's code, depends on the values of a tensor; expected the same operations "
                "for every image: leave it out"
            )
        return super().__torch_dispatch__(func, types, args, kwargs)

    def watch(
        self, operator: Any, args: Any, inputs: Sequence[Tensor], outputs: Sequence[Tensor]
    ) -> None:
        if operator._schema.is_mutable:
            self.overwritten.update({storage(tensor): self.step for tensor in outputs})
        super().watch(operator, args, inputs, outputs)


def _looks_at_values(operator: Any, args: Any) -> bool:
    """Return whether what runs next depends on the values that ``operator`` reads."""
    if operator.overloadpacket.__name__ == "index":
        return any(index.dtype in (torch.bool, torch.uint8) for index in tensors(args[1]))
    looks = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
    return not looks.isdisjoint(operator.tags)


class _Recorder(fx.Interpreter):
    """Runs a trace, and makes a `GraphNode` of everything in it that gives tensors of its input."""

    def __init__(self, module: fx.GraphModule, counter: _CaptureCounter) -> None:
        super().__init__(module)
        self.extra_traceback = False
        self.nodes: list[GraphNode] = []
        self.answer = ""
        self._counter = counter
        self._sources: dict[fx.Node, tuple[str, ...]] = {}
        self._steps: dict[fx.Node, int] = {}
        self._taken = 0
        self._named = Counter([INPUT])

    def run_node(self, n: fx.Node) -> Any:
        self._counter.step += 1
        self._steps[n] = self._counter.step
        self._check_fresh(n)
        if n.op == "output":
            self.answer = self._find_answer(n)
            return super().run_node(n)
        try:
            with self._counter.inside(_path(n)):
                value = super().run_node(n)
        except ConfigError as error:
            raise ConfigError(f"{self._label(n)}: {error}") from error
        except Exception as error:  # an operator may raise anything
            read = ", ".join(str(tuple(tensor.shape)) for tensor in self._read_by(n))
            raise ConfigError(
                f"{self._label(n)} cannot run on {read or 'nothing'}: {_line(error)}; expected an "
                "image whose size and channels the network takes"
            ) from error
        self._sources[n] = self._record(n, value)
        return value

    def _record(self, n: fx.Node, value: Any) -> tuple[str, ...]:
        """Add a node, if this is one; return where a reader of its value reads from."""
        if n.op == "placeholder":
            return (INPUT,)
        sources = [name for read in n.all_input_nodes for name in self._sources[read]]
        given = tensors(value)
        if not sources or not given:
            return ()
        name = self._name(n)
        self._named[self._place(n)] += 1
        self.nodes.append(
            GraphNode(
                name=name,
                operation=self._operation(n),
                reads=tuple(dict.fromkeys(sources)),
                layers=self._new_rows(),
                output_shape=tuple(given[0].shape[1:]),
                output_dtype=_dtype(given[0]),
                output_bytes=sum(map(_size, given)),
                origin=n,
            )
        )
        return (name,)

    def _check_fresh(self, node: fx.Node) -> None:
        """Raise `ConfigError` where ``node`` reads what was written over since it was made."""
        for read in node.all_input_nodes:
            for tensor in tensors(self.env[read]):
                if self._counter.overwritten.get(storage(tensor), 0) > self._steps[read]:
                    raise ConfigError(
                        f"{self._label(node)} reads what another operation has written over in "
                        f"place since {self._label(read)} made it, which no graph shows; expected "
                        "in-place operations only on what is not read again: use inplace=False"
                    )

    def _read_by(self, node: fx.Node) -> list[Tensor]:
        return tensors([self.env[read] for read in node.all_input_nodes])

    def _find_answer(self, output: fx.Node) -> str:
        answer = output.args[0]
        if isinstance(answer, fx.Node) and isinstance(self.env[answer], Tensor):
            sources = self._sources[answer]
            if sources and sources != (INPUT,):
                return sources[0]
        raise ConfigError(
            f"{type(self.module).__name__} does not answer with one tensor that is computed from "
            "its input; expected a network from one tensor to one tensor"
        )

    def _new_rows(self) -> tuple[Layer, ...]:
        """Return the rows since the last node; what prepares weights goes to its first reader."""
        rows = tuple(self._counter.rows[self._taken :])
        self._taken += len(rows)
        return rows

    def _label(self, node: fx.Node) -> str:
        name = self._sources.get(node) or (self._name(node),)
        return f"{name[0]!r} ({self._operation(node)})"

    def _name(self, node: fx.Node) -> str:
        """Return the name of a node that is not recorded yet."""
        place = self._place(node)
        count = self._named[place] + 1
        return place if count == 1 else f"{place}:{count}"

    def _place(self, node: fx.Node) -> str:
        if node.op == "call_module":
            return str(node.target)
        return f"{_path(node)}.{self._operation(node)}".removeprefix(".")

    def _operation(self, node: fx.Node) -> str:
        if node.op == "call_module":
            return type(self.module.get_submodule(str(node.target))).__name__
        return str(getattr(node.target, "__name__", node.target))


def _path(node: fx.Node) -> str:
    """Return the path of the module that calls ``node``."""
    path, _ = next(reversed(node.meta.get("nn_module_stack", {}).values()), ("", None))
    return str(path)


def _line(error: Exception) -> str:
    """Return the first line that an error says."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
