"""What is wrong with a recipe of a tree is said before anything is trained, all at once."""

from pathlib import Path
from typing import Any

import pytest

from hybridge.errors import ConfigError
from hybridge.recipes.load import validate
from hybridge.recipes.tree_library import check
from hybridge.recipes.tree_schema import TreeRecipe

ROWS = {"train": "0:3000", "calibration": "3000:4000", "reporting": "4000:"}


def digits(**rows: str) -> dict[str, Any]:
    return {key: {"format": "digits", "rows": value} for key, value in (ROWS | rows).items()}


def recipe(**changes: Any) -> TreeRecipe:
    content = {
        "name": "tree",
        "data": digits(),
        "network": {"network": "small_cnn", "train": {"epochs": 1}},
        "contexts": [{"scenes": ["4g-indoor-slow"]}],
    }
    return validate(TreeRecipe, content | changes, "recipe")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "traces").mkdir()
    return tmp_path


def test_a_sound_recipe_has_no_faults(root: Path) -> None:
    assert recipe().faults(root) == []


def test_files_of_traces_need_no_folder_of_scenes(tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "one.txt").touch()
    assert recipe(contexts=[{"scenes": ["links/one.txt"]}]).faults(tmp_path) == []


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"cloud": "gtx1080"}, "cloud: "),
        ({"image_codec": "gif"}, "image_codec: "),
        ({"library": {"options": ["C9-1"]}}, "library.options: "),
        ({"search": {"searcher": "exct"}}, "search.searcher: "),
        ({"search": {"compare": ["exct"]}}, "search.compare: "),
        ({"search": {"searcher": "random", "settings": {"x": 1}}}, "search.settings: "),
        ({"links": {"4g": "lte", "wifi": "wlan"}}, "links.wifi: "),
        ({"links": {"4g": "lte"}}, "links: name a link for scenes of 'wifi'"),
        ({"contexts": [{"device": "phone", "scenes": ["4g-indoor-slow"]}]}, "contexts.device: "),
        ({"contexts": [{"scenes": ["4g-indor-slow"]}]}, "contexts.scenes: "),
        ({"contexts": [{"scenes": ["traces/no.txt"]}]}, "contexts.scenes: there is no "),
        ({"data": digits(train="0:3001")}, "data.train and data.calibration share rows"),
        ({"data": digits(calibration="3000:4001")}, "data.calibration and data.reporting share"),
        ({"network": {"network": "small_cnn"}}, "network: give 'weights', or 'train'"),
        ({"network": {"network": "small_cnn", "weights": "no"}}, "network.weights: there is no "),
        ({"traces": "elsewhere"}, "traces: there is no "),
    ],
)
def test_a_fault_names_its_key(changes: dict[str, Any], named: str, root: Path) -> None:
    (found,) = recipe(**changes).faults(root)
    assert found.startswith(named)


def test_all_faults_are_named_at_once(root: Path) -> None:
    faulty = recipe(
        cloud="gtx1080", traces="elsewhere", data=digits(reporting=":"), search={"searcher": "no"}
    )
    with pytest.raises(ConfigError) as refused:
        check(faulty, root)
    for part in ("cloud: ", "search.searcher: ", "data.train and data.reporting", "traces: "):
        assert part in str(refused.value)
