"""What can be known of a joint search before it runs."""

import re

import numpy as np
import pytest
from pydantic import ValidationError

from hybridge.codecs.codec import codec_named
from hybridge.errors import ConfigError
from hybridge.recipes import pair_schema
from hybridge.recipes.pair_costs import mean_payload_bytes
from tiny_search import opened, source, write_images

GIVEN = {"network": "elastic_small", "options": {"channels": 1}, "mean": [0.5], "std": [0.3]}
LEAST = {"macs_m": 0.1}


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
        ({"hybrid__deploy": {"codec": "web"}}, "hybrid.deploy.codec: "),
        ({"search__limits": [{"latency_ms": 5}]}, "search.limits: a limit in latency_ms needs"),
        (
            {"search__limits": [{"energy_mj": 5}], "search__surroundings": {"device": "v100"}},
            "device whose power is known",
        ),
        ({"search__surroundings": {"link": "lt"}}, "search.surroundings: "),
        (
            {"search__limits": [{"macs_m": 9}, {"macs_m": 0.1}]},
            "no pair is within the limits, 0.1 macs_m: the smallest costs 0.7",
        ),
        (
            {"search__single_limits": [LEAST]},
            "search.single_limits: no network is within the limits, 0.1 macs_m: the smallest",
        ),
        (
            {"hybrid__held_out": source("router/../train")},
            "hybrid.held_out and supernet.data.train share rows",
        ),
        ({"search__resolutions": [20, 28]}, "search.resolutions: expected some of 24, 28"),
        ({"search__adapt_to": GIVEN | {"weights": "no.pth"}}, "search.adapt_to: there is no"),
        ({"search__adapt_to": GIVEN}, "search.adapt_to: give the 'weights'"),
        (
            {"search__adapt_to": GIVEN | {"weights": "no.pth", "finetune": {"epochs": 1}}},
            "leave 'finetune' out",
        ),
    ],
)
def test_what_would_stop_it_is_said_before_it_runs(root, changes, said):
    assert said in faults(root, **changes)


def test_a_network_by_itself_has_no_router_to_pay(root):
    told = re.search(r"the smallest costs (\S+)", faults(root, search__single_limits=[LEAST]))
    limits = [{"macs_m": float(told[1])}]
    alone = {"search__methods": ["single"], "hybrid": None}
    assert faults(root, search__single_limits=limits) == ""
    assert faults(root, search__limits=limits, **alone) == ""
    assert "search.limits: no pair is within" in faults(root, search__limits=limits)


def test_ray_that_is_missing_is_a_fault(root, monkeypatch):
    monkeypatch.setattr(pair_schema, "find_spec", lambda name: None)
    assert "pip install 'hybridge[ray]'" in faults(root, search__workers=2)
    assert faults(root, search__workers=0) == ""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"search__methods": ["pair", "pair"]}, "methods once, got pair twice"),
        ({"search__methods": []}, "a method at least, or 'front'"),
        ({"search__limits": [{"macs_m": 2}, {"macs_m": 2.0}]}, "and single_limits once"),
        ({"hybrid__modes": ["r", "r"]}, "each of modes once, got r twice"),
        (
            {"search__rungs": [{"calibration_images": 9}, {"calibration_images": 8}]},
            r"from few images to many, got \[9, 8\]",
        ),
        (
            {"search__rungs": [{}, {"validation_images": 8}]},
            r"from few images to many, got \[inf, 8\]",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(changes, said):
    with pytest.raises((ConfigError, ValidationError), match=said):
        opened(**changes)


def test_what_is_sent_is_priced_as_it_is_encoded(root):
    """An image in full, whatever resolution the global reads it at."""
    recipe = opened()
    images = recipe.supernet.data.validation.open(recipe.supernet.geometry(), root)
    assert mean_payload_bytes("raw", images) == 28 * 28
    each = [codec_named("webp").encode(images.pixels(np.array([i]))) for i in range(16)]
    assert mean_payload_bytes("webp", images) == np.mean([one.payload_bytes for one in each])
