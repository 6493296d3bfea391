"""What `check` finds in a recipe, before anything is trained or written."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hybridge.design.nets import build
from hybridge.design.nets.weights import save_weights
from hybridge.errors import ConfigError, DataError
from hybridge.recipes import hybrid
from hybridge.recipes.load import validate
from hybridge.recipes.schema import HybridRecipe

TRAIN = {"epochs": 1}
ROWS = {"train": "0:2200", "router": "2200:2700", "held_out": "2700:"}


def recipe(**changes: Any) -> HybridRecipe:
    content = {
        "name": "digits",
        "data": {key: {"format": "digits", "rows": rows} for key, rows in ROWS.items()},
        "base": {"network": "tiny_cnn", "train": TRAIN},
        "global": {"network": "small_cnn", "train": TRAIN},
    }
    return validate(HybridRecipe, content | changes, "recipe")


def digits(**rows: str) -> dict[str, Any]:
    return {key: {"format": "digits", "rows": value} for key, value in (ROWS | rows).items()}


def test_a_sound_recipe_has_no_faults(tmp_path: Path) -> None:
    assert recipe().faults(tmp_path) == []


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        ({"train": "0:2701"}, ["train and data.held_out", "train and data.router"]),
        ({"router": "2000:2600"}, ["train and data.router"]),
        ({"held_out": ":"}, ["train and data.held_out", "router and data.held_out"]),
        ({"train": ":2200", "held_out": "4000:"}, []),
    ],
)
def test_sources_that_share_rows_are_named(
    rows: dict[str, str], named: list[str], tmp_path: Path
) -> None:
    found = recipe(data=digits(**rows)).faults(tmp_path)
    assert len(found) == len(named)
    for part, fault in zip(named, found, strict=True):
        assert f"data.{part} share rows" in fault


def arrays(path: Path, count: int, classes: int = 2, seed: int = 0) -> dict[str, str]:
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 28, 28, 1), dtype=np.uint8)
    np.savez(path, pixels=pixels, labels=np.arange(count) % classes, class_names=["a", "b"])
    return {"format": "arrays", "path": path.name}


def test_the_same_images_in_two_files_are_refused(tmp_path: Path) -> None:
    data = {
        "train": arrays(tmp_path / "one.npz", 40),
        "held_out": arrays(tmp_path / "two.npz", 40),
    }
    with pytest.raises(ConfigError, match=r"data.train and data.held_out hold the same images"):
        hybrid.run(recipe(data=data), tmp_path, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("count", "classes"), [(2, 2), (4, 2), (19, 2), (40, 1)])
def test_too_little_to_judge_by_is_refused(count: int, classes: int, tmp_path: Path) -> None:
    data = {
        "train": arrays(tmp_path / "train.npz", 40, seed=1),
        "held_out": arrays(tmp_path / "held_out.npz", count, classes),
    }
    with pytest.raises(DataError, match=rf"at least 2 classes, 20 of them.*got {count} images"):
        hybrid.run(recipe(data=data), tmp_path, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("base", "named"),
    [
        ({"options": {"chanels": 1}}, "base: .*no option 'chanels'; did you mean 'channels'"),
        ({"options": {"channels": "many"}}, "base: tiny_cnn cannot be built"),
        ({"options": {"channels": 3}}, "base: .*cannot read images of 28x28x1.*3 channels"),
        ({"mean": [0.1, 0.2, 0.3], "std": [1, 1, 1]}, "of 3 channels, the images are 28x28x1"),
        ({"mean": [0.1, 0.2]}, "as many positive std as mean"),
        ({"network": "nowhere.module:net", "mean": [0], "std": [1]}, "no module 'nowhere"),
        ({"network": "tiny_foreign:missing", "mean": [0], "std": [1]}, "has no 'missing'"),
        ({"network": "tiny_foreign:maps", "mean": [0], "std": [1]}, r"logits \(1, 10\).*got \(1"),
        ({"network": "tiny_foreign:raises", "mean": [0], "std": [1]}, "cannot be built.*no luck"),
        ({"network": "cifar_resnet8"}, "of 3 channels, the images are 28x28x1"),
    ],
)
def test_networks_that_cannot_work_are_named(
    base: dict[str, Any], named: str, tmp_path: Path, foreign: None
) -> None:
    data = digits() | {"geometry": {"height": 28, "width": 28, "channels": 1}}
    wrong = recipe(base={"network": "tiny_cnn", "train": TRAIN} | base, data=data)
    with pytest.raises(ConfigError, match=named):
        hybrid.run(wrong, tmp_path, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.fixture
def foreign(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of builders: one that reads its own values, one without logits, one that fails."""
    module = ModuleType("tiny_foreign")

    def reads(class_count: int) -> nn.Module:
        assert float(torch.ones(3).sum()) == 3.0
        return nn.Sequential(nn.Flatten(), nn.Linear(784, class_count))

    def raises(class_count: int) -> nn.Module:
        raise RuntimeError("no luck\nat all")

    vars(module).update(reads=reads, raises=raises, maps=lambda count: nn.Conv2d(1, count, 3))
    monkeypatch.setitem(sys.modules, "tiny_foreign", module)


