from types import SimpleNamespace

import numpy as np
import pytest

from hybridge.data.splits import halves
from hybridge.design.nets.network import build
from hybridge.design.nets.weights import save_weights
from hybridge.design.query.evaluate import split_seed
from hybridge.design.supernet.limits import Limits
from hybridge.design.supernet.pairs import Pair
from hybridge.design.supernet.sides import Given
from hybridge.design.train.outputs import Outputs
from hybridge.recipes import pair_hybrids, pair_singles
from hybridge.recipes.pair import run
from hybridge.recipes.pair_hybrids import Job, folder_name, make_hybrids, spending_coverage
from hybridge.recipes.pair_summary import hybrids_summary
from tiny_search import opened, write_images, write_supernet


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
    jobs = [
        Job(Pair(Given(base), Given(global_)), mode, seed)
        for base, global_, mode, seed in (
            ("b", "g", "rb", 0),
            ("c", "g", "rb", 0),
            ("b", "h", "rb", 0),
            ("b", "g", "r", 0),
            ("b", "g", "rb", 1),
        )
    ]
    assert len({folder_name(job) for job in jobs}) == 5
    assert folder_name(jobs[0]) == folder_name(Job(Pair(Given("b"), Given("g")), "rb", 0))


@pytest.mark.parametrize(
    ("each", "coverage"),
    [
        (found(), 0.75),  # 1 + rate * 4 = 2
        (found(kept=2 - 1e-9), 1 - 1e-6),  # something is to be routed
        (found(sent=0.1), 1e-6),
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


def not_exported(run, folder, deploy):
    points = run.evaluation.results["router", False].points
    return deploy, points[max(points)][0]


@pytest.fixture
def ends_made(tmp_path, monkeypatch):
    """Makes hybrids of the smallest and the largest network, under two limits."""
    monkeypatch.setenv("HYBRIDGE_CACHE", str(tmp_path / "cache"))
    # An export takes longer than all else here; tests/cli/test_cli_search.py makes one.
    monkeypatch.setattr(pair_hybrids.hybrids, "deploy", not_exported)
    write_images(tmp_path)

    def make(**changes):
        ends = {
            "methods": ["pair", "smallest + largest"],
            "limits": [{"macs_m": 3.5}, {"macs_m": 4}],
        }
        recipe = opened(**{f"search__{key}": value for key, value in ends.items()} | changes)
        folder = tmp_path / f"run-{recipe.search.workers}" / recipe.name
        write_supernet(recipe, folder)
        return make_hybrids(run(recipe, tmp_path, folder), tmp_path, folder)

    return make


def test_a_pair_that_stands_under_two_limits_is_made_once(ends_made, monkeypatch):
    folders = []

    def counted(recipe, root, folder, **options):
        folders.append(folder.name)
        return hybrids_run(recipe, root, folder, **options)

    hybrids_run = pair_hybrids.hybrids.run
    monkeypatch.setattr(pair_hybrids.hybrids, "run", counted)
    made = ends_made()
    one, other = (each for each in made.hybrids if each.found.method == "smallest + largest")
    assert one.judged is other.judged
    assert one.coverage > other.coverage
    assert len(one.points("router", False)) == len(other.points("router", False)) == 1
    bundled = folder_name(made.hybrids[0].job)
    assert len(folders) == len({each.job for each in made.hybrids}) + 1
    assert folders[-1] == bundled
    folders.clear()
    assert hybrids_summary(ends_made()) == hybrids_summary(made)
    assert folders == [bundled]  # nothing else is made again


def test_a_bundle_is_for_what_was_searched_for(ends_made):
    around = {"device": "jetson-tx2", "cloud": "v100", "link": "wifi-near"}
    limited = {"search__methods": ["pair"], "search__surroundings": around}
    made = ends_made(search__limits=[{"latency_ms": 500}], **limited)
    assert made.bundle.surroundings.device == "jetson-tx2"
    assert made.bundle.target.coverage == made.hybrids[0].coverage
    own = {"target": {"coverage": 0.25}, "surroundings": {"device": "xiaomi-mi6x"}}
    said = ends_made(search__limits=[{"latency_ms": 500}], hybrid__deploy=own, **limited)
    assert said.bundle.surroundings.device == "xiaomi-mi6x"
    assert said.bundle.target.coverage == 0.25


TRAINED_ON = {
    "hybrid__modes": ["r", "rb"],
    "hybrid__seeds": 2,
    "hybrid__twins": {"epochs": 1, "batch_size": 8},
    "hybrid__alternate": {"cycles": 1, "base": {"epochs": 1, "batch_size": 8}},
}


def test_single_networks_are_trained_on_where_bases_are(ends_made):
    made = ends_made(
        search__methods=["pair", "single"],
        search__limits=[{"macs_m": 3.5}],
        search__single_limits=[{"macs_m": 2}],
        **TRAINED_ON,
    )
    rows = [
        (row["limits"]["macs_m"], row["trained_on"]) for row in hybrids_summary(made)["singles"]
    ]
    assert rows == [(3.5, False), (3.5, True), (2, False)]
    assert [each.job.seed for each in made.singles] == [0, 1, 0, 1, 0, 1]


def test_single_networks_are_judged_on_the_images_that_hybrids_report_on(ends_made, monkeypatch):
    def right_where_seed_0_reports(network, held_out, store):
        own = halves(len(held_out), split_seed(0, 0))[1]
        logits = np.zeros((len(held_out), held_out.class_count), np.float32)
        logits[np.arange(len(held_out)), held_out.labels] = -1
        logits[own, held_out.labels[own]] = 1
        return Outputs(logits, None)

    monkeypatch.setattr(pair_singles, "keep_outputs", right_where_seed_0_reports)
    first, second = ends_made(
        search__methods=["pair", "single"], search__limits=[{"macs_m": 3.5}], hybrid__seeds=2
    ).singles
    assert (first.job.seed, first.accuracy, second.job.seed) == (0, 1.0, 1)
    assert 0 < second.accuracy < 1


def test_single_networks_are_trained_with_the_weight_of_what_a_base_keeps(ends_made, monkeypatch):
    weights = []

    def noted(*arguments, sample_weights, **options):
        weights.append(sample_weights)
        return train_network(*arguments, sample_weights=sample_weights, **options)

    train_network = pair_singles.train_network
    monkeypatch.setattr(pair_singles, "train_network", noted)
    limits = {"search__methods": ["pair", "single"], "search__limits": [{"macs_m": 3.5}]}
    ends_made(**limits, **TRAINED_ON)
    assert len(weights) == 2
    assert all((each == 2).all() for each in weights)


@pytest.mark.slow
def test_two_workers_of_ray_make_the_hybrids_that_one_process_makes(ends_made):
    pytest.importorskip("ray")
    here, elsewhere = (
        hybrids_summary(ends_made(search__workers=workers, **TRAINED_ON)) for workers in (0, 2)
    )
    assert here == elsewhere


def test_a_global_that_is_given_is_made_a_hybrid_of(ends_made, tmp_path):
    given = {"network": "elastic_small", "options": {"channels": 1}, "mean": [0.5], "std": [0.3]}
    save_weights(build("elastic_small", 3, channels=1), tmp_path / "given.safetensors")
    made = ends_made(
        search__adapt_to=given | {"weights": "given.safetensors"},
        search__methods=["pair"],
        search__limits=[{"macs_m": 6}],
    )
    (hybrid,) = made.hybrids
    assert str(hybrid.job.pair.global_) == "elastic_small"
    assert 0 <= hybrid.judged.global_accuracy <= 1
