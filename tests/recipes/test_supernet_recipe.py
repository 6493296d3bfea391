"""A recipe of a supernet: its faults, and its weights found again."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hybridge.design.supernet.shrink import supernet_of
from hybridge.errors import ConfigError, DataError
from hybridge.recipes.load import validate
from hybridge.recipes.supernet import check, load_supernet, run
from hybridge.recipes.supernet_schema import SupernetRecipe
from hybridge.recipes.supernet_summary import summarise

PHASES = [
    {"name": "full", "epochs": 1},
    {"name": "widths", "epochs": 1, "expansions": [2, 3, 4], "sort_channels": True},
]


def recipe(**changes: Any) -> SupernetRecipe:
    content = {
        "name": "tiny",
        "data": {
            "train": {"format": "arrays", "path": "train.npz"},
            "validation": {"format": "arrays", "path": "validation.npz"},
            "geometry": {"height": 12, "width": 12, "channels": 1},
        },
        "family": "elastic_small",
        "mean": [0.5],
        "std": [0.3],
        "shrink": {"batch_size": 20, "augment": "none", "phases": PHASES},
        "subnets": {"random": 1, "statistics_images": 20},
    }
    return validate(SupernetRecipe, content | changes, "recipe")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("supernet")
    rng = np.random.default_rng(0)
    for name, count in (("train", 40), ("validation", 20)):
        pixels = rng.integers(0, 256, (count, 12, 12, 1), np.uint8)
        np.savez(folder / f"{name}.npz", pixels=pixels, labels=np.arange(count) % 3)
    return folder


def test_weights_are_found_again_by_the_recipe_that_trained_them(root: Path) -> None:
    folder = root / "run"
    with pytest.raises(DataError, match="safetensors"):
        load_supernet(recipe(), folder)
    result = run(recipe(), root, folder)
    # What is judged is not what is trained.
    found = load_supernet(recipe(name="other", subnets={"random": 9}), folder)
    pixels = torch.zeros(2, 12, 12, 1, dtype=torch.uint8)
    assert torch.equal(found(pixels), result.network(pixels))
    assert supernet_of(found).class_count == 3
    with pytest.raises(ConfigError, match=r"another training.*'hybridge supernet train'"):
        load_supernet(recipe(seed=1), folder)
    again = summarise(run(recipe(), root, folder))
    assert again == summarise(result)
    assert [row["name"] for row in again["rows"]] == ["smallest", "random 1", "largest"]


def test_without_phases_a_recipe_has_the_usual_ones() -> None:
    bare = recipe(shrink={})
    assert [phase.name for phase in bare.phases()][:2] == ["full", "kernels"]
    assert bare.resolutions() == (12,)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"family": "elastic_smal"}, "family: unknown family 'elastic_smal'; did you mean"),
        ({"mean": [0.5, 0.5]}, "network: "),
        ({"subnets": {"alone": ["biggest"]}}, "subnets.alone: expected an architecture"),
        ({"subnets": {"alone": ["smallest", "smallest"]}}, "subnets.alone: expected each once"),
        (
            {"shrink": {"phases": [PHASES[0], PHASES[0]]}},
            "shrink.phases: expected names of their own",
        ),
        (
            {"shrink": {"phases": [PHASES[0], {"name": "one", "epochs": 1, "kernels": [7]}]}},
            "shrink.phases: one: kernels: expected some of 3, 5",
        ),
        (
            {"data": {key: {"format": "digits"} for key in ("train", "validation")}},
            "data.train and data.validation share rows",
        ),
    ],
)
def test_a_fault_names_its_key(changes: dict[str, Any], named: str, root: Path) -> None:
    if "data" in changes:
        changes["data"]["geometry"] = {"height": 28, "width": 28, "channels": 1}
    (found,) = recipe(**changes).faults(root)
    assert found.startswith(named)


def test_all_faults_are_named_at_once(tmp_path: Path) -> None:
    data = {
        "train": {"format": "arrays", "path": "no.npz"},
        "validation": {"format": "arrays", "path": "none.npz"},
        "geometry": {"height": 12, "width": 10, "channels": 1},
    }
    with pytest.raises(ConfigError) as refused:
        check(recipe(data=data, subnets={"alone": ["x"]}), tmp_path)
    for part in ("data.train: ", "data.validation: ", "data.geometry: ", "subnets.alone: "):
        assert part in str(refused.value)
