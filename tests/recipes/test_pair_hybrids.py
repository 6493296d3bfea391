from types import SimpleNamespace

import pytest

from hybridge.design.supernet.limits import Limits
from hybridge.design.supernet.pairs import Pair
from hybridge.design.supernet.sides import Given
from hybridge.recipes.pair_hybrids import folder_name, spending_coverage
from tiny_search import opened


def found(base="b", global_="g", rate=0.4, kept=1.0, sent=4.0, **limits):
    given = Limits(**(limits or {"macs_m": 2.0}))
    names = given.given
    return SimpleNamespace(
        limits=given,
        method="smallest + largest",
        number=1,
        pair=Pair(Given(base), Given(global_)),
        agreement=SimpleNamespace(query_rate=rate),
        kept=dict.fromkeys(names, kept),
        sent={name: sent for name in names if not name.startswith("base_")},
    )


def test_another_pair_has_another_folder():
    """So that a longer search does not go on from checkpoints of other networks."""
    names = {folder_name(found(), "rb", 0), folder_name(found(base="c"), "rb", 0)}
    names |= {folder_name(found(global_="h"), "rb", 0), folder_name(found(), "r", 0)}
    assert len(names) == 4
    assert folder_name(found(), "rb", 0) == folder_name(found(), "rb", 0)
    assert all(name.startswith("macs_m-2/smallest-and-largest-1-") for name in names)


@pytest.mark.parametrize(
    ("each", "coverage"),
    [
        (found(), 0.75),  # 1 + rate * 4 = 2
        (found(kept=1.99999), 0.99),  # something is to be routed
        (found(sent=0.1), 0.01),
        (found(base_flash_bytes=10), 0.6),  # nothing to spend: as often as the oracle
        (found(macs_m=2, latency_ms=3), 0.75),  # the tighter of two
    ],
)
def test_a_pair_keeps_as_much_as_its_limit_has_it(each, coverage):
    assert spending_coverage(each) == pytest.approx(coverage)


def test_routers_are_fitted_on_the_same_images_in_every_mode():
    recipe = opened(hybrid__twins={"epochs": 1})
    network = recipe.supernet.network()
    made = {
        mode: recipe.hybrid_recipe("x", network, network, mode, 0) for mode in ("r", "rb", "rbg")
    }
    assert {str(each.data.router) for each in made.values()} == {str(recipe.hybrid.router_images)}
    assert made["r"].data.train is None
    assert made["rb"].data.train == recipe.supernet.data.train
