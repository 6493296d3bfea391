"""A recipe of a supernet: its faults, and its weights found again."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hybridge.design.nets.network import PixelNetwork
from hybridge.design.nets.ofa_names import ofa_prefixes
from hybridge.design.supernet.shrink import supernet_of
from hybridge.errors import ConfigError, DataError
from hybridge.recipes.load import load_recipe, validate
from hybridge.recipes.pair_schema import PairRecipe
from hybridge.recipes.supernet import (
    WEIGHTS,
    check,
    find_supernet,
    load_supernet,
    new_supernet,
    read_supernet,
    run,
    run_hash,
)
from hybridge.recipes.supernet_schema import SupernetRecipe
from hybridge.recipes.supernet_summary import summarise

SHIPPED = Path("recipes/small_supernet.safetensors")
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


def write_public(network: PixelNetwork, path: Path) -> None:
    """Write a supernet's weights under the keys of Once-for-All's code."""
    theirs = {ours: there for there, ours in ofa_prefixes(supernet_of(network)).items()}
    weights = {
        next(there + key[len(ours) :] for ours, there in theirs.items() if key.startswith(ours)): v
        for key, v in network.network.state_dict().items()
    }
    torch.save({"state_dict": weights}, path)


def test_a_public_supernet_is_read_and_not_trained(root: Path, tmp_path: Path) -> None:
    bare = {"shrink": {}, "subnets": {"random": 0, "statistics_images": 20}}
    public = new_supernet(recipe(**bare), 3).eval()
    torch.nn.init.normal_(supernet_of(public).classifier.weight)
    write_public(public, root / "public.pth")
    read = recipe(**bare, weights="public.pth", names="ofa")
    assert read.faults(root) == []
    found = find_supernet(read, root, tmp_path)
    pixels = torch.randint(0, 256, (2, 12, 12, 1), dtype=torch.uint8)
    assert torch.equal(found(pixels), public(pixels))
    done = summarise(run(read, root, tmp_path))
    assert (done["epochs"], done["phases"]) == (0, [])
    assert [row["name"] for row in done["rows"]] == ["smallest", "largest"]
    assert torch.equal(load_supernet(read, tmp_path)(pixels), public(pixels))
    write_public(new_supernet(recipe(**bare), 5), root / "five.pth")
    with pytest.raises(DataError, match="tells 5 classes apart, the images have 3"):
        read_supernet(recipe(**bare, weights="five.pth", names="ofa"), root)


def test_weights_that_are_not_there_or_would_be_trained_on_are_a_fault(root: Path) -> None:
    faults = recipe(weights="no.pth", subnets={"alone": ["smallest"]}).faults(root)
    assert [fault.partition(":")[0] for fault in faults] == ["weights", "shrink", "subnets.alone"]
    assert recipe(names="ofa").faults(root) == ["names: they are those of 'weights': give them"]


def test_a_recipe_without_weights_has_the_hash_that_it_always_had() -> None:
    """So that supernets that have been trained stay of use."""
    shipped = load_recipe(SupernetRecipe, Path("recipes/small_supernet.yaml"))
    assert run_hash(shipped).startswith("6a115fb2fc84c227")
    assert run_hash(recipe(weights="a.pth")) != run_hash(recipe(weights="b.pth"))


@pytest.mark.parametrize("name", ["cifar10_pairs", "cifar10_microcontroller"])
def test_the_supernet_that_is_shipped_is_taken_by_recipes_that_search_it(
    name: str, tmp_path: Path
) -> None:
    searching = load_recipe(PairRecipe, Path(f"recipes/{name}.yaml")).supernet
    assert searching.name == load_recipe(SupernetRecipe, SHIPPED.with_suffix(".yaml")).name
    shutil.copy(SHIPPED, tmp_path / WEIGHTS)
    network = load_supernet(searching, tmp_path)
    logits = network(torch.zeros(1, 32, 32, 3, dtype=torch.uint8))
    assert logits.shape == (1, 10)
    assert bool(torch.isfinite(logits).all())
