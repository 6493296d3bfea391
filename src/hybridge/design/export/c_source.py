"""A program as C: emx-onnx-cgen writes a function for every node, and what calls them in order."""

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import onnx
import onnxruntime

from hybridge.errors import ConfigError, MissingExtraError
from hybridge.plan.program import Program

MODEL = "network"
_NUMBER_BYTES = {
    **dict.fromkeys(("uint8_t", "int8_t", "_Bool"), 1),
    **dict.fromkeys(("uint16_t", "int16_t"), 2),
    **dict.fromkeys(("float", "int32_t", "uint32_t"), 4),
    **dict.fromkeys(("double", "int64_t", "uint64_t"), 8),
}
_ARRAY = r"(\w+) (\w+)((?:\[\d+\])+)"
_LOCAL = re.compile(rf" *{_ARRAY};")
_PARAMETER = re.compile(rf"(const )?{_ARRAY}")
_CALL = re.compile(r" *(\w+)\((.*)\);")
_WEIGHT = re.compile(rf"extern const {_ARRAY};")
_FUNCTION = re.compile(r"EMX_NODE_FN void (\w+)\((.*)\) \{")
_OPERATOR = re.compile(r" \* OpType: (\w+)")


@dataclass(frozen=True, slots=True)
class CArray:
    """An array in C.

    Attributes:
        type: Of its elements, such as ``float``.
        shape: Its extents.
    """

    type: str
    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        """What it takes in memory."""
        return _NUMBER_BYTES[self.type] * prod(self.shape)


@dataclass(frozen=True, slots=True)
class Call:
    """A node of the network: the call of its function.

    Attributes:
        function: Its name in C.
        operator: Of the node, in ONNX's words.
        arguments: Names of weights and tensors, as the function takes them.
        writes: Which of the arguments it writes.
    """

    function: str
    operator: str
    arguments: tuple[str, ...]
    writes: frozenset[str]

    @property
    def reads(self) -> tuple[str, ...]:
        """Which of the arguments it reads."""
        return tuple(name for name in self.arguments if name not in self.writes)


@dataclass(frozen=True)
class CSource:
    """A network in C, taken apart.

    Attributes:
        head: Everything before the function that calls the others: weights and nodes.
        calls: The nodes, in their order.
        inputs: The arrays that go in, by name.
        outputs: The arrays that come out, by the program's names.
        names: Name in C of each output, by the program's.
        tensors: Every array between the nodes, by name in C, inputs and outputs among them.
        weights: Every constant array, by name in C.
    """

    head: str
    calls: tuple[Call, ...]
    inputs: dict[str, CArray]
    outputs: dict[str, CArray]
    names: dict[str, str]
    tensors: dict[str, CArray]
    weights: dict[str, CArray]


def write_c(program: Program) -> CSource:
    """Return ``program``, for one input at a time, as C.

    Raises:
        ConfigError: The program has an operator that emx-onnx-cgen does not have in C, which is
            named with its node.
        MissingExtraError: emx-onnx-cgen is not installed.
    """
    try:
        from emx_onnx_cgen.compiler import Compiler, CompilerOptions
        from emx_onnx_cgen.errors import CompilerError
        from emx_onnx_cgen.lowering.registry import get_lowering
    except ImportError as error:
        raise MissingExtraError("emx-onnx-cgen", "cortex-m") from error
    model = for_one_input(program)
    for node in model.graph.node:
        if get_lowering(node.op_type) is None:
            raise ConfigError(
                f"{_described(program, node)} cannot be written in C: emx-onnx-cgen has no "
                f"operator {node.op_type}; {_WAY_ROUND}"
            )
    options = CompilerOptions(
        model_name=MODEL,
        restrict_arrays=False,  # nodes that write where they read are given one array for both
        large_temp_threshold_bytes=0,
        large_weight_threshold=0,
        debug_lowering_failures=True,
    )
    try:
        text = str(Compiler(options).compile(model))
    except CompilerError as error:
        raise ConfigError(
            f"program {program.name!r} cannot be written in C: {_one_line(error)}; {_WAY_ROUND}"
        ) from error
    return take_apart(text, [spec.name for spec in program.outputs])


_WAY_ROUND = "express the layer by other operators in torch and export the bundle again"


