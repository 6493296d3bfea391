"""A program in floating point, to compare integers with."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from hybridge.plan.program import Program


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


def float_outputs(
    program: Program, images: NDArray[np.uint8], names: Sequence[str]
) -> dict[str, NDArray[np.float32]]:
    """Return what a program says of images, ``(N, K)`` by output; one after the other, to be small.

    Args:
        program: From pixels.
        images: Pixels ``(N, H, W, C)``, at least one.
        names: Of outputs.
    """
    session, reads = float_session(str(program.path)), program.inputs[0].name
    said = [session.run([*names], {reads: image[None]}) for image in images]
    return {
        name: np.array([value.reshape(-1) for value in values])
        for name, values in zip(names, zip(*said, strict=True), strict=True)
    }
