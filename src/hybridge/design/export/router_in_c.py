"""A router as plain C in integers: the same numbers as ``router.tflite``, without an interpreter.

An interpreter keeps some 200 bytes for each operator. This needs two rows of units alone.
"""

from itertools import pairwise
from pathlib import Path

import numpy as np

from hybridge.design.export.integer_layers import IntegerLayer
from hybridge.design.export.tflite_file import Array

_PER_LINE = 24
_INT32 = 2**31
_BIAS_BYTES = {"int32_t": 4, "int64_t": 8}


def scratch_bytes(layers: tuple[IntegerLayer, ...]) -> int:
    """Return the working memory: the units that one layer reads, and those that it gives."""
    widths = [layers[0].weights.shape[1], *(len(layer.bias) for layer in layers)]
    return 2 * int(max(reads + gives for reads, gives in pairwise(widths)))


def constant_bytes(layers: tuple[IntegerLayer, ...]) -> int:
    """Return the bytes of weights and biases; the code, some 300, comes on top."""
    each = _BIAS_BYTES[_bias_type(layers)]
    sizes = [int(layer.weights.size) + each * int(layer.bias.size) for layer in layers]
    return sum(sizes)


def layer_bytes(layers: tuple[IntegerLayer, ...]) -> list[tuple[str, int, int]]:
    """Return, for every layer, its name, the bytes of its constants and of its scratch."""
    names = [*(f"router.{number}" for number in range(1, len(layers))), "score"]
    return [
        (name, constant_bytes((layer,)), 2 * sum(layer.weights.shape))
        for name, layer in zip(names, layers, strict=True)
    ]


def write_router(folder: Path, layers: tuple[IntegerLayer, ...]) -> None:
    """Write ``hybridge_router.c`` and ``hybridge_router.h`` to a folder."""
    type_ = _bias_type(layers)
    arrays, rows = [], []
    for number, layer in enumerate(layers):
        factor, shift = layer.fixed_point
        arrays.append(_array(f"static const int8_t weights{number}[]", layer.weights))
        arrays.append(_array(f"static const {type_} bias{number}[]", layer.bias))
        gives, reads = layer.weights.shape
        rows.append(
            f"    {{weights{number}, bias{number}, {reads}, {gives}, {factor}, {shift}, "
            f"{int(layer.relu)}}},"
        )
    numbers = {
        "@ARRAYS@": "\n".join(arrays),
        "@ROWS@": "\n".join(rows),
        "@BIAS@": type_,
        "@NUMBERS@": str(scratch_bytes(layers) // 2),
        "@CLASSES@": str(layers[0].weights.shape[1]),
    }
    for name, text in (("hybridge_router.h", _HEADER), ("hybridge_router.c", _CODE)):
        for mark, value in numbers.items():
            text = text.replace(mark, value)
        (folder / name).write_text(text)


def _bias_type(layers: tuple[IntegerLayer, ...]) -> str:
    most = max(int(np.abs(layer.bias).max()) for layer in layers)
    return "int32_t" if most < _INT32 else "int64_t"


def _array(declared: str, values: Array) -> str:
    numbers = [str(value) for value in values.reshape(-1).tolist()]
    lines = [
        ",".join(numbers[start : start + _PER_LINE]) for start in range(0, len(numbers), _PER_LINE)
    ]
    body = ",\n".join(lines)
    return f"{declared} = {{\n{body}}};"


_HEADER = """\
/* The router of hybridge_model in integers, written by Hybridge. */
#ifndef HYBRIDGE_ROUTER_H
#define HYBRIDGE_ROUTER_H

#include <stdint.h>

#define HYBRIDGE_ROUTER_NUMBERS @NUMBERS@

#ifdef __cplusplus
extern "C" {
#endif
/* Returns the score of the base's logits, HYBRIDGE_CLASSES of them. An image is sent where it is
 * greater than HYBRIDGE_THRESHOLD. `scratch` has room for HYBRIDGE_ROUTER_NUMBERS numbers. */
int16_t hybridge_router_score(const int16_t* logits, int16_t* scratch);
#ifdef __cplusplus
}
#endif

#endif
"""

_CODE = """\
#include "hybridge_router.h"

#include <string.h>

typedef struct {
  const int8_t* weights;
  const @BIAS@* bias;
  int16_t reads, gives;
  int32_t factor;
  uint8_t shift, relu;
} layer;

@ARRAYS@

static const layer layers[] = {
@ROWS@
};

/* Rounds as the 16-bit kernel of TensorFlow Lite for Microcontrollers does, to the bit. */
static void run(const layer* it, const int16_t* reads, int16_t* gives) {
  const int8_t* weight = it->weights;
  for (int unit = 0; unit < it->gives; unit++) {
    int64_t sum = it->bias[unit];
    for (int i = 0; i < it->reads; i++) sum += (int32_t)reads[i] * *weight++;
    sum = (sum * it->factor + ((int64_t)1 << (it->shift - 1))) >> it->shift;
    if (sum > INT16_MAX) sum = INT16_MAX;
    const int64_t least = it->relu ? 0 : INT16_MIN;
    gives[unit] = (int16_t)(sum < least ? least : sum);
  }
}

int16_t hybridge_router_score(const int16_t* logits, int16_t* scratch) {
  const int count = (int)(sizeof layers / sizeof layers[0]);
  memcpy(scratch, logits, @CLASSES@ * sizeof *logits);
  const int16_t* reads = scratch;
  for (int i = 0; i < count; i++) {
    /* By turns at the beginning of the scratch and at its end. */
    int16_t* gives = i % 2 ? scratch : scratch + HYBRIDGE_ROUTER_NUMBERS - layers[i].gives;
    run(&layers[i], reads, gives);
    reads = gives;
  }
  return reads[0];
}
"""
