"""A program in floating point, to compare integers with."""

from typing import Any

import onnxruntime


def float_session(model: str | bytes, optimised: bool = True) -> onnxruntime.InferenceSession:
    """Return a session on one thread: networks this small wait for a second one, above all.

    Args:
        model: Path of a file, or its content.
        optimised: Whether nodes may be fused; their values cannot be read then.
    """
    options: Any = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
