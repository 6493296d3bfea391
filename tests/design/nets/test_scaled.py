import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from hybridge.design.export.onnx import freeze
from hybridge.design.graph.outline import outline
from hybridge.design.nets import PixelNetwork, build
from hybridge.design.nets.scaled import ScaledDown
from hybridge.errors import ConfigError
from hybridge.plan.tensors import TensorSpec


@given(given=st.integers(1, 40), wanted=st.integers(1, 40))
def test_every_pixel_is_a_mean_as_antialiased_interpolation_has_it(given, wanted):
    if wanted > given:
        with pytest.raises(ConfigError, match=f"from 1 to {given}"):
            ScaledDown(given, wanted)
        return
    images = torch.rand(2, 3, given, given)
    expected = F.interpolate(images, (wanted, wanted), mode="bilinear", antialias=True)
    torch.testing.assert_close(ScaledDown(given, wanted)(images), expected, atol=1e-5, rtol=0)


def test_a_network_at_a_lower_resolution_reads_whole_images_and_costs_less():
    size = {"class_count": 10, "channels": 3}
    inside = outline("elastic_small", resolution=32, scaled_to=24, **size)
    small = outline("elastic_small", resolution=24, **size)
    assert inside.macs == small.macs < outline("elastic_small", resolution=32, **size).macs
    network = PixelNetwork(build("elastic_small", 10, scaled_to=24), (0.5,) * 3, (0.25,) * 3)
    assert network(torch.zeros(1, 32, 32, 3, dtype=torch.uint8)).shape == (1, 10)


def test_an_exported_network_scales_as_torch_does(tmp_path):
    layer = nn.Sequential(ScaledDown(32, 24), nn.Flatten())
    images = TensorSpec(name="images", dtype="float32", shape=(3, 32, 32))
    program = freeze(layer, "scaled", images, ("logits",), None, tmp_path)  # checks that it does
    assert program.outputs[0].shape == (3 * 24 * 24,)
