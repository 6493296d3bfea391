"""A base network's program in 8-bit integers, as TensorFlow Lite for Microcontrollers runs it.

Post-training quantisation as TensorFlow Lite defines it: weights symmetric and per channel,
activations asymmetric and per tensor, by the ranges seen on calibration images. Weights are rounded
so that sums stay right (`moments`). The logits alone take 16 bits, since a router reads their
differences; all activations do where so asked, symmetric then.

Images lie row by row with their channels last; an ONNX program has channels first, and every
four-dimensional tensor is turned around while it is translated.
"""

import numpy as np

from hybridge.design.export import int8_operators  # noqa: F401  (registers its translations)
from hybridge.design.export.equalise import equalise
from hybridge.design.export.int8_convolutions import integers
from hybridge.design.export.onnx_steps import Steps
from hybridge.design.export.tflite_file import TFLiteFile
from hybridge.design.export.translation import (
    PIXEL,
    PIXELS,
    Bits,
    Scaled,
    Translation,
    Value,
    translations,
    unsupported,
)


def translate(steps: Steps, file: TFLiteFile, output: str, bits: Bits = 8) -> Value:
    """Write a program into a file, up to one of its values.

    Args:
        steps: The program.
        file: Where to; its input is added: pixels less 128, ``(1, H, W, C)``, int8.
        output: Name of the value, such as ``logits``.
        bits: Of what is kept between layers.

    Raises:
        ConfigError: An operator cannot be translated; names it, its node and the way round.
    """
    run = Translation(file, steps, bits)
    tensor = file.tensor("pixels", (1, *steps.pixels), "int8", PIXEL)
    file.inputs.append(tensor)
    channels = np.ones(steps.pixels[-1])
    run.values[steps.input] = Scaled(channels, 0 * channels)
    run.values[PIXELS] = Value(tensor, (1, *steps.pixels), PIXEL)
    run.steps, todo = equalise(steps, steps.until(output))
    for step in todo:
        for name in step.inputs:
            run.readers.setdefault(name, set()).add(step.kind)
    for step in todo:
        if step.kind not in translations.names():
            raise unsupported(step, f"operator {step.kind} has no counterpart here")
        run.values[step.output] = translations.get(step.kind)(run, step)
    if todo[-1].kind not in ("Gemm", "MatMul"):
        raise unsupported(todo[-1], f"expected {output} of a linear layer, got {todo[-1].kind}")
    return integers(run, output)
