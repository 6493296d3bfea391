"""A TensorFlow Lite file in the interpreter for microcontrollers, on this machine."""

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from hybridge.design.export.tflite_file import Array
from hybridge.errors import ConfigError, MissingExtraError

_TOTAL = re.compile(r"Arena allocation total (\d+) bytes")
_MISSING_OPERATOR = re.compile(r"op for builtin opcode '(\w+)'")
_TOO_LARGE = re.compile(r"Failed to resize buffer. Requested: (\d+)")
_MIB = 1024 * 1024
#: Memory that is given to a network of ours, far more than a microcontroller has.
_ARENA_BYTES = 16 * _MIB


class MicroInterpreter:
    """Runs a file with the kernels that a microcontroller would run.

    Args:
        content: The file.
        name: What messages call it.

    Raises:
        ConfigError: An operator has no kernel, or takes other numbers; or it needs more memory than
            is given here, far more than a microcontroller has.
        MissingExtraError: ``tflite-micro`` is not installed.
    """

    def __init__(self, content: bytes, name: str) -> None:
        runtime = _runtime()
        self._name = name
        with _kernel_messages() as messages:
            try:
                self._interpreter = runtime.Interpreter.from_bytes(content, arena_size=_ARENA_BYTES)
            except Exception as error:  # the interpreter's exceptions share no base of their own
                raise ConfigError(_told(name, messages.read_text())) from error

    def run(self, inputs: Array, outputs: int) -> list[Array]:
        """Return every output of every input.

        Args:
            inputs: ``(N, ...)``, of the input's type.
            outputs: How many there are.

        Returns:
            Arrays ``(N, ...)``, one for each output.
        """
        given: list[list[Array]] = [[] for _ in range(outputs)]
        for one in inputs:
            self._interpreter.set_input(one[None], 0)
            self._interpreter.invoke()
            for index, column in enumerate(given):
                column.append(self._interpreter.get_output(index)[0].copy())
        return [np.array(column) for column in given]

    def arena_bytes(self) -> int:
        """Return the memory that it takes: tensors alive at once, and the interpreter's own."""
        with _kernel_messages() as messages:
            self._interpreter.print_allocations()
            text = messages.read_text()
        found = _TOTAL.search(text)
        if found is None:
            raise ConfigError(
                f"the interpreter does not tell the memory of {self._name}; expected a version of "
                "tflite-micro that prints 'Arena allocation total'"
            )
        return int(found[1])


def _runtime() -> Any:
    try:
        from tflite_micro import runtime
    except ImportError as error:
        raise MissingExtraError("tflite-micro", "tflm") from error
    return runtime


def _told(name: str, messages: str) -> str:
    lines = [line.strip() for line in messages.splitlines() if line.strip()]
    too_large = _TOO_LARGE.search(messages)
    if too_large:
        return (
            f"{name} needs more than {int(too_large[1]):,} bytes at once, far above what "
            f"microcontrollers have ({_ARENA_BYTES:,} are given here): choose fewer channels or "
            "smaller images"
        )
    missing = _MISSING_OPERATOR.search(messages)
    why = f"it has no kernel for {missing[1]}" if missing else (lines or ["no reason given"])[0]
    return (
        f"TensorFlow Lite for Microcontrollers cannot run {name}: {why}; build the base of other "
        "operators, or export it with --target cortex-m"
    )


@contextmanager
def _kernel_messages() -> Iterator[Path]:
    """Catch what the interpreter's own code prints on standard error."""
    sys.stderr.flush()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "messages"
        before = os.dup(2)
        try:
            with path.open("wb") as file:
                os.dup2(file.fileno(), 2)
            yield path
        finally:
            os.dup2(before, 2)
            os.close(before)
