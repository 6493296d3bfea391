"""A TensorFlow Lite file, written tensor by tensor and operator by operator.

Only what our networks need: one subgraph, builtin operators, affine quantisation.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from hybridge.errors import MissingExtraError

Array = np.ndarray[Any, Any]
_VERSION = 3
_IDENTIFIER = b"TFL3"


@dataclass(frozen=True, slots=True)
class Quantisation:
    """How integers stand for numbers: ``number = scale * (integer - zero_point)``.

    Attributes:
        scale: One for the tensor, or one for each channel.
        zero_point: The integer that stands for 0; 0 where there is a scale for each channel.
        axis: Of the channels.
    """

    scale: tuple[float, ...]
    zero_point: int = 0
    axis: int = 0

    @property
    def step(self) -> float:
        """The scale of a tensor that has one."""
        (scale,) = self.scale
        return scale

    def integers(self, numbers: Array, dtype: str) -> Array:
        """Return the nearest integers of type ``dtype``, saturated."""
        info = np.iinfo(dtype)
        rounded = np.round(numbers / self.step) + self.zero_point
        return np.clip(rounded, info.min, info.max).astype(dtype)

    def numbers(self, integers: Array) -> Array:
        """Return the numbers that integers stand for."""
        return (integers.astype(np.float64) - self.zero_point) * self.step


@dataclass(frozen=True, slots=True)
class _Tensor:
    name: str
    shape: tuple[int, ...]
    dtype: str
    quantisation: Quantisation | None
    buffer: int


@dataclass(frozen=True, slots=True)
class _Operator:
    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: str
    fields: dict[str, Any]


@dataclass(slots=True)
class TFLiteFile:
    """A file that grows; tensors are known by number.

    Attributes:
        about: One line on what it is.
        inputs: Numbers of the tensors that it reads.
        outputs: Numbers of the tensors that it gives.
    """

    about: str
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    _tensors: list[_Tensor] = field(default_factory=list)
    _operators: list[_Operator] = field(default_factory=list)
    _buffers: list[bytes] = field(default_factory=lambda: [b""])

    def tensor(
        self, name: str, shape: Sequence[int], dtype: str, quantisation: Quantisation | None = None
    ) -> int:
        """Add a tensor that an operator writes, or an input; return its number."""
        self._tensors.append(_Tensor(name, tuple(shape), dtype, quantisation, 0))
        return len(self._tensors) - 1

    def constant(self, name: str, value: Array, quantisation: Quantisation | None = None) -> int:
        """Add a tensor that lies in flash; return its number."""
        self._buffers.append(np.ascontiguousarray(value).tobytes())
        number = len(self._buffers) - 1
        self._tensors.append(_Tensor(name, value.shape, str(value.dtype), quantisation, number))
        return len(self._tensors) - 1

    def operator(
        self,
        kind: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: str = "",
        **fields: Any,
    ) -> None:
        """Add an operator.

        Args:
            kind: Its name among the builtin operators, such as ``CONV_2D``.
            inputs: Numbers of the tensors that it reads.
            outputs: Numbers of the tensors that it writes.
            options: Name of its table of options, such as ``Conv2DOptions``; none has none.
            fields: What stands in that table.
        """
        self._operators.append(_Operator(kind, tuple(inputs), tuple(outputs), options, fields))

    def shape(self, tensor: int) -> tuple[int, ...]:
        """Return the shape of a tensor."""
        return self._tensors[tensor].shape

    def requantise(self, tensor: int, quantisation: Quantisation) -> None:
        """Say anew what the integers of a tensor mean."""
        self._tensors[tensor] = replace(self._tensors[tensor], quantisation=quantisation)

    @property
    def kinds(self) -> list[str]:
        """Names of the operators it uses, each once, in order."""
        return list(dict.fromkeys(operator.kind for operator in self._operators))

    def described(self) -> list[tuple[str, str, tuple[str, ...]]]:
        """Return kind, name of the output and names of the inputs of every operator."""
        name = [tensor.name for tensor in self._tensors]
        return [
            (op.kind, name[op.outputs[0]], tuple(name[number] for number in op.inputs))
            for op in self._operators
        ]

    def written_bytes(self) -> list[tuple[str, int]]:
        """Return, for every operator, the name and the bytes of what it reads and writes."""
        size = [
            0 if tensor.buffer else int(np.prod(tensor.shape)) * np.dtype(tensor.dtype).itemsize
            for tensor in self._tensors
        ]
        return [
            (self._tensors[op.outputs[0]].name, sum(size[i] for i in {*op.inputs, *op.outputs}))
            for op in self._operators
        ]

    def weight_bytes(self) -> list[tuple[str, int]]:
        """Return, for every operator, the name and the bytes of what it has in flash."""
        held = [len(self._buffers[tensor.buffer]) for tensor in self._tensors]
        return [
            (self._tensors[op.outputs[0]].name, sum(held[i] for i in set(op.inputs)))
            for op in self._operators
        ]

    def pack(self) -> bytes:
        """Return the file.

        Raises:
            MissingExtraError: ``tflite-micro``, whose schema this uses, is not installed.
        """
        schema = load_schema()
        import flatbuffers

        model = schema.ModelT()
        model.version, model.description = _VERSION, self.about.encode()
        model.operatorCodes = [self._code(schema, kind) for kind in self.kinds]
        model.subgraphs = [self._subgraph(schema)]
        model.buffers = [self._buffer(schema, content) for content in self._buffers]
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), file_identifier=_IDENTIFIER)
        return bytes(builder.Output())

    @staticmethod
    def _code(schema: Any, kind: str) -> Any:
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, kind)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.version = 1
        return code

    @staticmethod
    def _buffer(schema: Any, content: bytes) -> Any:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(content, np.uint8) if content else None
        return buffer

    def _subgraph(self, schema: Any) -> Any:
        graph = schema.SubGraphT()
        graph.inputs = np.array(self.inputs, np.int32)
        graph.outputs = np.array(self.outputs, np.int32)
        graph.tensors = [_packed_tensor(schema, tensor) for tensor in self._tensors]
        graph.operators = [
            _packed_operator(schema, self.kinds, operator) for operator in self._operators
        ]
        return graph


def load_schema() -> Any:
    """Return the module of TensorFlow Lite's tables.

    Raises:
        MissingExtraError: ``tflite-micro`` is not installed.
    """
    try:
        from tflite_micro.tensorflow.lite.micro.python import schema_py_generated
    except ImportError as error:
        raise MissingExtraError("tflite-micro", "tflm") from error
    return schema_py_generated


def _packed_tensor(schema: Any, tensor: _Tensor) -> Any:
    packed = schema.TensorT()
    packed.name = tensor.name.encode()
    packed.shape = np.array(tensor.shape, np.int32)
    packed.type = getattr(schema.TensorType, tensor.dtype.upper())
    packed.buffer = tensor.buffer
    if tensor.quantisation is not None:
        table = schema.QuantizationParametersT()
        table.scale = np.array(tensor.quantisation.scale, np.float32)
        zeros = [tensor.quantisation.zero_point] * len(tensor.quantisation.scale)
        table.zeroPoint = np.array(zeros, np.int64)
        table.quantizedDimension = tensor.quantisation.axis
        packed.quantization = table
    return packed


def _packed_operator(schema: Any, kinds: list[str], operator: _Operator) -> Any:
    packed = schema.OperatorT()
    packed.opcodeIndex = kinds.index(operator.kind)
    packed.inputs = np.array(operator.inputs, np.int32)
    packed.outputs = np.array(operator.outputs, np.int32)
    if operator.options:
        packed.builtinOptionsType = getattr(schema.BuiltinOptions, operator.options)
        table = getattr(schema, f"{operator.options}T")()
        for name, value in operator.fields.items():
            if not hasattr(table, name):
                raise AttributeError(f"{operator.options} has no field {name!r}")
            setattr(table, name, value)
        packed.builtinOptions = table
    return packed
