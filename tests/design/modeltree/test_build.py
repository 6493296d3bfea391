"""Libraries: what a unit may become, how variants start and learn, what is kept on disk."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_library import NAMES, OPTIONS, QUICK, pixels_of, some_images, tiny_library, tiny_sliced

from hybridge.design.modeltree import build
from hybridge.design.modeltree.build import build_library, calibration_pixels
from hybridge.design.modeltree.choices import KEEP
from hybridge.design.modeltree.space import all_options
from hybridge.design.modeltree.variants import (
    UnitOption,
    VariantSettings,
    make_variant,
    train_variant,
    unit_options,
)
from hybridge.design.store import Store
from hybridge.errors import ConfigError


def test_what_is_kept_on_disk_has_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in NAMES:
        fresh = tiny_library(name, Store(tmp_path))
        with monkeypatch.context() as patched:
            patched.setattr(build, "train_variant", None)  # it must not be called
            kept = tiny_library(name, Store(tmp_path))
        expected, found = fresh.state_dict(), kept.state_dict()
        assert list(found) == list(expected)
        assert all(torch.equal(found[key], value) for key, value in expected.items())
        assert kept.fingerprint == fresh.fingerprint


def test_units_that_begin_alike_are_not_taken_for_one_another(tmp_path: Path) -> None:
    images = some_images(tiny_sliced("small_cnn").geometry, 30)
    for cuts in ({}, {"unit_count": 2, "block_count": 2}):
        sliced = tiny_sliced("small_cnn", **cuts)
        options = all_options(sliced, ("C1-1",))
        library, built = build_library(sliced, options, images, QUICK, Store(tmp_path), seed=0)
        paths = {
            path for (index, _), variant in library.variants() if not index for path in variant
        }
        assert {place.path for place in sliced.layers[0]} <= paths
        assert [(each.unit, each.option) for each in built] == [
            key for key, _ in library.variants()
        ]


def test_a_few_steps_make_a_variant_better() -> None:
    sliced = tiny_sliced("small_cnn")
    seen = pixels_of(sliced.geometry, 40)
    option = next(each for each in unit_options(sliced, 0) if each.name == "W1-0.5")
    errors = []
    for epochs in (0, 4):
        settings = VariantSettings(images=40, epochs=epochs, batch_size=10)
        variant = make_variant(sliced, 0, option, seen)
        errors.append(train_variant(sliced, 0, option, variant, seen, settings, seed=0))
    assert 0 < errors[1] < errors[0]


def test_a_residual_block_is_pruned_inside_and_a_chain_across() -> None:
    options = {}
    for name in NAMES:
        (options[name],) = unit_options(tiny_sliced(name), 1, ("W1-0.5",))
    assert options["small_cnn"] == UnitOption("W1-0.5", ("network.features.3",), True)
    assert options["cifar_resnet8"] == UnitOption("W1-0.5", ("network.layer1.0.conv1",), False)
    assert options["small_cnn"].window(1) == (1, 2)


def test_an_option_that_does_not_fit_names_those_that_do() -> None:
    sliced = tiny_sliced("small_cnn")
    wrong = UnitOption("F1-0.5", ("network.features.3",), False)
    with pytest.raises(ConfigError, match=r"'network.features.3' cannot become 'F1-0.5'.*C1-1"):
        make_variant(sliced, 1, wrong, torch.zeros(4, 16, 12, 12))


def test_a_variant_keeps_the_shape_of_its_unit(chain) -> None:
    sliced = chain.sliced
    for (index, option), _ in chain.variants():
        example = sliced.example(index)
        original = sliced.modules[index](example)
        assert chain.unit(index, option, True)(example).shape == original.shape


def test_tuned_copies_start_as_the_network_s_own(library) -> None:
    for index in range(len(library.sliced.units)):
        tuned, own = library.unit(index, KEEP, True), library.unit(index, KEEP, False)
        assert tuned is not own
        example = library.sliced.example(index)
        assert torch.equal(tuned.eval()(example), own(example))


def test_options_are_those_that_were_asked_for(library) -> None:
    assert {option for each in library.options.values() for option in each} <= {KEEP, *OPTIONS}
    assert all(each[0] == KEEP for each in library.options.values())


def test_calibration_images_are_some_of_the_dataset() -> None:
    images = some_images(tiny_sliced("small_cnn").geometry, 30)
    found = calibration_pixels(images, 12, seed=0)
    assert found.shape == (12, 12, 12, 1)
    assert torch.equal(found, calibration_pixels(images, 12, seed=0))
    assert not torch.equal(found, calibration_pixels(images, 12, seed=1))
    every = images.pixels(np.arange(30))
    assert all(any(np.array_equal(each, row) for row in every) for each in found.numpy())
