from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

from hybridge.codecs.codec import codec_named
from hybridge.design.graph.capture import capture
from hybridge.design.graph.graph import INPUT, Graph
from hybridge.design.graph.sizes import bound_sizes, encoded_sizes
from hybridge.design.nets import PixelNetwork, build
from hybridge.errors import ConfigError

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
WEBP = codec_named("webp")


@cache
def captured() -> Graph:
    torch.manual_seed(0)
    network = PixelNetwork(build("cifar_resnet8", 10), (0.5,) * 3, (0.3,) * 3).eval()
    return capture(network, torch.zeros(1, 32, 32, 3, dtype=torch.uint8))


def test_sizes_are_what_the_codecs_give():
    graph, codec = captured(), codec_named("int8-zstd")
    sizes = encoded_sizes(graph, PIXELS, WEBP, codec, batch_size=2)
    assert sizes.keys() == {INPUT, *(node.name for node in graph.nodes)}
    assert sizes[INPUT] == WEBP.encode(PIXELS).payload_bytes / 5
    network = graph.module
    with torch.no_grad():
        logits = network(torch.from_numpy(PIXELS)).numpy()
    assert sizes["network.linear"] == codec.encode(logits).payload_bytes / 5
    # Before they are scaled they are bytes, which this codec does not take.
    assert sizes["permute"] == 32 * 32 * 3
    # Half of the numbers are zero, and compress.
    assert sizes["network.relu"] < 0.9 * sizes["network.bn1"]


@pytest.mark.parametrize("name", ["raw", "fp16", "int8-zstd"])
def test_no_tensor_takes_more_than_its_bound(name):
    graph = captured()
    bounds = bound_sizes(graph, name)
    measured = encoded_sizes(graph, PIXELS, codec_named("raw"), codec_named(name))
    assert bounds.keys() == measured.keys()
    assert all(measured[each] <= bounds[each] for each in bounds)
    assert bounds[INPUT] == 3072
    per_number = {"raw": 4, "fp16": 2, "int8-zstd": 1}[name]
    assert bounds["network.relu"] == pytest.approx(per_number * 16 * 32 * 32, rel=0.01)


@pytest.mark.parametrize("numbers", [1, 100, 1 << 17, (1 << 18) + 1])
def test_noise_takes_no_more_than_its_bound(numbers):
    graph = capture(nn.Sequential(nn.ReLU()), torch.ones(1, numbers))
    noise = np.random.default_rng(0).random((1, numbers), np.float32)
    assert codec_named("int8-zstd").encode(noise).payload_bytes <= bound_sizes(graph)["0"]


class Odd(nn.Module):
    """Gives several tensors, one without an item for each image, one too large for fp16."""

    def forward(self, pixels):
        left, right = pixels.flatten(1).to(torch.float32).chunk(2, dim=1)
        total = (left + right).sum()
        return torch.stack((left * 1e6, right), dim=1) + total


def test_what_cannot_be_sent_has_no_size():
    pixels = torch.zeros(1, 2, 2, 3, dtype=torch.uint8)
    graph = capture(Odd(), pixels)
    names = {node.name for node in graph.nodes}
    assert names - bound_sizes(graph).keys() == {"chunk"}
    some = np.full((2, 2, 2, 3), 200, np.uint8)
    sizes = encoded_sizes(graph, some, WEBP, codec_named("fp16"))
    assert names - sizes.keys() == {"chunk", "sum", "mul", "stack", "add:2"}


@pytest.mark.parametrize("pixels", [PIXELS[:0], PIXELS[:, :16], PIXELS.astype(np.float32)])
def test_other_images_are_refused(pixels):
    with pytest.raises(ConfigError, match=r"uint8 pixels \(N, 32, 32, 3\), got"):
        encoded_sizes(captured(), pixels, WEBP, codec_named("raw"))


def test_a_network_without_normalisation_is_refused():
    graph = capture(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), torch.ones(1, 3, 2, 2))
    with pytest.raises(ConfigError, match=r"reads float32.*PixelNetwork"):
        encoded_sizes(graph, PIXELS, WEBP, codec_named("raw"))


def test_codecs_without_a_bound_are_refused():
    with pytest.raises(ConfigError, match="did you mean 'int8-zstd'"):
        bound_sizes(captured(), "int8")
