"""Every operator in integers, beside onnxruntime: small graphs, made by hand."""

import numpy as np
import onnx
import onnxruntime
import pytest
from micro_pairs import SIDE, needs_tflm, pictures
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from hybridge.design.export.int8_program import translate
from hybridge.design.export.onnx import freeze
from hybridge.design.export.onnx_steps import read_steps
from hybridge.design.export.tflite_file import TFLiteFile
from hybridge.design.export.tflm_run import MicroInterpreter
from hybridge.design.nets.network import PixelNetwork
from hybridge.design.nets.scaled import ScaledDown
from hybridge.errors import ConfigError
from hybridge.hashing import hash_bytes
from hybridge.plan.program import Program
from hybridge.plan.tensors import Geometry, TensorSpec

CHANNELS, CLASSES = 6, 5
node = helper.make_node


def constant(name, value):
    return numpy_helper.from_array(np.asarray(value), name)


def conv(reads, gives, name, kernel, stride=1, groups=1, pad=None):
    rng = np.random.default_rng(kernel)
    pad = kernel // 2 if pad is None else pad
    options = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [pad] * 4}
    weights = rng.normal(size=(CHANNELS, CHANNELS // groups, kernel, kernel)) / kernel
    weights *= rng.uniform(0.02, 2, (CHANNELS, 1, 1, 1))
    made = [constant(f"{name}.w", weights.astype(np.float32))]
    made.append(constant(f"{name}.b", rng.normal(size=CHANNELS).astype(np.float32) / 5))
    return [node("Conv", [reads, f"{name}.w", f"{name}.b"], [gives], group=groups, **options)], made


def ints(name, *values):
    return constant(name, np.array(values, np.int64))


MIDDLES = {
    "nothing": ([node("Identity", ["x"], ["y"])], []),
    "relu": ([node("Relu", ["x"], ["y"])], []),
    "relu6": (
        [node("Clip", ["x", "low", "high"], ["y"])],
        [constant("low", np.float32(0)), constant("high", np.float32(6))],
    ),
    "hard swish": ([node("HardSwish", ["x"], ["y"])], []),
    "sum": ([node("Relu", ["x"], ["a"]), node("Add", ["a", "x"], ["y"])], []),
    "slice": (
        [node("Slice", ["x", "starts", "ends", "axes", "steps"], ["y"])],
        [ints("starts", 0, 1), ints("ends", 99, 99), ints("axes", 2, 3), ints("steps", 2, 2)],
    ),
    "padded channels": (
        [node("Relu", ["x"], ["a"]), node("Pad", ["a", "pads"], ["y"])],
        [ints("pads", 0, 1, 0, 0, 0, 2, 0, 0)],
    ),
    "maxima": ([node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2])], []),
    "means": ([node("AveragePool", ["x"], ["y"], kernel_shape=[3, 3], strides=[3, 3])], []),
    "mean": ([node("GlobalAveragePool", ["x"], ["y"])], []),
    "stride 2": conv("x", "y", "c", 3, stride=2),
    "depthwise, stride 2": conv("x", "y", "c", 5, stride=2, groups=CHANNELS),
    "no padding": conv("x", "y", "c", 3, pad=0),
}


def chained(first, second):
    return [*first[0], *second[0]], [*first[1], *second[1]]


_between = chained(conv("x", "a", "c", 3), ([node("HardSwish", ["a"], ["b"])], []))
MIDDLES["hard swish between"] = chained(_between, conv("b", "y", "d", 3, groups=CHANNELS))
_between = chained(conv("x", "a", "c", 3), ([node("Relu", ["a"], ["b"])], []))
MIDDLES["relu between"] = chained(_between, conv("b", "y", "d", 3))


def program(folder, middle, mean=(0.49, 0.48, 0.40), pad=1):
    """Return pixels, normalised, through a convolution, a middle, and a linear layer."""
    rng = np.random.default_rng(0)
    nodes, constants = middle
    weights = (rng.normal(size=(CHANNELS, 3, 3, 3)) / 3).astype(np.float32)
    shift = np.array(mean, np.float32).reshape(3, 1, 1)
    first = [
        node("Transpose", ["pixels"], ["t"], perm=[0, 3, 1, 2]),
        node("Cast", ["t"], ["f"], to=TensorProto.FLOAT),
        node("Div", ["f", "full"], ["g"]),
        node("Sub", ["g", "mean"], ["h"]),
        node("Div", ["h", "std"], ["i"]),
        node("Conv", ["i", "first.w"], ["x"], kernel_shape=[3, 3], pads=[pad] * 4),
    ]
    constants = [
        *constants,
        constant("full", np.float32(255)),
        constant("mean", shift),
        constant("std", np.full((3, 1, 1), 0.25, np.float32)),
        constant("first.w", weights),
    ]
    features = _count([*first, *nodes], constants, pad)
    matrix = (rng.normal(size=(CLASSES, features)) / np.sqrt(features)).astype(np.float32)
    constants.append(constant("linear.w", matrix))
    last = [
        node("Flatten", ["y"], ["v"]),
        node("Gemm", ["v", "linear.w"], ["logits"], transB=1),
    ]
    return _saved(folder, [*first, *nodes, *last], constants)


