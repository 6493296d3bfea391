"""Variants trained together: the original stays, the rest learns, and a cut-off run goes on."""

from pathlib import Path

import pytest
import torch
from tiny_library import NAMES, pixels_of, some_images, tiny_library, tiny_network
from torch import nn

from hybridge.design.modeltree import joint
from hybridge.design.modeltree.choices import KEEP, Composition
from hybridge.design.modeltree.compose import compose, run
from hybridge.design.modeltree.joint import train_together
from hybridge.design.modeltree.library import Library
from hybridge.design.store import Store
from hybridge.design.train.loop import Trainer
from hybridge.design.train.settings import TrainSettings
from hybridge.errors import ConfigError

SETTINGS = TrainSettings(epochs=2, batch_size=16, learning_rate=0.02, augment="none")


@pytest.fixture(scope="module", params=NAMES)
def trained(request, tmp_path_factory) -> tuple[Library, dict[str, torch.Tensor]]:
    store = Store(tmp_path_factory.mktemp("variants"))
    library = tiny_library(request.param, store)
    before = {name: value.clone() for name, value in library.state_dict().items()}
    images = some_images(library.sliced.geometry, 48, seed=5)
    train_together(library, images, SETTINGS, seed=0)
    return library, before


def test_what_keeps_everything_stays_the_original_bit_for_bit(trained) -> None:
    library, _ = trained
    anew = tiny_network("small_cnn" if library.sliced.geometry.channels == 1 else "cifar_resnet8")
    pixels = pixels_of(library.sliced.geometry, 9)
    kept = (KEEP,) * len(library.sliced.units)
    found = run(nn.Sequential(*compose(library, kept, pixels)), pixels)
    assert torch.equal(found, run(anew, pixels))


def test_variants_and_tuned_copies_learn(trained) -> None:
    library, before = trained
    after = library.state_dict()
    moved = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert any(name.startswith("_variants") for name in moved)
    assert any(name.startswith("_tuned") for name in moved)
    first = {f"_tuned.{path.replace('.', '/')}" for path in library.sliced.modules_of(0)}
    # Nothing stands before the first unit, so its tuned copy is never in use.
    assert not any(name.rpartition(".")[0] in first and "weight" in name for name in moved)


def test_an_interrupted_training_ends_as_one_that_was_not(tmp_path, monkeypatch) -> None:
    def build() -> Library:
        return tiny_library("small_cnn", Store(tmp_path / "variants"))

    def train(library: Library, checkpoint: Path | None) -> None:
        images = some_images(library.sliced.geometry, 48, seed=5)
        train_together(library, images, SETTINGS, seed=0, checkpoint=checkpoint)

    whole = build()
    train(whole, None)
    epoch, calls = Trainer.epoch, []

    def failing(self: Trainer, *arguments: object) -> float:
        if calls:
            raise KeyboardInterrupt
        calls.append(1)
        return epoch(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "epoch", failing)
        with pytest.raises(KeyboardInterrupt):
            train(build(), tmp_path / "library.safetensors")
    resumed = build()
    train(resumed, tmp_path / "library.safetensors")
    expected, found = whole.state_dict(), resumed.state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_a_checkpoint_of_other_compositions_is_refused(tmp_path) -> None:
    library = tiny_library("small_cnn", Store(tmp_path / "variants"))
    images = some_images(library.sliced.geometry, 48, seed=5)
    original = (KEEP,) * len(library.sliced.units)
    compositions = [
        (*original[:index], options[-1], *original[index + 1 :])
        for index, options in enumerate(library.options.values())
        if options[-1] != KEEP
    ]
    checkpoint = tmp_path / "chosen.safetensors"

    def train(composition: Composition) -> None:
        train_together(
            library.copy(),
            images,
            SETTINGS,
            seed=0,
            compositions=[composition],
            checkpoint=checkpoint,
        )

    train(compositions[0])
    with pytest.raises(ConfigError, match="another training"):
        train(compositions[-1])


def test_agreeing_with_the_teacher_costs_nothing(chain) -> None:
    teacher = chain.sliced.network
    pixels = pixels_of(chain.sliced.geometry, 5)
    loss = joint.logits_of(teacher)
    batch = type("Batch", (), {"pixels": pixels})()
    logits = run(teacher, pixels)
    torch.testing.assert_close(loss(logits, batch), torch.zeros(5), atol=1e-6, rtol=0)
    assert (loss(logits.flip(1), batch) > 0).all()
