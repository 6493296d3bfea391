"""Algorithm 3 on networks that take milliseconds."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from hybridge.data.dataset import ArrayDataset
from hybridge.data.splits import folds
from hybridge.design.nets.network import PixelNetwork
from hybridge.design.query import alternate as module
from hybridge.design.query.alternate import alternate
from hybridge.design.query.alternation import AlternateSettings, Alternation, Twin
from hybridge.design.query.router import RouterSettings
from hybridge.design.train.loop import Trainer, TrainSettings
from hybridge.design.train.outputs import hash_network
from hybridge.errors import ConfigError
from tiny_pairs import CLASSES, SIDE, tiny_images, tiny_network

TRAIN, ROUTER_SET = tiny_images(96, seed=1), tiny_images(64, seed=2)
TRAINING = TrainSettings(epochs=1, batch_size=32, learning_rate=0.01, augment="flip")
SETTINGS = AlternateSettings(
    **{"cycles": 3, "base": TRAINING, "global": TRAINING, "router_epochs": 2}
)
ROUTER = RouterSettings(hidden=(8, 4), batch_size=32)


class Pair:
    """Fresh networks, the same for every test."""

    def __init__(self) -> None:
        self.base, self.global_ = tiny_network(1), tiny_network(2, width=8)
        parts = folds(len(TRAIN), 2, seed=0)
        self.twins = [Twin(tiny_network(3 + i), part, len(TRAIN)) for i, part in enumerate(parts)]

    def run(self, mode="rb", checkpoint=None, log_dir=None, **changes):
        settings = SETTINGS.model_copy(update=changes)
        task = Alternation(
            self.base,
            self.global_,
            self.twins,
            TRAIN,
            ROUTER_SET,
            settings,
            ROUTER,
            mode=mode,
            seed=7,
        )
        return alternate(task, checkpoint=checkpoint, log_dir=log_dir)

    @property
    def hashes(self) -> list[str]:
        networks = [self.base, self.global_, *(twin.network for twin in self.twins)]
        return [hash_network(network) for network in networks]


class Forwards:
    """Counts how often a network is run in evaluation mode."""

    def __init__(self, network: PixelNetwork) -> None:
        self.count = 0
        network.network.linear.register_forward_hook(self._hook)

    def _hook(self, module, args, output) -> None:
        self.count += not module.training


@pytest.fixture
def epochs(monkeypatch):
    """Weights of every epoch that any trainer is asked for."""
    asked = []
    train = Trainer.epoch

    def epoch(self, sample_weights=None):
        asked.append(sample_weights)
        return train(self, sample_weights)

    monkeypatch.setattr(Trainer, "epoch", epoch)
    return asked


def test_mode_r_trains_nothing_and_is_refused():
    with pytest.raises(ConfigError, match="'rb' or 'rbg'"):
        Pair().run("r")


def test_folds_that_are_not_the_training_images_are_refused():
    pair = Pair()
    pair.twins = pair.twins[:1]
    with pytest.raises(ConfigError, match="each of the 96 training images once"):
        pair.run()


def test_mode_rb_trains_the_base_and_asks_the_global_once():
    pair = Pair()
    before = pair.hashes
    forwards = Forwards(pair.global_)
    records = pair.run("rb")
    changed = [old != new for old, new in zip(before, pair.hashes, strict=True)]
    assert changed == [True, False, True, True]
    assert forwards.count == 1
    assert [record.cycle for record in records] == [1, 2, 3]
    assert all(record.global_loss is None for record in records)
    assert len({record.global_accuracy for record in records}) == 1


def test_mode_rbg_trains_the_global_until_it_is_frozen():
    pair = Pair()
    before = pair.hashes
    forwards = Forwards(pair.global_)
    records = pair.run("rbg", freeze_global_after=1)
    assert before[1] != pair.hashes[1]
    assert [record.global_loss is None for record in records] == [False, True, True]
    # Once as it came, once as it was frozen.
    assert forwards.count == 2
    assert not pair.base.training
    assert not pair.global_.training


def test_weights_follow_the_decisions(epochs):
    records = Pair().run("rbg", cycles=1)
    global_, base, *twins = epochs
    # W_b = 2 - r and W_g = 1 + r.
    assert set(base) <= {1.0, 2.0}
    np.testing.assert_array_equal(base + global_, 3)
    assert np.mean(base == 1) == pytest.approx(records[0].sent_share)
    assert [weights.shape for weights in (base, *twins)] == [(96,), (48,), (48,)]


def test_without_focus_no_sample_is_weighted(epochs):
    Pair().run("rbg", cycles=2, focus=False)
    assert epochs == [None] * 8


def test_an_interrupted_run_ends_as_one_that_was_not(tmp_path, monkeypatch):
    whole = Pair()
    records = whole.run("rbg")
    file = tmp_path / "alternate.safetensors"
    train, calls = Trainer.epoch, []

    def epoch(self, sample_weights=None):
        calls.append(1)
        if len(calls) == 6:  # amid the second cycle, after its global
            raise KeyboardInterrupt
        return train(self, sample_weights)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "epoch", epoch)
        with pytest.raises(KeyboardInterrupt):
            Pair().run("rbg", file)
    resumed = Pair()
    assert resumed.run("rbg", file) == records
    assert resumed.hashes == whole.hashes


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    file = tmp_path / "alternate.safetensors"
    Pair().run("rb", file, cycles=1)
    with pytest.raises(ConfigError, match="another run"):
        Pair().run("rbg", file, cycles=1)


@pytest.mark.parametrize("which", ["base", "global_", "twins"])
def test_a_checkpoint_of_other_networks_is_refused(tmp_path, which):
    file = tmp_path / "alternate.safetensors"
    Pair().run("rb", file, cycles=1)
    other = Pair()
    changed = other.twins[1].network if which == "twins" else getattr(other, which)
    changed.mean += 0.1
    with pytest.raises(ConfigError, match="other networks"):
        other.run("rb", file, cycles=1)


def test_cycles_are_logged_as_they_end(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    monkeypatch.setattr(module._State, "save", stop_after(2))
    with pytest.raises(KeyboardInterrupt):
        Pair().run("rb", tmp_path / "checkpoint", log_dir=tmp_path / "logs")
    (log,) = (tmp_path / "logs").iterdir()
    assert log.read_bytes().count(b"alternate/sent_share") == 2


def stop_after(count):
    calls = []

    def save(self, checkpoint):
        calls.append(1)
        if len(calls) == count:
            raise KeyboardInterrupt

    return save


def test_of_several_processes_one_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "is_main", lambda: False)
    Pair().run("rb", tmp_path / "checkpoint", log_dir=tmp_path / "logs", cycles=1)
    assert not list(tmp_path.iterdir())


def memory(*known: ArrayDataset) -> PixelNetwork:
    """A linear network that knows the label of some images by heart."""
    pixels = np.concatenate([data.pixels(np.arange(len(data))) for data in known])
    images = torch.from_numpy(pixels).double().permute(0, 3, 1, 2).flatten(1) / 255 - 0.5
    labels = torch.from_numpy(np.concatenate([data.labels for data in known]))
    wanted = 8 * nn.functional.one_hot(labels, CLASSES).double()
    layer = nn.Linear(SIDE * SIDE * 3, CLASSES, bias=False)
    layer.weight.data = (torch.linalg.pinv(images) @ wanted).T.float()
    return PixelNetwork(nn.Sequential(nn.Flatten(), layer), (0.5,) * 3, (1.0,) * 3).eval()


def unlearnable(count: int, seed: int) -> ArrayDataset:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)
    return ArrayDataset(pixels, np.arange(count) % CLASSES, list("abcd"))


def part_of(data: ArrayDataset, rows: np.ndarray) -> ArrayDataset:
    return ArrayDataset(data.pixels(rows), data.labels[rows], data.class_names)


def test_decisions_are_out_of_fold():
    """On what the base knows by heart it sends nothing; its twins know better."""
    train, router_set = unlearnable(160, seed=1), unlearnable(160, seed=2)
    parts, easy = folds(len(train), 2, seed=0), part_of(router_set, np.arange(80))
    base, global_ = memory(train, easy), memory(train, router_set)

    def sent_share(twins):
        settings = SETTINGS.model_copy(update={"cycles": 1, "router_epochs": 10})
        task = Alternation(
            copy.deepcopy(base),
            global_,
            twins,
            train,
            router_set,
            settings,
            RouterSettings(hidden=(8, 4), batch_size=32),
            mode="rb",
            seed=0,
        )
        (record,) = alternate(task)
        assert record.global_accuracy == 1
        assert 0.3 < record.oracle_share < 0.5
        return record.sent_share

    others = part_of(train, parts[1]), part_of(train, parts[0])
    twins = [
        Twin(memory(*seen), part, 160)
        for *seen, part in zip(others, (easy, easy), parts, strict=True)
    ]
    assert sent_share(twins) > 0.5
    assert sent_share([Twin(copy.deepcopy(base), part, 160) for part in parts]) < 0.05
