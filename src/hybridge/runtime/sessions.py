"""A program, loaded into onnxruntime and ready to run."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime as ort

from hybridge.errors import BundleError, ConfigError
from hybridge.hashing import hash_bytes
from hybridge.plan.program import Program
from hybridge.plan.tensors import TensorSpec

Array = np.ndarray[Any, Any]

_ONLY_FATAL = 4
_EXTERNAL_FOLDER = "session.model_external_initializers_file_folder_path"

#: onnxruntime's name for each dtype of a signature.
_TYPES = {
    "bool": "tensor(bool)",
    "uint8": "tensor(uint8)",
    "int8": "tensor(int8)",
    "int32": "tensor(int32)",
    "int64": "tensor(int64)",
    "float16": "tensor(float16)",
    "float32": "tensor(float)",
}


class ProgramSession:
    """An onnxruntime session for one program; may be run from several threads.

    The file is read once, and what was hashed is what is run. Inputs are checked by whoever takes
    them in (`Program.check_inputs`), so that a run costs no more than the bare session.

    Args:
        program: What to load, from its ``path``.
        threads: Threads within one operator; 0 for one per core.

    Raises:
        BundleError: The file is missing or another one than the program means, is no ONNX graph
            that this onnxruntime can load, keeps weights in other files, or does not have the
            program's signature: names, dtypes, shapes, and a batch axis that is free.
        ConfigError: ``threads`` is negative.
    """

    def __init__(self, program: Program, threads: int = 1) -> None:
        self.program = program
        self._session = _load(program, threads)
        self._outputs = [spec.name for spec in program.outputs]
        _check_signature(program, self._session)
        self._run = self._session.run

    def run(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """Return the program's outputs for ``tensors``, both by name.

        Raises `BundleError` where onnxruntime fails at it: inputs that have been checked fit.
        """
        try:
            values = self._run(self._outputs, tensors)
        except Exception as error:  # onnxruntime's exceptions share no base of their own
            raise BundleError(f"program {self.program.name!r} failed to run: {error}") from error
        return dict(zip(self._outputs, values, strict=True))


def open_graph(data: bytes, threads: int) -> ort.InferenceSession:
    """Return a session of an ONNX file's content, with the options that every program runs with.

    Raises `ConfigError` where ``threads`` is negative; onnxruntime's own where it cannot load it.
    """
    if threads < 0:
        raise ConfigError(f"expected threads of 0 (one per core) or more, got {threads}")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ONLY_FATAL
    # A graph that keeps weights in other files fails: their content would not be what was hashed.
    options.add_session_config_entry(_EXTERNAL_FOLDER, os.devnull)
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def _load(program: Program, threads: int) -> ort.InferenceSession:
    data = _read(program)
    try:
        return open_graph(data, threads)
    except ConfigError:
        raise
    except Exception as error:  # onnxruntime's exceptions share no base of their own
        raise BundleError(
            f"program {program.name!r} at {program.path} cannot be loaded by onnxruntime "
            f"{ort.__version__}: {error}"
        ) from error


def _read(program: Program) -> bytes:
    """Return the content of a program's file, having made sure that it is the one meant."""
    if program.path is None or not os.path.isfile(program.path):
        raise BundleError(
            f"program {program.name!r} has no file at {program.path}; load it from a bundle"
        )
    with open(program.path, "rb") as file:
        data = file.read()
    if hash_bytes(data) != program.sha256:
        raise BundleError(
            f"{program.path} is not the file that program {program.name!r} means; deploy it again"
        )
    return data


def _check_signature(program: Program, session: ort.InferenceSession) -> None:
    """Raise `BundleError` unless the graph takes and gives what the program says."""
    found = {node.name: node for node in session.get_inputs()}
    given = {node.name: node for node in session.get_outputs()}
    takes = {spec.name for spec in program.inputs}
    makes = {spec.name for spec in program.outputs}
    if found.keys() != takes or not makes <= given.keys():
        raise BundleError(
            f"program {program.name!r} should take {sorted(takes)} and give {sorted(makes)}, "
            f"but its file takes {sorted(found)} and gives {sorted(given)}; export it again"
        )
    nodes = found | given
    for spec in (*program.inputs, *program.outputs):
        _check_node(program.name, spec, nodes[spec.name])


def _check_node(program: str, spec: TensorSpec, node: Any) -> None:
    shape = tuple(node.shape)
    extents_fit = len(shape) == 1 + len(spec.shape) and all(
        extent == expected or not isinstance(extent, int)
        for extent, expected in zip(shape[1:], spec.shape, strict=True)
    )
    batch_is_free = not shape or not isinstance(shape[0], int)
    if node.type != _TYPES[spec.dtype] or not extents_fit or not batch_is_free:
        raise BundleError(
            f"program {program!r}: {spec.name!r} should be {_TYPES[spec.dtype]} of shape "
            f"{('B', *spec.shape)}, with a free batch axis B, but its file has {node.type} of "
            f"{shape}; export it again"
        )
