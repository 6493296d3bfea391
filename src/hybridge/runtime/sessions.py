"""A program, loaded into onnxruntime and ready to run."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime as ort

from hybridge.errors import BundleError, ConfigError, SignatureError
from hybridge.plan.program import Program

Array = np.ndarray[Any, Any]

_ONLY_FATAL = 4


class ProgramSession:
    """An onnxruntime session for one program; may be run from several threads.

    The file's hash is verified by the bundle that was loaded, and inputs are checked by whoever
    takes them in (`Program.check_inputs`), so that a run costs no more than the bare session.

    Args:
        program: What to load, from its ``path``.
        threads: Threads within one operator; 0 for one per core.

    Raises:
        BundleError: The file is missing, is no ONNX graph that this onnxruntime can load, or does
            not have the program's signature.
        ConfigError: ``threads`` is negative.
    """

    def __init__(self, program: Program, threads: int = 1) -> None:
        self.program = program
        self._session = _load(program, threads)
        self._outputs = [spec.name for spec in program.outputs]
        _check_names(program, self._session)
        self._run = self._session.run

    def run(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """Return the program's outputs for ``tensors``, both by name.

        Raises `SignatureError` where onnxruntime refuses the inputs, `BundleError` where it
        fails at running the graph.
        """
        try:
            values = self._run(self._outputs, tensors)
        except Exception as error:  # onnxruntime's exceptions share no base of their own
            raise _translated(error, self.program) from error
        return dict(zip(self._outputs, values, strict=True))


def _load(program: Program, threads: int) -> ort.InferenceSession:
    if threads < 0:
        raise ConfigError(f"expected threads of 0 (one per core) or more, got {threads}")
    if program.path is None or not os.path.isfile(program.path):
        raise BundleError(
            f"program {program.name!r} has no file at {program.path}; load it from a bundle"
        )
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ONLY_FATAL
    try:
        return ort.InferenceSession(
            os.fspath(program.path), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's exceptions share no base of their own
        raise BundleError(
            f"program {program.name!r} at {program.path} cannot be loaded by onnxruntime "
            f"{ort.__version__}: {error}"
        ) from error


def _check_names(program: Program, session: ort.InferenceSession) -> None:
    found = {node.name for node in session.get_inputs()}
    given = {node.name for node in session.get_outputs()}
    takes = {spec.name for spec in program.inputs}
    makes = {spec.name for spec in program.outputs}
    if found != takes or not makes <= given:
        raise BundleError(
            f"program {program.name!r} should take {sorted(takes)} and give {sorted(makes)}, "
            f"but its file takes {sorted(found)} and gives {sorted(given)}; export it again"
        )


def _translated(error: Exception, program: Program) -> Exception:
    # Bad dtypes and shapes come as InvalidArgument, missing names as ValueError.
    if type(error).__name__ in {"InvalidArgument", "ValueError"}:
        return SignatureError(f"program {program.name!r} does not fit its inputs: {error}")
    return BundleError(f"program {program.name!r} failed to run: {error}")
