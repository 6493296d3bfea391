"""Progressive shrinking: subnets that work, whether or not the training was interrupted."""

import numpy as np
import pytest
import torch
from tiny_supernet import FAMILY, new_network, stripes

from hybridge.codecs.pixels import to_pixels
from hybridge.data.dataset import ArrayDataset
from hybridge.design.nets.network import PixelNetwork
from hybridge.design.supernet.judge import Subnet, judge
from hybridge.design.supernet.phases import Phase, ShrinkSettings
from hybridge.design.supernet.shrink import AnySubnet, resize, shrink, subnet_of, supernet_of
from hybridge.design.train.loop import EpochRecord, Trainer
from hybridge.errors import ConfigError
from hybridge.plan.tensors import Geometry

SPACE = FAMILY.space
SETTINGS = ShrinkSettings(batch_size=16, augment="none")
FULL = Phase(name="full", epochs=8, learning_rate=0.1, warmup_epochs=1)
FREE = {
    "resolutions": FAMILY.resolutions,
    "kernels": SPACE.kernels,
    "depths": SPACE.depths,
    "subnets": 2,
}
DEPTHS = Phase(name="depths", epochs=2, **FREE)
WIDTHS = Phase(name="widths", epochs=4, expansions=SPACE.expansions, sort_channels=True, **FREE)


def trained(*phases: Phase, data: ArrayDataset | None = None, **options: object) -> PixelNetwork:
    network = new_network()
    shrink(network, data or stripes(), SETTINGS, phases, seed=3, **options)
    return network


def losses(*phases: Phase, settings: ShrinkSettings = SETTINGS) -> list[float]:
    history = shrink(new_network(), stripes(), settings, phases, seed=3)
    return [record.loss for records in history.values() for record in records]


def accuracy(network: PixelNetwork, subnet: Subnet) -> float:
    side = Geometry(height=subnet.resolution, width=subnet.resolution, channels=1)
    images = stripes(seed=1).pixels(np.arange(64))
    held_out = ArrayDataset(np.stack([to_pixels(each, side) for each in images]), np.arange(64) % 2)
    statistics = resize(torch.from_numpy(stripes().pixels(np.arange(64))), subnet.resolution)
    return judge(network, subnet, statistics, held_out).accuracy


def test_subnets_of_every_size_learn() -> None:
    network = trained(FULL, DEPTHS, WIDTHS)
    for subnet in (Subnet(SPACE.smallest, 8), Subnet(SPACE.largest, 12)):
        assert accuracy(network, subnet) > 0.95
    assert supernet_of(network).active == SPACE.largest


@pytest.mark.parametrize("epochs_before", [3, 8])
def test_going_on_ends_where_an_uninterrupted_training_does(
    epochs_before: int, tmp_path, monkeypatch
) -> None:
    phases = [
        FULL.model_copy(update={"epochs": 4}),
        DEPTHS,
        WIDTHS.model_copy(update={"subnets": 1}),
    ]
    straight = trained(*phases)
    epoch, done = Trainer.epoch, []

    def stopping(self, sample_weights=None):
        if len(done) == epochs_before:
            raise KeyboardInterrupt
        done.append(epoch(self, sample_weights))
        return done[-1]

    monkeypatch.setattr(Trainer, "epoch", stopping)
    with pytest.raises(KeyboardInterrupt):
        trained(*phases, checkpoints=tmp_path)
    monkeypatch.setattr(Trainer, "epoch", epoch)
    resumed = trained(*phases, checkpoints=tmp_path)
    found = resumed.state_dict()
    assert all(torch.equal(found[key], value) for key, value in straight.state_dict().items())
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "0-full.safetensors",
        "1-depths.safetensors",
        "2-widths.safetensors",
    ]


@pytest.mark.parametrize(
    "change", [{"kernels": (5,)}, {"resolutions": ()}, {"subnets": 1}, {"distillation": 0.5}]
)
def test_checkpoints_of_other_phases_are_refused(change, tmp_path) -> None:
    full, depths = (phase.model_copy(update={"epochs": 1}) for phase in (FULL, DEPTHS))
    trained(full, depths, data=stripes(16), checkpoints=tmp_path)
    changed = depths.model_copy(update=change)
    with pytest.raises(ConfigError, match=r"1-depths.* another training"):
        trained(full, changed, data=stripes(16), checkpoints=tmp_path)


def test_gradients_of_a_steps_subnets_are_added_up() -> None:
    whole = SETTINGS.model_copy(update={"batch_size": 64})
    (one,) = losses(FULL.model_copy(update={"epochs": 1}), settings=whole)
    (two,) = losses(FULL.model_copy(update={"epochs": 1, "subnets": 2}), settings=whole)
    assert two == pytest.approx(2 * one, rel=1e-5)


def test_the_full_networks_answers_count_from_the_second_phase_on() -> None:
    full, depths = (phase.model_copy(update={"epochs": 1}) for phase in (FULL, DEPTHS))
    alone, without = losses(full, depths.model_copy(update={"distillation": 0.0}))
    same, taught = losses(full.model_copy(update={"distillation": 0.0}), depths)
    assert alone == same
    assert taught > without


def test_what_is_drawn_is_the_generators_alone() -> None:
    module = AnySubnet(new_network(), SPACE, FAMILY.resolutions, 3).eval()
    pixels = torch.from_numpy(stripes(5).pixels(np.arange(5)))
    answers = []
    for seed in (0, 0, 1):
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(seed)
            answers.append(module(pixels))
    assert answers[0].shape == (5, 3, 2)
    assert torch.equal(answers[0], answers[1])
    assert not torch.equal(answers[0], answers[2])


def test_a_subnet_reads_pixels_as_its_supernet_does() -> None:
    network = new_network().eval()
    pixels = torch.from_numpy(stripes(5).pixels(np.arange(5)))
    architecture = SPACE.random(np.random.default_rng(0))
    supernet_of(network).activate(architecture)
    assert torch.equal(subnet_of(network, architecture)(pixels), network(pixels))


@pytest.mark.parametrize("side", [7, 20, 32])
def test_images_are_scaled_as_they_are_when_deployed(side: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    expected = [to_pixels(each, Geometry(height=side, width=side)) for each in pixels]
    found = resize(torch.from_numpy(pixels), side).numpy()
    assert np.abs(found.astype(int) - np.stack(expected)).max() <= 1


def test_every_epoch_is_recorded() -> None:
    history = shrink(new_network(), stripes(16), SETTINGS, [DEPTHS], seed=0)
    assert [record.epoch for record in history["depths"]] == [1, 2]
    assert isinstance(history["depths"][0], EpochRecord)