def test_a_network_that_reads_its_values_while_built_is_built_with_them(
    tmp_path: Path, foreign: None
) -> None:
    base = {"network": "tiny_foreign:reads", "mean": [0], "std": [1], "train": TRAIN}
    data = digits() | {"geometry": {"height": 28, "width": 28, "channels": 1}}
    before = torch.get_rng_state()
    assert recipe(base=base, data=data).faults(tmp_path) == []
    assert recipe(base=base, data=data, router={"embedding": True}).faults(tmp_path) == [
        "base: 'router.embedding' needs a base that is a Classifier"
    ]
    assert torch.equal(torch.get_rng_state(), before)


def test_weights_are_checked_by_their_headers(tmp_path: Path) -> None:
    save_weights(build("tiny_cnn", 10), tmp_path / "ten.safetensors")
    save_weights(build("tiny_cnn", 7), tmp_path / "seven.safetensors")
    save_weights(build("small_cnn", 7), tmp_path / "small_seven.safetensors")
    (tmp_path / "text.safetensors").write_text("no weights")

    def faults(file: str, **changes: Any) -> list[str]:
        return recipe(base={"network": "tiny_cnn", "weights": file}, **changes).faults(tmp_path)

    assert faults("ten.safetensors") == []
    (fault,) = faults("seven.safetensors")
    assert "file is for 7 classes, the network was built for 10" in fault
    assert "not this network's" in faults("small_seven.safetensors")[0]
    assert "expected a safetensors file" in faults("text.safetensors")[0]
    # Data that do not name their classes until they are opened.
    np.savez(tmp_path / "held.npz", pixels=np.zeros((4, 28, 28, 1), np.uint8), labels=np.arange(4))
    unknown = {"held_out": {"format": "arrays", "path": "held.npz"}}
    pair = {"network": "small_cnn", "weights": "small_seven.safetensors"}
    assert faults("seven.safetensors", data=unknown, **{"global": pair}) == []
    (fault,) = faults("ten.safetensors", data=unknown, **{"global": pair})
    assert "global: " in fault
    assert "7 classes" in fault


@pytest.mark.parametrize(
    "change",
    [
        {"evaluate": {"coverages": []}},
        {"evaluate": {"coverages": [0.5, 1.0]}},
        {"evaluate": {"coverages": [0]}},
        {"base": {"network": "tiny_cnn", "train": TRAIN, "mean": []}},
        {"base": {"network": "tiny_cnn", "train": TRAIN, "std": ["nan"]}},
    ],
)
def test_values_out_of_range_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"evaluate\.coverages|base\.(mean|std)"):
        recipe(**change)


def test_training_on_needs_weights_and_images(tmp_path: Path) -> None:
    save_weights(build("tiny_cnn", 10), tmp_path / "base.safetensors", "run")
    alone = {"network": "tiny_cnn", "train": TRAIN, "finetune": TRAIN}
    assert ["'finetune'" in fault for fault in recipe(base=alone).faults(tmp_path)] == [True]
    held = {"held_out": {"format": "digits"}}
    weights = {"network": "tiny_cnn", "weights": "base.safetensors"}
    trained_on = recipe(data=held, base=weights | {"finetune": TRAIN}, **{"global": weights})
    assert trained_on.faults(tmp_path) == ["base: training it needs 'data.train'"]
    assert recipe(data=held, base=weights, **{"global": weights}).faults(tmp_path) == []
