"""Three ways to know an accuracy; what was computed is not computed again."""

import pytest
from tiny_library import pixels_of, some_images

from hybridge.design.modeltree.choices import KEEP
from hybridge.design.modeltree.compose import PrefixRunner, compose, run
from hybridge.design.modeltree.evaluators import (
    DistillEvaluator,
    DistillSettings,
    HeldOut,
    LibraryEvaluator,
    PredictEvaluator,
)
from hybridge.design.store import Store
from hybridge.design.train.settings import TrainSettings
from hybridge.errors import ConfigError

ONCE = ("C1-1", KEEP, "C3-0.5", KEEP, KEEP)


def forbid(monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(owner, name, refuse)


def test_the_library_s_accuracy_is_that_of_the_composed_network(chain, tmp_path, monkeypatch):
    geometry = chain.sliced.geometry
    statistics, held_out = pixels_of(geometry, 20, seed=3), HeldOut(some_images(geometry, 30))
    evaluator = LibraryEvaluator(chain, statistics, held_out, Store(tmp_path))
    found = evaluator.accuracy(ONCE)
    seen = held_out.pixels
    for unit in compose(chain, ONCE, statistics):
        seen = run(unit, seen)
    assert found.value == (seen.argmax(1) == held_out.labels).double().mean()
    assert found.seconds > 0
    forbid(monkeypatch, PrefixRunner, "logits")
    # What is charged is what it took when nothing was known.
    again = LibraryEvaluator(chain, statistics, held_out, Store(tmp_path))
    assert again.accuracy(ONCE) == found
    with pytest.raises(AssertionError, match="computed again"):
        again.accuracy((KEEP,) * 5)


def test_the_paper_s_way_trains_and_leaves_the_library_alone(chain, tmp_path, monkeypatch):
    geometry = chain.sliced.geometry
    train = TrainSettings(epochs=1, batch_size=16, learning_rate=0.01, augment="none")
    before = {name: value.clone() for name, value in chain.state_dict().items()}
    evaluator = DistillEvaluator(
        chain,
        some_images(geometry, 40, seed=5),
        HeldOut(some_images(geometry, 30)),
        Store(tmp_path),
        DistillSettings(images=32, train=train),
        seed=0,
    )
    found = evaluator.accuracy(ONCE)
    assert 0 <= found.value <= 1
    after = chain.state_dict()
    assert all((value == after[name]).all() for name, value in before.items())
    forbid(monkeypatch, DistillEvaluator, "_train")
    assert evaluator.accuracy(ONCE) == found


OPTIONS = [(KEEP, "C1"), (KEEP, "C1", "W1"), (KEEP, "F1")]


def test_what_adds_up_is_guessed():
    loss = {"C1": 0.05, "W1": 0.1, "F1": 0.02, KEEP: 0.0}

    def true(composition):
        return 0.9 - sum(loss[option] for option in composition)

    every = [(a, b, c) for a in OPTIONS[0] for b in OPTIONS[1] for c in OPTIONS[2]]
    known = {composition: true(composition) for composition in every[::2] + every[1:4]}
    guess = PredictEvaluator(OPTIONS, known, ridge=1e-6)
    for composition in every:
        assert guess.accuracy(composition).value == pytest.approx(true(composition), abs=1e-3)


def test_one_known_composition_is_too_few():
    with pytest.raises(ConfigError, match="two evaluated compositions or more"):
        PredictEvaluator(OPTIONS, {(KEEP,) * 3: 0.9})
