"""Modules frozen into programs."""

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from hybridge.design.export.onnx import freeze
from hybridge.errors import ConfigError
from hybridge.hashing import hash_file
from hybridge.plan.tensors import Geometry, TensorSpec
from tiny_pairs import SIDE, tiny_network

VECTOR = TensorSpec(name="x", dtype="float32", shape=(4,))


def test_a_program_says_what_its_file_is(tmp_path):
    geometry = Geometry(height=SIDE, width=SIDE)
    pixels = TensorSpec(name="pixels", dtype="uint8", shape=geometry.shape)
    network = tiny_network(0)
    program = freeze(network, "base", pixels, ("logits",), geometry, tmp_path / "new")
    assert program.path == tmp_path / "new" / "base.onnx"
    assert program.sha256 == hash_file(program.path)
    assert program.size_bytes == program.path.stat().st_size
    assert program.inputs == (pixels,)
    assert program.outputs == (TensorSpec(name="logits", dtype="float32", shape=(4,)),)
    # 3 to 4 channels at 8x8, 4 to 8 channels at 4x4, 8 features to 4 classes.
    assert program.macs == 27 * 4 * 64 + 36 * 8 * 16 + 8 * 4
    session = onnxruntime.InferenceSession(program.path)
    for batch in (1, 5):
        images = np.random.default_rng(batch).integers(0, 256, (batch, *pixels.shape), np.uint8)
        (logits,) = session.run(["logits"], {"pixels": images})
        with torch.no_grad():
            expected = network(torch.from_numpy(images)).numpy()
        np.testing.assert_allclose(logits, expected, atol=1e-4)
    assert list(program.path.parent.iterdir()) == [program.path]


class Branching(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


def test_what_cannot_be_exported_is_told_in_one_line(tmp_path, capfd):
    with pytest.raises(ConfigError, match="network 'odd' cannot be exported to ONNX") as caught:
        freeze(Branching(), "odd", VECTOR, ("y",), None, tmp_path)
    assert "\n" not in str(caught.value)
    assert "data-dependent" in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())


class Looping(nn.Module):
    def forward(self, x):
        return torch.stack([2 * row for row in x])


def test_a_graph_for_one_batch_size_alone_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="batches of 2 alone"):
        freeze(Looping(), "loop", VECTOR, ("y",), None, tmp_path)
    assert not list(tmp_path.iterdir())


class Noisy(nn.Module):
    def forward(self, x):
        return x + torch.rand_like(x)


def test_a_file_that_computes_something_else_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="differs from its network"):
        freeze(Noisy(), "noisy", VECTOR, ("y",), None, tmp_path)
    assert not list(tmp_path.iterdir())


def test_outputs_without_a_name_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="gives 1 outputs, expected"):
        freeze(nn.Identity(), "wide", VECTOR, ("a", "b"), None, tmp_path)
