"""The one currency of cost: a row per layer, which any device profile can price."""

from collections.abc import Iterable
from typing import Annotated

from pydantic import Field

from hybridge.plan.tensors import Frozen

#: More than any network has; sums of it, and times and energies made of it, still fit a float.
_MOST = 10**30

Count = Annotated[int, Field(ge=0, le=_MOST)]


class Layer(Frozen):
    """One layer of a network, as a device sees it.

    Attributes:
        name: Where the layer stands in the network, such as ``layer1.0.conv1``.
        kind: Class of layer: ``conv``, ``depthwise``, ``linear``, ``norm``, ``pool``,
            ``activation`` (what runtimes fuse into the layer before), ``add`` (of two tensors),
            ``other``.
        kernel: Kernel size, the longer side where they differ, or 0 where there is none.
        macs: Multiply-accumulates for one input.
        parameters: Number of weights and biases.
        output_bytes: Size of its output for one input, at its own dtype.
    """

    name: str
    kind: str
    kernel: Count = 0
    macs: Count
    parameters: Count
    output_bytes: Count


def total_macs(layers: Iterable[Layer]) -> int:
    """Return the multiply-accumulates of all ``layers`` for one input."""
    return sum(layer.macs for layer in layers)


def total_parameters(layers: Iterable[Layer]) -> int:
    """Return the number of parameters of all ``layers``."""
    return sum(layer.parameters for layer in layers)
