"""A program: an exported, frozen graph with a typed signature and a cost."""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from hybridge.errors import SignatureError
from hybridge.plan.layers import Layer, total_macs, total_parameters
from hybridge.plan.tensors import Frozen, Geometry, TensorSpec


class Program(Frozen):
    """An ONNX graph, named by the hash of its file.

    Attributes:
        name: Name within its plan, such as ``base`` or ``global``.
        sha256: Hash of the ONNX file; the program's identity on the wire.
        size_bytes: Size of the ONNX file.
        inputs: Signature of what goes in.
        outputs: Signature of what comes out.
        layers: One row per layer, to be priced by a device profile.
        geometry: How an image becomes the one input, where that input is pixels.
        path: Where the ONNX file lies; not part of the program's identity.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size_bytes: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    layers: tuple[Layer, ...] = ()
    geometry: Geometry | None = None
    path: Path | None = Field(default=None, exclude=True)

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates for one input."""
        return total_macs(self.layers)

    @cached_property
    def parameters(self) -> int:
        """Number of parameters."""
        return total_parameters(self.layers)

    def check_inputs(self, tensors: dict[str, np.ndarray[Any, Any]]) -> None:
        """Raise `SignatureError` unless ``tensors`` are exactly this program's inputs."""
        expected = {spec.name for spec in self.inputs}
        if expected != set(tensors):
            raise SignatureError(
                f"program {self.name!r} takes {sorted(expected)}, got {sorted(tensors)}"
            )
        for spec in self.inputs:
            spec.check(tensors[spec.name])
