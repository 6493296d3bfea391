"""What can be known of a joint search before it runs."""

import pytest

from tiny_search import opened, source, write_images


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_images(folder)
    return folder


def faults(root, **changes):
    return "; ".join(opened(**changes).faults(root))


def test_a_recipe_that_can_be_run_has_no_faults(root):
    assert faults(root) == ""
    assert faults(root, hybrid__modes=["r", "rb"], hybrid__twins={"epochs": 1}) == ""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hybrid__modes": ["rb"]}, "give 'twins'"),
        ({"hybrid__modes": ["rb"], "hybrid__router_images": None}, "give 'router_images'"),
        (
            {"hybrid__router_images": source("validation")},
            "hybrid.router_images and supernet.data.validation share rows",
        ),
        (
            {"hybrid__router_images": source("held_out")},
            "hybrid.router_images and hybrid.held_out share rows",
        ),
        ({"hybrid__router_images": source("none")}, "hybrid.router_images: there is no"),
    ],
)
def test_what_would_stop_it_is_said_before_it_runs(root, changes, said):
    assert said in faults(root, **changes)
