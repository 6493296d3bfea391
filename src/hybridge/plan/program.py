"""A program: an exported, frozen graph with a typed signature and a cost."""

from collections.abc import Mapping
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

    def check_inputs(self, tensors: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Raise `SignatureError` unless ``tensors`` are exactly this program's inputs."""
        self._check(tensors, self.inputs, "takes")

    def check_outputs(self, tensors: Mapping[str, np.ndarray[Any, Any]], batch: int) -> None:
        """Raise `SignatureError` unless ``tensors`` are its outputs for ``batch`` inputs."""
        self._check(tensors, self.outputs, "gives")
        for name, tensor in tensors.items():
            if len(tensor) != batch:
                raise SignatureError(
                    f"program {self.name!r} gives {name!r} for {batch} inputs, got {len(tensor)}"
                )

    def _check(
        self,
        tensors: Mapping[str, np.ndarray[Any, Any]],
        specs: tuple[TensorSpec, ...],
        does: str,
    ) -> None:
        if {spec.name for spec in specs} != tensors.keys():
            raise SignatureError(
                f"program {self.name!r} {does} {sorted(spec.name for spec in specs)}, "
                f"got {sorted(tensors)}"
            )
        for spec in specs:
            spec.check(tensors[spec.name])
