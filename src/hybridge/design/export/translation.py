"""What every translation of an operator to 8-bit integers shares."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from hybridge.design.export.equalise import GATED, SWISH_LEAST
from hybridge.design.export.onnx_steps import Step, Steps
from hybridge.design.export.tflite_file import Array, Quantisation, TFLiteFile
from hybridge.errors import ConfigError
from hybridge.registry import Registry

#: Bits of what a network keeps between its layers; weights have 8 in any case.
Bits = Literal[8, 16]
#: Of 16-bit logits: half of what fits, so that sums of two still do.
LOGIT_LEVELS = 16383
#: Of 16-bit pixels, for one step of brightness.
PIXEL_LEVELS = 64
#: Fused activations and paddings, by their numbers in the file.
RELU, RELU6 = 1, 3
SAME, VALID = 0, 1
PIXELS = "$pixels"
PIXEL = Quantisation((1.0,), -128)
#: Of a gate between 0 and 1; the ends of the integers clip it, but for the lower end of 16 bits.
GATES: dict[Bits, Quantisation] = {
    8: Quantisation((1 / 255,), -128),
    16: Quantisation((1 / 32767,)),
}
#: In 16 bits, how much larger than what was seen a number may be: there are integers to spare.
_ROOM = 2.0


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor in integers.

    Attributes:
        tensor: Its number in the file.
        shape: With channels last and a batch of one.
        quantisation: What its integers mean.
        flattened: Channels, height and width that a vector was made from, or None.
    """

    tensor: int
    shape: tuple[int, ...]
    quantisation: Quantisation
    flattened: tuple[int, int, int] | None = None


@dataclass(frozen=True, slots=True)
class Scaled:
    """Pixels that are scaled and shifted, channel by channel, and not yet written anywhere."""

    scale: Array
    shift: Array


@dataclass(slots=True)
class Translation:
    """A program on its way into a file.

    Attributes:
        file: Where it is written.
        steps: What it does, with ranges.
        values: What was translated, by the name of the ONNX value.
        bits: Of activations.
        readers: Operators that read a value, by its name.
    """

    file: TFLiteFile
    steps: Steps
    bits: Bits = 8
    values: dict[str, Value | Scaled] = field(default_factory=dict)
    readers: dict[str, set[str]] = field(default_factory=dict)

    @property
    def dtype(self) -> str:
        """The type of activations."""
        return f"int{self.bits}"

    def clips(self, step: Step) -> int:
        """Return the number of the activation that is fused into a step."""
        gate = 0 if self.bits == 8 else RELU
        return {"Relu": RELU, "Relu6": RELU6, "HardSigmoid": gate}.get(step.fused or "", 0)

    def range(self, low: float, high: float) -> Quantisation:
        """Return integers for a range."""
        if self.bits == 8:
            return activation(low, high)
        return Quantisation((max(_ROOM * max(-low, high) / 32767, 1e-8),))

    def output(
        self,
        step: Step,
        shape: Sequence[int],
        fixed: Quantisation | None = None,
        flattened: tuple[int, int, int] | None = None,
    ) -> Value:
        """Return a new tensor for what a step gives, by its range.

        Args:
            step: What gives it.
            shape: With channels last and a batch of one.
            fixed: What its integers mean, where its range is not to say so.
            flattened: As of `Value`: that of what the step reads, where numbers keep their places.
        """
        gate = GATES[self.bits] if step.fused == "HardSigmoid" else None
        low, high = self.steps.range(step.output)
        if self.readers.get(step.output) == {"HardSwish"}:
            # A hard swish makes 0 of all that is below: no integers are spent on it.
            low = max(low, SWISH_LEAST)
        quantisation = fixed or gate or self.range(low, high)
        tensor = self.file.tensor(step.name, shape, self.dtype, quantisation)
        return Value(tensor, tuple(shape), quantisation, flattened)


Translate = Callable[[Translation, Step], "Value | Scaled"]
translations: Registry[Translate] = Registry("operator")
"""What writes a step into the file, by the step's operator."""


def unsupported(step: Step, why: str) -> ConfigError:
    """Return the error for a step that cannot be written, with the way round."""
    known = ", ".join(sorted(set(translations.names()) - {GATED}))
    return ConfigError(
        f"node {step.name!r} cannot be written for TensorFlow Lite for Microcontrollers: {why}; "
        f"build the base from {known}, or export it with --target cortex-m"
    )


def operator(*kinds: str) -> Callable[[Translate], Translate]:
    """Register the decorated function as the translation of operators of these names."""

    def register(translate_: Translate) -> Translate:
        for kind in kinds:
            translations.add(kind, translate_)
        return translate_

    return register


def activation(low: float, high: float) -> Quantisation:
    """Return asymmetric 8-bit integers for a range, which always has 0."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = max((high - low) / 255, 1e-8)
    return Quantisation((scale,), int(np.clip(round(-128 - low / scale), -128, 127)))
