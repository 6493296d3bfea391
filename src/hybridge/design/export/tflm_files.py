"""What a firmware project takes over: the network as a C array, its header, and a sketch."""

from collections.abc import Mapping, Sequence
from pathlib import Path

_METHODS = {
    "ADD": "AddAdd",
    "AVERAGE_POOL_2D": "AddAveragePool2D",
    "CONV_2D": "AddConv2D",
    "DEPTHWISE_CONV_2D": "AddDepthwiseConv2D",
    "FULLY_CONNECTED": "AddFullyConnected",
    "HARD_SWISH": "AddHardSwish",
    "MAX_POOL_2D": "AddMaxPool2D",
    "MEAN": "AddMean",
    "MUL": "AddMul",
    "PAD": "AddPad",
    "QUANTIZE": "AddQuantize",
    "RELU": "AddRelu",
    "RELU6": "AddRelu6",
    "RESHAPE": "AddReshape",
    "STRIDED_SLICE": "AddStridedSlice",
}
_BYTES_PER_LINE = 16
Number = int | float | None


def write_c_array(folder: Path, content: bytes) -> None:
    """Write a network to ``hybridge_model.c``."""
    rows = [
        ", ".join(f"0x{byte:02x}" for byte in content[start : start + _BYTES_PER_LINE])
        for start in range(0, len(content), _BYTES_PER_LINE)
    ]
    body = ",\n  ".join(rows)
    (folder / "hybridge_model.c").write_text(
        f'#include "hybridge_model.h"\n\n'
        f"__attribute__((aligned(16))) const unsigned char hybridge_model[HYBRIDGE_MODEL_BYTES] ="
        f" {{\n  {body}\n}};\n"
    )


def write_header(folder: Path, numbers: Mapping[str, Number], names: Sequence[str]) -> None:
    """Write what a program must know to ``hybridge_model.h``.

    Args:
        folder: Where to.
        numbers: By name, as in ``model_bytes``; those that are None are left out.
        names: Of the classes.
    """
    defined = "\n".join(
        f"#define HYBRIDGE_{name.upper()} {_in_c(value)}"
        for name, value in numbers.items()
        if value is not None
    )
    classes = ", ".join(f'"{_escaped(name)}"' for name in names)
    (folder / "hybridge_model.h").write_text(_HEADER.format(defined=defined, classes=classes))


def write_sketch(folder: Path, operators: Sequence[str], has_score: bool) -> None:
    """Write an example to ``hybridge_example.cc``."""
    methods = "\n".join(f"  operators.{_METHODS[kind]}();" for kind in operators)
    (folder / "hybridge_example.cc").write_text(
        _SKETCH.replace("@COUNT@", str(len(operators)))
        .replace("@METHODS@", methods)
        .replace("@ROUTER@", '#include "hybridge_router.h"\n' if has_score else "")
        .replace("@DECIDE@", _DECIDE if has_score else _KEEP)
    )


def _in_c(value: int | float) -> str:
    return f"{value!r}f" if isinstance(value, float) else str(value)


def _escaped(name: str) -> str:
    plain = name.replace("\\", "\\\\").replace('"', '\\"')
    return plain.replace("\n", " ")


_HEADER = """\
/* A base for TensorFlow Lite for Microcontrollers, and how its router decides; by Hybridge.
 *
 * Input 0: pixels, int8: each byte of an image, less 128, row by row, channels last.
 * Output 0: logits, int16. hybridge_router_score makes a score of them: an image is sent to the
 * cloud where it is greater than HYBRIDGE_THRESHOLD.
 */
#ifndef HYBRIDGE_MODEL_H
#define HYBRIDGE_MODEL_H

{defined}

#define HYBRIDGE_CLASS_NAMES {{{classes}}}

#ifdef __cplusplus
extern "C" {{
#endif
extern const unsigned char hybridge_model[HYBRIDGE_MODEL_BYTES];
#ifdef __cplusplus
}}
#endif

#endif
"""

_DECIDE = """\
  static int16_t scratch[HYBRIDGE_ROUTER_NUMBERS];
  if (hybridge_router_score(logits, scratch) > HYBRIDGE_THRESHOLD) {
    /* Ask the cloud here: hybridge_link.h sends the pixels through `hybridge gateway`.
     * Where it does not answer in time, the base's own answer below stands. */
  }"""
_KEEP = "  /* This network has no router: every image is answered here. */"

_SKETCH = """\
/* An example: classify an image on the board, and know when to ask the cloud. */
#include <cstdint>

#include "hybridge_model.h"
@ROUTER@#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"

namespace {
/* As the interpreter on a 64-bit machine counts it; a 32-bit one needs less. */
alignas(16) uint8_t arena[HYBRIDGE_ARENA_BYTES];
tflite::MicroInterpreter* interpreter = nullptr;
}  // namespace

bool hybridge_begin() {
  static tflite::MicroMutableOpResolver<@COUNT@> operators;
@METHODS@
  static tflite::MicroInterpreter held(tflite::GetModel(hybridge_model), operators, arena,
                                       sizeof(arena));
  interpreter = &held;
  return interpreter->AllocateTensors() == kTfLiteOk;
}

/* Returns the class of an image of HYBRIDGE_PIXEL_BYTES bytes, or -1. */
int hybridge_classify(const uint8_t* pixels) {
  int8_t* input = interpreter->input(0)->data.int8;
  for (int i = 0; i < HYBRIDGE_PIXEL_BYTES; i++) {
    input[i] = static_cast<int8_t>(pixels[i] - 128);
  }
  if (interpreter->Invoke() != kTfLiteOk) return -1;
  const int16_t* logits = interpreter->output(0)->data.i16;
@DECIDE@
  int best = 0;
  for (int i = 1; i < HYBRIDGE_CLASSES; i++) {
    if (logits[i] > logits[best]) best = i;
  }
  return best;
}
"""
