"""A recipe's searches, in a supernet that has not been trained."""

import numpy as np
import pytest
import torch

from hybridge.data.dataset import ArrayDataset
from hybridge.design.nets.network import build
from hybridge.design.nets.weights import save_weights
from hybridge.design.supernet.costs import FamilyCosts
from hybridge.errors import ConfigError, DataError, InfeasibleError
from hybridge.links.link import link_named
from hybridge.recipes import pair
from hybridge.recipes.pair import run, shuffled
from hybridge.recipes.pair_networks import calibration_images
from hybridge.recipes.pair_summary import summarise
from tiny_search import opened, write_images, write_supernet

#: Just above what the smallest base and the router take: hardly any pair agrees often enough.
HARDLY = 0.705


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_images(folder)
    return folder


@pytest.fixture
def searched(root, tmp_path, monkeypatch):
    """Searches by a recipe with changes."""
    monkeypatch.setenv("HYBRIDGE_CACHE", str(root / "cache"))

    def search(**changes):
        recipe = opened(**changes)
        folder = tmp_path / "runs" / recipe.name
        write_supernet(recipe, folder)
        return run(recipe, root, folder)

    return search


def test_random_pairs_are_others_under_each_limit(searched):
    done = searched(
        search__methods=["random"],
        search__limits=[{"macs_m": 3.5}, {"macs_m": 4}],
        search__random_pairs=2,
        hybrid=None,
    )
    assert len({found.pair for found in done.found}) == len(done.found) == 4
    assert all(found.pair.base != found.pair.global_ for found in done.found)
    assert [found.number for found in done.found] == [1, 2, 1, 2]


def test_networks_are_searched_at_the_resolutions_that_are_asked_for(searched):
    done = searched(search__resolutions=[28], search__limits=[{"macs_m": 4}], hybrid=None)
    networks = [net for found in done.found for net in (found.pair.base, found.pair.global_) if net]
    assert len(networks) == 7
    assert {network.resolution for network in networks} == {28}


def test_single_networks_make_a_curve(searched):
    done = searched(
        search__methods=["single"],
        search__limits=[{"macs_m": 3.5}],
        search__single_limits=[{"macs_m": 1.5}, {"macs_m": 5}],
        hybrid=None,
    )
    assert [found.limits.macs_m for found in done.found] == [3.5, 1.5, 5]
    assert all(found.method == "single" and found.within for found in done.found)


def test_too_few_images_show_before_anything_is_searched(root, tmp_path):
    np.savez(root / "few.npz", pixels=np.zeros((3, 28, 28, 1), np.uint8), labels=np.arange(3))
    recipe = opened(hybrid__held_out={"format": "arrays", "path": "few.npz"})
    with pytest.raises(DataError, match="expected held-out images"):
        run(recipe, root, tmp_path / "runs" / recipe.name)
    assert not (tmp_path / "runs").exists()


def test_other_classes_show_before_anything_is_searched(root, tmp_path):
    for name, count in (("two", 40), ("router_two", 12)):
        pixels = np.zeros((count, 28, 28, 1), np.uint8)
        np.savez(root / f"{name}.npz", pixels=pixels, labels=np.arange(count) % 2)
    sources = {
        key: {"format": "arrays", "path": f"{name}.npz"}
        for key, name in (("hybrid__held_out", "two"), ("hybrid__router_images", "router_two"))
    }
    recipe = opened(**sources)
    with pytest.raises(ConfigError, match=r"held_out has 2 classes, supernet.data.train has 3"):
        run(recipe, root, tmp_path / "runs" / recipe.name)
    assert not (tmp_path / "runs").exists()


def test_a_single_network_is_searched_below_what_the_smallest_pair_takes(searched):
    smallest = searched(search__limits=[{"macs_m": 9}], search__methods=["single"], hybrid=None)
    side = smallest.recipe.supernet.elastic()
    least = FamilyCosts(side, 3, 1).footprint(side.space.smallest, 24).macs / 1e6
    done = searched(search__limits=[{"macs_m": least}], search__methods=["single"], hybrid=None)
    assert [found.within for found in done.found] == [True]


