"""A program: an exported, frozen graph with a typed signature and a cost."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import Field

from hybridge.errors import SignatureError
from hybridge.plan.layers import Layer, total_macs, total_parameters
from hybridge.plan.tensors import Frozen, Geometry, TensorSpec

#: Leading bytes of a program's sha256 that a device behind a serial line names it by.
PROGRAM_BYTES = 8


class Claim(NamedTuple):
    """What a tensor is said to be.

    Attributes:
        name: Its name in the program.
        dtype: Its element type, in NumPy's words.
        shape: Its extents, the batch axis first.
    """

    name: str
    dtype: str | np.dtype[Any]
    shape: tuple[int, ...]


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
        self._check(_claims(tensors), self.inputs, "takes")

    def check_claims(self, claims: Sequence[Claim]) -> int:
        """Return the rows of inputs that are only announced, before their content is touched.

        Raises `SignatureError` unless the ``claims`` are exactly this program's inputs, all of as
        many rows, at least one.
        """
        rows = self._check(claims, self.inputs, "takes")
        if rows < 1:
            raise SignatureError(f"program {self.name!r} takes at least one row, got {rows}")
        return rows

    def check_outputs(self, tensors: Mapping[str, np.ndarray[Any, Any]], batch: int) -> None:
        """Raise `SignatureError` unless ``tensors`` are its outputs for ``batch`` inputs."""
        rows = self._check(_claims(tensors), self.outputs, "gives")
        if rows != batch:
            raise SignatureError(
                f"program {self.name!r} gives {sorted(tensors)} for {batch} inputs, got {rows}"
            )

    def _check(self, claims: Sequence[Claim], specs: tuple[TensorSpec, ...], does: str) -> int:
        by_name = {spec.name: spec for spec in specs}
        found = [claim.name for claim in claims]
        if len(found) != len(by_name) or set(found) != by_name.keys():
            raise SignatureError(
                f"program {self.name!r} {does} {sorted(by_name)}, "
                f"got {sorted(name[:40] for name in found[:16])}"
            )
        for claim in claims:
            by_name[claim.name].check_claim(claim.dtype, claim.shape)
        rows = {claim.shape[0] for claim in claims}
        if len(rows) != 1:
            raise SignatureError(
                f"program {self.name!r} {does} tensors of as many rows each, got {sorted(rows)}"
            )
        return rows.pop()


def _claims(tensors: Mapping[str, np.ndarray[Any, Any]]) -> list[Claim]:
    return [Claim(name, array.dtype, array.shape) for name, array in tensors.items()]
