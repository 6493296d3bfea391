import numpy as np
import pytest
import torch
from torch import nn

from hybridge.data.dataset import ArrayDataset, subset
from hybridge.design.nets import PixelNetwork, build
from hybridge.design.nets.parts import Block, MBConv
from hybridge.design.store import Store
from hybridge.design.train import outputs as module
from hybridge.design.train.outputs import compute_outputs, hash_network, keep_outputs
from hybridge.errors import DataError

PIXELS = np.random.default_rng(0).integers(0, 256, (11, 28, 28, 1), dtype=np.uint8)
DATA = ArrayDataset(PIXELS, np.arange(11) % 10)


@pytest.fixture
def network():
    return PixelNetwork(build("tiny_cnn", 10), (0.5,), (0.3,))


def test_batches_give_what_the_whole_gives(network):
    with torch.no_grad():
        features, logits = network.eval().embed_and_classify(torch.from_numpy(PIXELS))
    found = compute_outputs(network, DATA, batch_size=4)
    np.testing.assert_allclose(found.logits, logits.numpy(), atol=1e-5)
    np.testing.assert_allclose(found.features, features.numpy(), atol=1e-5)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_outputs_that_are_not_finite_are_refused(network, value, tmp_path):
    with torch.no_grad():
        network.network.linear.bias[3] = value
    store = Store(tmp_path)
    with pytest.raises(DataError, match="PlainCNN gives outputs that are not finite"):
        keep_outputs(network, DATA, store=store)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_outputs_are_computed_once_for_each_network_and_data(network, tmp_path, monkeypatch):
    calls = []
    compute = module.compute_outputs
    monkeypatch.setattr(
        module, "compute_outputs", lambda *a, **k: calls.append(1) or compute(*a, **k)
    )
    store = Store(tmp_path)
    first = keep_outputs(network, DATA, store=store)
    again = keep_outputs(network, DATA, store=Store(tmp_path))
    assert len(calls) == 1
    assert np.array_equal(first.logits, again.logits)
    assert np.array_equal(first.features, again.features)
    keep_outputs(network, subset(DATA, np.arange(5)), store=store)
    with torch.no_grad():
        network.network.linear.bias += 1
    assert np.allclose(keep_outputs(network, DATA, store=store).logits, first.logits + 1)
    assert len(calls) == 3


def test_networks_without_features_keep_logits_only(tmp_path):
    network = PixelNetwork(nn.Flatten(), (0.5,), (0.3,))
    for _ in range(2):
        assert keep_outputs(network, DATA, store=Store(tmp_path)).features is None


def test_one_set_of_weights_in_two_networks_has_two_hashes():
    one, other = build("cifar_resnet8", 10), build("cifar_resnet8", 10, stem_stride=2)
    other.load_state_dict(one.state_dict())
    hashes = {hash_network(PixelNetwork(net, (0.5,) * 3, (0.3,) * 3)) for net in (one, other)}
    assert len(hashes) == 2


def test_accuracy_counts_what_is_right():
    found = module.Outputs(np.eye(4, dtype=np.float32), None)
    assert found.accuracy(np.array([0, 1, 2, 0])) == 0.75


def test_what_has_no_weights_tells_networks_apart_too():
    """The resolution that images are scaled to, and what a block adds to what it computes."""
    first = build("elastic_small", 3, scaled_to=24)
    other = build("elastic_small", 3, scaled_to=28)
    other.load_state_dict(first.state_dict())
    assert hash_network(first) != hash_network(other)
    adds, plain = MBConv(Block(8, 24, 8, 3)), MBConv(Block(8, 24, 8, 3, skips=False))
    plain.load_state_dict(adds.state_dict())
    assert hash_network(adds) != hash_network(plain)