def test_networks_count_once_however_they_were_evaluated(searched):
    done = searched(search__methods=["pair", "single"])
    summary = summarise(done)
    assert (
        0
        < summary["architectures_evaluated"]
        < sum(row["evaluations"] for row in summary["searches"])
    )
    first, single = summary["searches"]
    assert (first["method"], single["method"]) == ("pair", "single")
    assert summary["pairs_scored"] == first["candidates_scored"]
    assert summary["seconds"] > 0


def test_a_pair_may_be_judged_by_confidence(searched):
    done = searched(search__methods=["pair by confidence", "pair"])
    confident, agreed = done.found
    assert confident.point == confident.confidence
    assert agreed.point == agreed.agreement
    assert confident.within
    assert agreed.within
    assert confident.agreement.query_rate >= 0
    assert [row["method"] for row in summarise(done)["pairs"]] == ["pair by confidence", "pair"]
    assert done.recipe.search.chosen == "pair by confidence"


def test_a_pair_that_is_not_found_is_an_error(searched):
    with pytest.raises(InfeasibleError, match="agree too seldom"):
        searched(search__limits=[{"macs_m": HARDLY}], hybrid=None)


def test_what_stands_beside_a_pair_may_be_missing(searched, monkeypatch):
    monkeypatch.setattr(pair, "_TRIES", 4)
    done = searched(
        search__limits=[{"macs_m": HARDLY}],
        search__methods=["single", "random"],
        search__front={"generations": 0, "population": 2},
        hybrid=None,
    )
    assert [found.method for found in done.found] == ["single"]
    assert [method for _, method, _ in done.left_out] == ["random", "front"]
    assert done.fronts == []


def test_the_first_images_are_like_all():
    """Whatever order they are stored in: here class by class."""
    stored = ArrayDataset(np.zeros((300, 2, 2, 1), np.uint8), np.repeat(np.arange(3), 100))
    first = shuffled(stored, 0).labels[:60]
    assert np.bincount(first).min() > 8
    assert sorted(shuffled(stored, 0).labels) == sorted(stored.labels)


def test_the_first_images_that_calibrate_are_drawn_at_random(root):
    recipe = opened().supernet
    few, many = (calibration_images(recipe, root, count) for count in (4, 16))
    np.testing.assert_array_equal(few.labels, many.labels[:4])
    stored = recipe.data.train.open(recipe.geometry(), root)
    assert many.labels.tolist() != stored.labels.tolist()


def test_time_is_that_of_sending_what_a_bundle_sends(searched):
    around = {"device": "xiaomi-mi6x", "cloud": "v100", "link": "lora-1mbps"}
    options = {
        "search__limits": [{"latency_ms": 500}],
        "search__surroundings": around,
        "search__methods": ["smallest + largest"],
    }
    noise = searched(**options, hybrid=None).found[0]
    link = link_named("lora-1mbps")
    assert noise.within
    assert noise.sent["latency_ms"] > link.transfer_ms(28 * 28)  # WebP of noise, in three colours
    options["search__methods"] = ["pair"]
    raw = searched(**options, hybrid__deploy={"codec": "raw"}).found[0]
    assert raw.sent["latency_ms"] == pytest.approx(link.transfer_ms(28 * 28), rel=0.05)


def test_a_base_for_a_given_global(searched, root):
    torch.manual_seed(0)
    given = {"network": "elastic_small", "options": {"channels": 1}, "mean": [0.5], "std": [0.3]}
    network = build("elastic_small", 3, channels=1)
    save_weights(network, root / "given.safetensors")
    done = searched(
        search__adapt_to=given | {"weights": "given.safetensors"},
        search__limits=[{"macs_m": 6}],
        search__methods=["pair", "smallest + largest"],
        hybrid=None,
    )
    assert {str(found.pair.global_) for found in done.found} == {"elastic_small"}
    pair = done.found[0]
    assert pair.within
    assert pair.macs_m == pytest.approx(
        pair.kept["macs_m"] + pair.point.query_rate * pair.sent["macs_m"]
    )
