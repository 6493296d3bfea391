"""Routers fitted on kept outputs."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hybridge.design.query.fit import (
    RouterData,
    best_confidence,
    concatenate,
    cross_fit,
    fit_router,
    score_all,
)
from hybridge.design.query.router import RouterSettings
from tiny_pairs import planted_data

QUICK = RouterSettings(hidden=(32, 16), epochs=40, batch_size=128, learning_rate=0.05, folds=3)
SCRATCH = QUICK.model_copy(update={"start": "scratch"})


@pytest.fixture(scope="module")
def planted() -> RouterData:
    return planted_data(1500, seed=0)


@pytest.fixture(scope="module")
def noise() -> RouterData:
    """Outputs in which nothing tells where the base is wrong; input 0 is to be sent."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(300, 4, generator=generator)
    sent = torch.randn(300, 4, generator=generator).log_softmax(dim=1)
    labels = torch.randint(0, 4, (300,), generator=generator)
    logits[0], sent[0], labels[0] = torch.arange(4), -torch.arange(4.0), 0
    return RouterData(logits, sent, labels)


@pytest.fixture(scope="module")
def calibrated() -> RouterData:
    """Outputs of a base whose confidence tells all there is to know; the cloud is right."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(600, 4, generator=generator)
    labels = torch.multinomial(logits.softmax(dim=1), 1, generator=generator).squeeze(1)
    sent = torch.nn.functional.one_hot(labels, 4).float().log_softmax(dim=1)
    return RouterData(logits, sent, labels)


def accuracy_at(coverage: float, score: torch.Tensor, data: RouterData) -> float:
    kept = score.argsort()[: round(coverage * len(data))]
    right = data.sent_right.clone()
    right[kept] = data.base_right[kept]
    return float(right.float().mean())


def area_under_roc(score: torch.Tensor, oracle: torch.Tensor) -> float:
    above = score[oracle][:, None] > score[~oracle][None, :]
    return float(above.double().mean())


@pytest.mark.parametrize("settings", [QUICK, SCRATCH], ids=["confidence", "scratch"])
def test_a_router_learns_what_confidence_cannot_tell(planted, settings):
    new = planted_data(1500, seed=1)
    router = fit_router(planted, settings, seed=0)
    coverage = 1 - float(new.oracle.float().mean())
    learnt = accuracy_at(coverage, score_all(router, new), new)
    with torch.no_grad():
        confident = accuracy_at(coverage, best_confidence(new)(new.base_logits), new)
    assert learnt > 0.95
    assert learnt > confident + 0.1


@pytest.mark.parametrize(("loss", "area"), [("hybrid", 0.95), ("relaxed", 0.75)])
def test_either_loss_can_be_descended(planted, loss, area):
    settings = SCRATCH.model_copy(update={"loss": loss})
    score = score_all(fit_router(planted, settings, seed=0), planted)
    assert area_under_roc(score, planted.oracle) > area


def test_the_same_seed_gives_the_same_router(noise):
    settings = SCRATCH.model_copy(update={"epochs": 2})
    one, same, other = (fit_router(noise, settings, seed) for seed in (3, 3, 4))
    assert score_all(one, noise).equal(score_all(same, noise))
    assert not score_all(one, noise).equal(score_all(other, noise))


def test_fitting_leaves_torchs_generator_alone(noise):
    before = torch.get_rng_state()
    fit_router(noise, QUICK.model_copy(update={"epochs": 1}), seed=0)
    assert torch.get_rng_state().equal(before)


def test_held_out_scores_are_not_in_sample(noise):
    fitted = cross_fit(noise, SCRATCH.model_copy(update={"epochs": 100}), seed=0)
    in_sample = area_under_roc(score_all(fitted.router, noise), noise.oracle)
    assert in_sample > 0.7
    assert area_under_roc(fitted.held_out_scores, noise.oracle) < in_sample - 0.1


def test_no_input_has_a_say_in_its_own_held_out_rank(noise):
    settings = SCRATCH.model_copy(update={"epochs": 6})
    labels = noise.labels.clone()
    labels[0] = 3  # the base is right after all
    changed = replace(noise, labels=labels)
    before, after = (cross_fit(d, settings, seed=0).held_out_scores for d in (noise, changed))
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(noise)))
    own, other = sorted(order.chunk(settings.folds), key=lambda fold: 0 not in fold)[:2]
    assert before[own].argsort().equal(after[own].argsort())
    assert not before[other].argsort().equal(after[other].argsort())


def test_a_planted_signal_is_trusted(planted):
    assert cross_fit(planted.take(torch.arange(600)), QUICK, seed=0).shrinkage > 0


def test_where_confidence_is_all_there_is_little_is_lost(calibrated):
    held_out = cross_fit(calibrated, QUICK, seed=0).held_out_scores
    with torch.no_grad():
        confident = best_confidence(calibrated)(calibrated.base_logits)
    for coverage in (0.9, 0.7, 0.5):
        lost = accuracy_at(coverage, confident, calibrated) - accuracy_at(
            coverage, held_out, calibrated
        )
        assert lost < 0.015


def test_the_embedding_is_read_where_it_is_asked_for(noise):
    # The embedding tells the oracle, the logits tell nothing.
    told = noise.oracle.float().unsqueeze(1) + torch.zeros(len(noise), 3)
    data = replace(noise, embedding=told)
    settings = SCRATCH.model_copy(update={"embedding": True})
    router = fit_router(data, settings, seed=0)
    assert area_under_roc(score_all(router, data), data.oracle) > 0.99


def test_data_can_be_cut_and_joined(noise):
    data = replace(noise, embedding=torch.arange(300.0).unsqueeze(1))
    parts = [data.take(rows) for rows in torch.arange(300).split(100)]
    joined = concatenate(parts)
    assert len(parts[0]) == 100
    for name in ("base_logits", "sent_log_probabilities", "labels", "embedding"):
        assert getattr(joined, name).equal(getattr(data, name))


def test_fewer_inputs_than_a_batch_are_enough(noise):
    router = fit_router(noise.take(torch.arange(20)), RouterSettings(epochs=1), seed=0)
    assert np.isfinite(score_all(router, noise).numpy()).all()
