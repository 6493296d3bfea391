"""How a leaf turns the logits at hand into an answer."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from hybridge.plan.tensors import Frozen

Array = np.ndarray[Any, Any]


def log_softmax(logits: Array, temperature: float = 1.0) -> Array:
    """Return log-probabilities of ``logits`` ``(..., C)``, in float64."""
    scaled = np.asarray(logits, np.float64) / temperature
    shifted = scaled - scaled.max(axis=-1, keepdims=True)
    normalised: Array = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return normalised


def softmax(logits: Array, temperature: float = 1.0) -> Array:
    """Return probabilities of ``logits`` ``(..., C)``, in float64."""
    # Few calls, of ufuncs alone: this stands on the path of every answer.
    scaled = np.asarray(logits, np.float64) / temperature
    powers: Array = np.exp(scaled - np.maximum.reduce(scaled, axis=-1, keepdims=True))
    powers /= np.add.reduce(powers, axis=-1, keepdims=True)
    return powers


class _OfOneProgram(Frozen):
    """One program's logits as they are."""

    logits: str

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the values that are read."""
        return (self.logits,)

    def probabilities(self, values: Mapping[str, Array]) -> Array:
        """Return probabilities ``(B, C)`` from the ``values`` computed so far."""
        return softmax(values[self.logits])


class Newest(_OfOneProgram):
    """Answer with one program's logits as they are."""

    kind: Literal["newest"] = "newest"


class Fused(Frozen):
    """Answer with base and global together: ``w log p_b + (1 - w) log p_g``.

    When the cloud's logits come back the device already holds the base's, so this costs no bytes.

    Attributes:
        base: Name of the base's logits.
        global_: Name of the global's logits.
        base_weight: ``w`` in [0, 1].
        base_temperature: Temperature of the base's softmax.
        global_temperature: Temperature of the global's softmax.
    """

    kind: Literal["fused"] = "fused"
    base: str
    global_: str
    base_weight: float = Field(ge=0, le=1)
    base_temperature: float = Field(default=1.0, gt=0)
    global_temperature: float = Field(default=1.0, gt=0)

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the values that are read."""
        return (self.base, self.global_)

    def probabilities(self, values: Mapping[str, Array]) -> Array:
        """Return probabilities ``(B, C)`` from the ``values`` computed so far."""
        return softmax(self.log_scores(values[self.base], values[self.global_]))

    def log_scores(self, base: Array, global_: Array) -> Array:
        """Return the weighted log-probabilities ``(B, C)`` whose argmax is the answer."""
        fused: Array = self.base_weight * log_softmax(base, self.base_temperature) + (
            1 - self.base_weight
        ) * log_softmax(global_, self.global_temperature)
        return fused


class Abstain(_OfOneProgram):
    """Give no label: the abstaining classifier, for a device alone.

    The probabilities of the newest logits still come with the answer.
    """

    kind: Literal["abstain"] = "abstain"


Combine = Annotated[Newest | Fused | Abstain, Field(discriminator="kind")]
"""Every way to answer, told apart by its ``kind``."""
