import pytest
import torch
from safetensors.torch import save_file

from hybridge.design.nets import build
from hybridge.design.nets.weights import load_weights, save_weights
from hybridge.errors import DataError


@pytest.fixture
def saved(tmp_path):
    network = build("tiny_cnn", 10)
    save_weights(network, tmp_path / "net.safetensors")
    return network, tmp_path / "net.safetensors"


def same(one, other) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_saved_weights_come_back(saved):
    network, path = saved
    other = build("tiny_cnn", 10)
    assert not same(network, other)
    load_weights(other, path)
    assert same(network, other)


def test_half_precision_is_widened(saved, tmp_path):
    network, _ = saved
    save_file({k: v.half() for k, v in network.state_dict().items()}, tmp_path / "half.safetensors")
    other = build("tiny_cnn", 10)
    load_weights(other, tmp_path / "half.safetensors")
    assert other.linear.weight.dtype == torch.float32
    assert torch.allclose(other.linear.weight, network.linear.weight, atol=1e-3)


def test_prefixes_are_replaced_and_counters_may_lack(saved, tmp_path):
    network, _ = saved
    tensors = {
        f"module.{key.replace('linear', 'fc')}": value
        for key, value in network.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    save_file(tensors, tmp_path / "renamed.safetensors")
    other = build("tiny_cnn", 10)
    load_weights(
        other, tmp_path / "renamed.safetensors", prefixes={"module.": "", "module.fc": "linear"}
    )
    assert same(network, other)


def test_another_number_of_classes_is_said_plainly(saved):
    with pytest.raises(DataError, match="file is for 10 classes, the network was built for 3"):
        load_weights(build("tiny_cnn", 3), saved[1])


def test_keys_that_do_not_fit_are_listed(saved):
    before = build("small_cnn", 10)
    weight = before.linear.weight.clone()
    with pytest.raises(DataError) as caught:
        load_weights(before, saved[1])
    message = str(caught.value)
    assert "missing: features.9.weight" in message
    assert "misshapen: features.0.weight (expected (16, 1, 3, 3), got (" in message
    assert "more" in message
    assert "classes" not in message
    assert torch.equal(before.linear.weight, weight)
    save_weights(before, saved[1])
    with pytest.raises(DataError, match=r"unexpected: features\.\d+"):
        load_weights(build("tiny_cnn", 10), saved[1])


def test_a_file_that_is_missing_or_none(tmp_path):
    with pytest.raises(DataError, match="expected a safetensors file"):
        load_weights(build("tiny_cnn", 10), tmp_path / "none.safetensors")
    (tmp_path / "text.safetensors").write_text("no weights")
    with pytest.raises(DataError, match="expected a safetensors file"):
        load_weights(build("tiny_cnn", 10), tmp_path / "text.safetensors")


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_weights_that_are_not_finite_are_refused(saved, value):
    network, path = saved
    with torch.no_grad():
        network.linear.weight[0, 0] = value
    save_weights(network, path)
    other = build("tiny_cnn", 10)
    before = other.linear.weight.clone()
    with pytest.raises(DataError, match=r"net\.safetensors: expected finite weights.*linear"):
        load_weights(other, path)
    assert torch.equal(other.linear.weight, before)
