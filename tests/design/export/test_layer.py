import numpy as np
import onnx
import pytest
import torch
from torch import nn

from hybridge.design.export.layer import LayerSpec, program_of, specs_of
from hybridge.design.graph.capture import capture
from hybridge.design.graph.count import count_layers
from hybridge.design.nets import build
from hybridge.runtime.sessions import open_graph

SPECS = [
    LayerSpec("conv", 8, 16, 8, kernel=3),
    LayerSpec("conv", 8, 16, 7, kernel=3, stride=2),
    LayerSpec("conv", 8, 4, 8, kernel=1),
    LayerSpec("conv", 8, 8, 6, kernel=3, groups=2),
    LayerSpec("depthwise", 8, 8, 8, kernel=5),
    LayerSpec("linear", 32, 10, 1),
    LayerSpec("pool", 8, 8, 8),
    LayerSpec("pool", 8, 8, 8, kernel=2, stride=2),
    LayerSpec("other", 8, 8, 8),
    LayerSpec("other", 8, 16, 8),
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_both_programs_run_and_differ_by_the_layer(spec):
    inputs = {"x": np.ones(spec.input_shape, np.float32)}
    for with_it in (True, False):
        data = program_of(spec, with_it)
        (output,) = open_graph(data, threads=1).run(None, inputs)
        assert np.isfinite(output).all()
    nodes = [len(onnx.load_from_string(program_of(spec, w)).graph.node) for w in (True, False)]
    assert nodes[0] > nodes[1]


def module_of(spec):
    if spec.kind == "linear":
        return nn.Linear(spec.in_channels, spec.out_channels, bias=False)
    if spec.kind == "pool":
        return nn.MaxPool2d(spec.kernel or spec.side, spec.stride)
    groups = spec.in_channels if spec.kind == "depthwise" else spec.groups
    return nn.Conv2d(
        spec.in_channels,
        spec.out_channels,
        spec.kernel,
        spec.stride,
        spec.kernel // 2,
        groups=groups,
        bias=False,
    )


@pytest.mark.parametrize("spec", SPECS[:-2], ids=lambda spec: spec.name)
def test_its_row_is_what_is_counted(spec):
    shape = (1, 32) if spec.kind == "linear" else (1, 8, spec.side, spec.side)
    (counted,) = count_layers(module_of(spec), torch.zeros(shape))
    assert spec.layer == counted.model_copy(update={"name": spec.name})


def test_a_network_gives_its_distinct_layers():
    graph = capture(build("cifar_resnet20", 10), torch.zeros(1, 3, 32, 32))
    specs = specs_of(graph)
    assert len(specs) == len(set(specs)) == 7
    assert specs[0] == LayerSpec("conv", 3, 16, 32, kernel=3)
    assert specs[-1] == LayerSpec("linear", 64, 10, 1)
    rows = {(row.kind, row.kernel, row.macs) for row in graph.layers if row.macs}
    assert {(s.layer.kind, s.layer.kernel, s.layer.macs) for s in specs} == rows


def test_convolutions_that_change_the_size_by_their_padding_are_left_out():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, (1, 3), padding=(0, 1)))
    assert specs_of(capture(network, torch.zeros(1, 3, 8, 8))) == []


def test_a_layer_that_can_follow_itself_does():
    square = LayerSpec("conv", 8, 8, 8, kernel=3)
    assert square.copies == 16
    nodes = onnx.load_from_string(program_of(square, with_it=True)).graph.node
    assert sum(node.op_type == "Conv" for node in nodes) == 1 + 16
    assert LayerSpec("conv", 8, 16, 8, kernel=3).copies == 1
    assert LayerSpec("conv", 512, 512, 14, kernel=3).copies == 1