def _described(program: Program, node: onnx.NodeProto) -> str:
    return f"node {node.name or node.output[0]!r} ({node.op_type}) of program {program.name!r}"


def _one_line(error: Exception) -> str:
    """Return what went wrong and, where emx-onnx-cgen says so, at which node."""
    message, _, context = str(error).partition("\n")
    node = re.search(r"name[=:]\s*'?([\w./:]+)", context)
    return f"{message.strip()} (node {node.group(1)!r})" if node else message.strip()


def for_one_input(program: Program) -> onnx.ModelProto:
    """Return a program's graph for a batch of one, with what is constant then computed."""
    assert program.path is not None, "a program of a loaded bundle knows its file"
    model = onnx.load(str(program.path))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    del model.graph.value_info[:]
    options: Any = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "one.onnx")
        try:
            onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's exceptions share no base of their own
            raise ConfigError(
                f"program {program.name!r} cannot be run for one input: "
                f"{str(error).splitlines()[0]}; export the bundle again"
            ) from error
        return onnx.load(options.optimized_model_filepath)


def take_apart(text: str, outputs: Sequence[str]) -> CSource:
    """Take apart what emx-onnx-cgen wrote.

    Args:
        text: The C, with no heap and no file of weights.
        outputs: The program's names of its outputs, in their order.

    Raises:
        ConfigError: It is not written as this release expects.
    """
    head, mark, rest = text.partition(f"_Bool {MODEL}_load(")
    _, mark_two, entry = rest.partition(f"void {MODEL}(")
    if not mark or not mark_two:
        raise _unexpected("no entry function")
    signature, _, body = entry.partition(") {\n")
    inputs, given = _parameters(signature)
    tensors = {**inputs, **given}
    functions = _functions(head)
    calls: list[Call] = []
    for line in body.splitlines():
        if found := _LOCAL.fullmatch(line):
            tensors[found.group(2)] = _array(found.group(1), found.group(3))
        elif found := _CALL.fullmatch(line):
            calls.append(_call(found.group(1), found.group(2).split(", "), functions))
        elif line.strip() not in ("", "}"):
            raise _unexpected(line.strip())
    names = dict(zip(outputs, given, strict=True))
    return CSource(
        head=head,
        calls=tuple(calls),
        inputs=inputs,
        outputs={output: given[name] for output, name in names.items()},
        names=names,
        tensors=tensors,
        weights={m.group(2): _array(m.group(1), m.group(3)) for m in _WEIGHT.finditer(head)},
    )


def _unexpected(line: str) -> ConfigError:
    return ConfigError(
        f"emx-onnx-cgen wrote C that Hybridge cannot take apart ({line[:80]!r}); install the "
        "release that it was tried with: pip install 'hybridge[cortex-m]'"
    )


def _array(type_: str, extents: str) -> CArray:
    if type_ not in _NUMBER_BYTES:
        raise _unexpected(f"{type_} {extents}")
    return CArray(type_, tuple(int(extent) for extent in re.findall(r"\d+", extents)))


def _parameters(text: str) -> tuple[dict[str, CArray], dict[str, CArray]]:
    """Return the arrays that a function reads and those it writes, each in order."""
    reads: dict[str, CArray] = {}
    writes: dict[str, CArray] = {}
    for part in text.split(", "):
        found = _PARAMETER.fullmatch(part)
        if found is None:
            raise _unexpected(part)
        const, type_, name, extents = found.groups()
        (reads if const else writes)[name] = _array(type_, extents)
    return reads, writes


def _functions(head: str) -> dict[str, tuple[str, list[bool]]]:
    """Return the operator of each node's function, and which of its arguments are written."""
    found: dict[str, tuple[str, list[bool]]] = {}
    operator = ""
    for line in head.splitlines():
        if match := _OPERATOR.fullmatch(line):
            operator = match.group(1)
        elif match := _FUNCTION.fullmatch(line):
            written = [not part.startswith("const ") for part in match.group(2).split(", ")]
            found[match.group(1)] = (operator, written)
    return found


def _call(
    function: str, arguments: list[str], functions: dict[str, tuple[str, list[bool]]]
) -> Call:
    operator, written = functions[function]
    writes = frozenset(name for name, out in zip(arguments, written, strict=True) if out)
    return Call(function, operator, tuple(arguments), writes)