def _model(nodes, constants, output, shape):
    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["B", SIDE, SIDE, 3])
    given = helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, "base", [pixels], [given], initializer=constants)
    opset = [helper.make_opsetid("", 18)]
    return helper.make_model(graph, opset_imports=opset, ir_version=9)


def _run(model, pixels):
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"pixels": pixels})[0]


def _count(nodes, constants, pad):
    return _run(_model(nodes, constants, "y", None), pictures(1)).size


def _saved(folder, nodes, constants):
    model = _model(nodes, constants, "logits", ["B", CLASSES])
    path = folder / "base.onnx"
    onnx.save(model, path)
    data = path.read_bytes()
    return Program(
        name="base",
        sha256=hash_bytes(data),
        size_bytes=len(data),
        inputs=(TensorSpec(name="pixels", dtype="uint8", shape=(SIDE, SIDE, 3)),),
        outputs=(TensorSpec(name="logits", dtype="float32", shape=(CLASSES,)),),
        path=path,
    )


def both(made, count=24, bits=8):
    """Return logits of calibration images by onnxruntime and the interpreter, and the file."""
    file = TFLiteFile("base")
    value = translate(read_steps(made, pictures(40)), file, "logits", bits)
    file.outputs.append(value.tensor)
    seen = pictures(40)[:count]
    shifted = (seen.astype(np.int16) - 128).astype(np.int8)
    (got,) = MicroInterpreter(file.pack(), "base").run(shifted, 1)
    return _run(onnx.load(made.path), seen), got * value.quantisation.step, file


@needs_tflm
@pytest.mark.parametrize(("bits", "off"), [(8, 0.04), (16, 0.015)])
@pytest.mark.parametrize("name", list(MIDDLES))
def test_an_operator_in_integers_says_what_onnxruntime_says(name, bits, off, tmp_path):
    wanted, got, _ = both(program(tmp_path, MIDDLES[name]), bits=bits)
    assert np.sqrt(((got - wanted) ** 2).mean()) < off * wanted.std()


@needs_tflm
@pytest.mark.parametrize(("mean", "pad"), [((0.5, 0.5, 0.5), 1), ((0.49, 0.48, 0.40), 0)])
def test_normalisation_folds_where_the_border_stays_the_same(mean, pad, tmp_path):
    wanted, got, file = both(program(tmp_path, MIDDLES["nothing"], mean, pad))
    assert "DEPTHWISE_CONV_2D" not in file.kinds
    assert np.sqrt(((got - wanted) ** 2).mean()) < 0.04 * wanted.std()


@needs_tflm
def test_channels_of_very_different_ranges_keep_their_integers(tmp_path):
    large = np.array([1, *[0.01] * (CHANNELS - 1)], np.float32).reshape(-1, 1, 1, 1)
    nodes, constants = MIDDLES["hard swish between"]
    apart = {"c.w": 20 * large, "c.b": large.reshape(-1), "d.w": 1 / large}
    constants = [
        constant(held.name, numpy_helper.to_array(held) * apart.get(held.name, np.float32(1)))
        for held in constants
    ]
    wanted, got, file = both(program(tmp_path, (nodes, constants)))
    assert np.sqrt(((got - wanted) ** 2).mean()) < 0.05 * wanted.std()
    assert "MUL" in file.kinds
    assert "HARD_SWISH" not in file.kinds


_POOLED = {"kernel_shape": [3, 3], "strides": [1, 1], "pads": [1] * 4}


@pytest.mark.parametrize(
    ("odd", "why"),
    [
        (node("Sin", ["x"], ["y"], "curl"), "operator Sin has no counterpart"),
        (node("MaxPool", ["x"], ["y"], "curl", **_POOLED), "pooling with a padding"),
    ],
)
def test_what_cannot_be_written_is_named_with_the_way_round(odd, why, tmp_path):
    steps = read_steps(program(tmp_path, ([odd], [])), pictures(2))
    with pytest.raises(ConfigError, match=rf"node 'curl'.*{why}.*--target cortex-m"):
        translate(steps, TFLiteFile("base"), "logits")


def test_a_base_that_scales_images_down_inside_is_told_what_to_do(tmp_path):
    network = nn.Sequential(ScaledDown(SIDE, 8), nn.Flatten(), nn.Linear(3 * 64, CLASSES))
    base = PixelNetwork(network, (0.49, 0.48, 0.40), (0.25, 0.25, 0.25)).eval()
    pixels = TensorSpec(name="pixels", dtype="uint8", shape=(SIDE, SIDE, 3))
    geometry = Geometry(height=SIDE, width=SIDE)
    made = freeze(base, "base", pixels, ("logits",), geometry, tmp_path)
    steps = read_steps(made, pictures(2))
    with pytest.raises(ConfigError, match=r"scaled_to.*data\.geometry.*--target cortex-m"):
        translate(steps, TFLiteFile("base"), "logits")
