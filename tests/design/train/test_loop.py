import numpy as np
import pytest
import torch
from torch import nn

from hybridge.data.dataset import ArrayDataset
from hybridge.design.nets import PixelNetwork, build
from hybridge.design.train.loop import (
    Trainer,
    TrainSettings,
    fit,
    weighted_mean,
)
from hybridge.errors import ConfigError, DataError, SignatureError

QUICK = TrainSettings(epochs=3, batch_size=16, learning_rate=0.05, augment="none")


def stripes(count: int = 96, seed: int = 0) -> ArrayDataset:
    """Horizontal or vertical stripes under noise: learnt within a few steps."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    wave = np.where(np.arange(12) % 4 < 2, 60, 190)
    images = np.where(labels[:, None, None] == 0, wave[None, :, None], wave[None, None, :])
    noisy = images + rng.integers(-40, 40, (count, 12, 12))
    return ArrayDataset(noisy.astype(np.uint8)[..., None], labels)


def network(seed: int = 0) -> PixelNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return PixelNetwork(build("tiny_cnn", 2), (0.5,), (0.3,))


def accuracy(net: PixelNetwork, data: ArrayDataset) -> float:
    net.eval()
    with torch.no_grad():
        answers = net(torch.from_numpy(data.pixels(np.arange(len(data))))).argmax(1)
    return float((answers.numpy() == data.labels).mean())


def same(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_network_learns(precision):
    net = network()
    settings = QUICK.model_copy(update={"epochs": 6, "precision": precision})
    history = fit(net, stripes(), settings, seed=0)
    assert [record.epoch for record in history] == [1, 2, 3, 4, 5, 6]
    assert history[-1].loss < history[0].loss / 2
    assert accuracy(net, stripes(seed=1)) > 0.95


def test_smoothed_labels_keep_a_network_from_being_sure():
    surest = {}
    for smoothing in (0.0, 0.4):
        net = network()
        settings = QUICK.model_copy(update={"epochs": 6, "label_smoothing": smoothing})
        fit(net, stripes(), settings, seed=0)
        with torch.no_grad():
            logits = net(torch.from_numpy(stripes(seed=1).pixels(np.arange(96))))
        surest[smoothing] = float(logits.softmax(1).max(1).values.mean())
    assert surest[0.0] > 0.95
    assert surest[0.4] == pytest.approx(0.8, abs=0.1)  # 1 - 0.4 + 0.4 / 2 classes


def test_same_seed_same_network_and_torchs_generator_is_left_alone():
    nets = [network(), network(), network()]
    settings = QUICK.model_copy(update={"augment": "crop_flip", "epochs": 1})
    before = torch.get_rng_state()
    for net, seed in zip(nets, (0, 0, 1), strict=True):
        fit(net, stripes(), settings, seed=seed)
    assert torch.equal(torch.get_rng_state(), before)
    assert same(nets[0], nets[1])
    assert not same(nets[0], nets[2])


def test_resuming_ends_where_an_uninterrupted_run_does(tmp_path, monkeypatch):
    straight, broken, resumed = network(), network(), network()
    settings = QUICK.model_copy(update={"augment": "crop_flip"})
    path = tmp_path / "run.ckpt"
    expected = fit(straight, stripes(), settings, seed=3)

    original = Trainer.epoch

    def stop(self, sample_weights=None):
        if self.epochs_done == 2:
            raise KeyboardInterrupt
        return original(self, sample_weights)

    monkeypatch.setattr(Trainer, "epoch", stop)
    with pytest.raises(KeyboardInterrupt):
        fit(broken, stripes(), settings, seed=3, checkpoint=path)
    monkeypatch.setattr(Trainer, "epoch", original)
    history = fit(resumed, stripes(), settings, seed=3, checkpoint=path)
    assert history == expected
    assert same(straight, resumed)


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    path = tmp_path / "run.ckpt"
    one = QUICK.model_copy(update={"epochs": 1})
    fit(network(), stripes(), one, seed=0, checkpoint=path)
    with pytest.raises(ConfigError, match="another training"):
        fit(network(), stripes(), one, seed=1, checkpoint=path)
    with pytest.raises(ConfigError, match="another training"):
        fit(network(), stripes(), one, seed=0, sample_weights=np.ones(96), checkpoint=path)
    path.write_bytes(b"junk")
    with pytest.raises(DataError, match="delete it"):
        fit(network(), stripes(), one, seed=0, checkpoint=path)


def other_options() -> PixelNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return PixelNetwork(build("small_cnn", 2), (0.5,), (0.3,))


def other_mean() -> PixelNetwork:
    return PixelNetwork(network().network, (0.4,), (0.3,))


@pytest.mark.parametrize("other", [other_options, other_mean, lambda: network(seed=5)])
def test_a_checkpoint_of_another_network_is_refused(tmp_path, other):
    path = tmp_path / "run.ckpt"
    one = QUICK.model_copy(update={"epochs": 1})
    fit(network(), stripes(), one, seed=0, checkpoint=path)
    with pytest.raises(ConfigError, match="another network"):
        fit(other(), stripes(), one, seed=0, checkpoint=path)


def test_a_checkpoint_of_another_loss_is_refused(tmp_path):
    path = tmp_path / "run.ckpt"
    one = QUICK.model_copy(update={"epochs": 1})
    fit(network(), stripes(), one, seed=0, checkpoint=path)
    with pytest.raises(ConfigError, match="loss"):
        fit(network(), stripes(), one, seed=0, checkpoint=path, loss=lambda z, b: z.sum(1))


def test_a_training_that_diverges_says_so_and_leaves_no_checkpoint(tmp_path):
    path = tmp_path / "run.ckpt"
    wild = QUICK.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(ConfigError, match=r"diverged in epoch 1.*lower the learning rate"):
        fit(network(), stripes(), wild, seed=0, checkpoint=path)
    assert not path.exists()


def test_a_trainers_state_goes_back_as_well_as_forth():
    trainer = Trainer(network(), stripes(), QUICK, seed=0)
    trainer.epoch()
    state = trainer.state()
    loss = trainer.epoch()
    trainer.load(state)
    assert trainer.epochs_done == 1
    assert trainer.epoch() == loss


def test_weights_multiply_their_own_samples():
    losses, weights = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([1.0, 0.0, 3.0])
    assert weighted_mean(losses, weights).item() == pytest.approx(13 / 3)
    assert weighted_mean(losses, None).item() == pytest.approx(7 / 3)


@pytest.mark.parametrize("shape", [(3, 1), (1, 3), (1,), (2,), ()])
def test_weights_of_another_shape_are_refused(shape):
    with pytest.raises(SignatureError, match="one weight for each loss"):
        weighted_mean(torch.ones(3), torch.ones(shape))


@pytest.mark.parametrize("shape", [(96, 1), (95,), ()])
def test_sample_weights_of_another_shape_are_refused(shape):
    with pytest.raises(SignatureError, match=r"one weight for each image, \(96,\)"):
        Trainer(network(), stripes(), QUICK, seed=0).epoch(np.ones(shape))


def test_samples_of_weight_zero_are_not_learnt():
    data = stripes()
    # Half of the images carry the wrong label, and no weight.
    wrong = np.arange(96) < 48
    mixed = ArrayDataset(data.pixels(np.arange(96)), np.where(wrong, 1 - data.labels, data.labels))
    net = network()
    settings = QUICK.model_copy(update={"epochs": 8})
    fit(net, mixed, settings, seed=0, sample_weights=np.where(wrong, 0.0, 2.0))
    assert accuracy(net, stripes(seed=1)) > 0.95


def test_another_loss_sees_logits_and_batch():
    shapes = set()

    def loss(logits, batch):
        shapes.add((tuple(logits.shape), tuple(batch.indices.shape)))
        return logits.square().mean(dim=1)

    net = network()
    fit(net, stripes(), QUICK.model_copy(update={"epochs": 1}), seed=0, loss=loss)
    assert shapes == {((16, 2), (16,))}


def test_the_rate_warms_up_and_falls_to_zero():
    settings = TrainSettings(epochs=10, learning_rate=0.4, warmup_epochs=2)
    rates = [settings.rate(epoch) for epoch in np.linspace(0, 10, 41)]
    assert rates[0] == 0
    assert max(rates) == pytest.approx(0.4) == settings.rate(2)
    assert rates[8:] == sorted(rates[8:], reverse=True)
    assert rates[-1] == pytest.approx(0)
    assert settings.rate(6) == pytest.approx(0.2)
    constant = settings.model_copy(update={"schedule": "constant"})
    assert constant.rate(9.5) == 0.4


def test_losses_are_logged(tmp_path):
    pytest.importorskip("tensorboard")
    fit(network(), stripes(32), QUICK, seed=0, log_dir=tmp_path / "logs")
    assert [path for path in (tmp_path / "logs").iterdir() if path.stat().st_size > 100]
