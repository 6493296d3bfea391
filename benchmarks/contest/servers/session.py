"""The session that every contestant but ours opens, as ours does: one thread, on the CPU."""

from typing import Any

import numpy as np
import onnxruntime

SHAPE = (32, 32, 3)
#: Most rows that are computed at once, by all of them: see the pace of the session alone.
MAX_BATCH = 32

Array = np.ndarray[Any, Any]


def opened(path: str) -> onnxruntime.InferenceSession:
    """Return a session on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def pixels(body: bytes) -> Array:
    """Return the rows ``(B, 32, 32, 3)`` of a request."""
    return np.frombuffer(body, np.uint8).reshape(-1, *SHAPE)


def run_together(session: onnxruntime.InferenceSession, requests: list[Array]) -> list[Array]:
    """Return the logits ``(B, 10)`` of each request, computed `MAX_BATCH` rows at a time."""
    rows = requests[0] if len(requests) == 1 else np.concatenate(requests)
    parts = [
        session.run(None, {"pixels": rows[at : at + MAX_BATCH]})[0]
        for at in range(0, len(rows), MAX_BATCH)
    ]
    logits = parts[0] if len(parts) == 1 else np.concatenate(parts)
    ends = np.cumsum([len(request) for request in requests])
    return np.split(logits, ends[:-1])
