"""A recipe's searches, in a supernet that has not been trained."""

import numpy as np
import pytest

from hybridge.data.dataset import ArrayDataset
from hybridge.errors import InfeasibleError
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
