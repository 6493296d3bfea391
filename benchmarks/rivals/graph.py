"""The ONNX file as every rival runs it: one session on one thread, in batches of 32 rows at most.

The rivals run where hybridge is not installed: nothing here imports it.
"""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime

MAX_BATCH = 32

Array = np.ndarray[Any, Any]


class Graph:
    """One input of uint8 rows ``(B, H, W, C)``, one output ``(B, ...)`` of float32.

    Args:
        path: The ONNX file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            os.fspath(path), options, providers=["CPUExecutionProvider"]
        )
        node = self._session.get_inputs()[0]
        self._name, self._shape = node.name, node.shape[1:]

    def rows(self, content: bytes) -> Array:
        """Return raw bytes as rows of the input."""
        return np.frombuffer(content, np.uint8).reshape(-1, *self._shape)

    def run(self, rows: Array) -> Array:
        """Return the output of rows, however many."""
        return self._session.run(None, {self._name: rows})[0]

    def run_all(self, requests: Sequence[Array]) -> list[Array]:
        """Return the output of each request; short ones are run together."""
        answers: list[Array] = []
        for group in _groups(requests):
            outputs = self.run(group[0] if len(group) == 1 else np.concatenate(group))
            ends = np.cumsum([len(rows) for rows in group])
            answers += np.split(outputs, ends[:-1])
        return answers


def _groups(requests: Sequence[Array]) -> list[list[Array]]:
    groups: list[list[Array]] = []
    free = 0
    for rows in requests:
        if len(rows) > free:
            groups.append([])
            free = MAX_BATCH
        groups[-1].append(rows)
        free -= len(rows)
    return groups
