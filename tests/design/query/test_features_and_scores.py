"""What the router reads, and the confidence scores it has to beat."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hybridge.design.query.features import answer_features, answer_summary, feature_count
from hybridge.design.query.scores import Confidence, fit_temperature, measures
from hybridge.errors import UnknownNameError


def test_ten_classes_give_101_numbers():
    logits = torch.randn(3, 10)
    assert answer_features(logits).shape == (3, 101)
    assert feature_count(10) == feature_count(1000) == 101
    assert answer_features(torch.randn(2, 1000)).shape == (2, 101)


@pytest.mark.parametrize("class_count", [2, 4, 9])
def test_fewer_classes_give_fewer_numbers(class_count):
    features = answer_features(torch.randn(3, class_count))
    assert features.shape == (3, 1 + class_count**2) == (3, feature_count(class_count))


def test_entropy_is_in_nats_and_differences_are_of_sorted_probabilities():
    probabilities = torch.tensor([[0.2, 0.5, 0.3]])
    features = answer_features(probabilities.log())[0]
    entropy = -sum(p * math.log(p) for p in (0.2, 0.5, 0.3))
    assert features[0].item() == pytest.approx(entropy)
    rows = [[0.0, 0.2, 0.3], [-0.2, 0.0, 0.1], [-0.3, -0.1, 0.0]]
    torch.testing.assert_close(features[1:].view(3, 3), torch.tensor(rows))
    uniform = answer_features(torch.zeros(1, 10))[0]
    assert uniform[0].item() == pytest.approx(math.log(10))
    assert uniform[1:].abs().max() == 0


def test_features_ignore_which_class_is_which():
    logits = torch.randn(5, 12)
    mixed = logits[:, torch.randperm(12)]
    torch.testing.assert_close(answer_features(logits), answer_features(mixed))


def test_features_are_differentiable_even_where_the_base_is_certain():
    logits = torch.tensor([[200.0, 0.0, -200.0]], requires_grad=True)
    answer_summary(logits).sum().backward()
    assert torch.isfinite(logits.grad).all()


def test_every_measure_sends_the_less_certain_first():
    certain, unsure = torch.tensor([[9.0, 0.0, 0.0]]), torch.tensor([[0.2, 0.1, 0.0]])
    assert set(measures) >= {"entropy", "top1", "margin"}
    for name in measures:
        score = Confidence(name)
        assert score(unsure) > score(certain), name


@given(st.sampled_from(sorted(measures)), st.floats(0.1, 10), st.integers(0, 1000))
def test_scores_ignore_a_shift_of_the_logits(name, temperature, seed):
    logits = torch.randn(4, 5, generator=torch.Generator().manual_seed(seed)).double()
    score = Confidence(name, temperature)
    torch.testing.assert_close(score(logits), score(logits + 3), rtol=1e-6, atol=1e-9)


def test_values_by_hand():
    logits = torch.tensor([[0.5, 0.3, 0.2]]).double().log()
    entropy = -sum(p * math.log(p) for p in (0.2, 0.5, 0.3))
    assert Confidence("entropy")(logits).item() == pytest.approx(math.log(entropy))
    assert Confidence("top1")(logits).item() == pytest.approx(math.log(0.5 / 0.5), abs=1e-6)
    assert Confidence("margin")(logits).item() == pytest.approx(math.log(1 - (0.5 - 0.3)))
    # Halving the temperature squares the probabilities, up to their sum.
    odds_against = (0.09 + 0.04) / 0.25
    assert Confidence("top1", 0.5)(logits).item() == pytest.approx(math.log(odds_against))


def test_all_but_certain_answers_are_still_told_apart():
    logits = torch.tensor([[30.0, 0.0, -1.0], [40.0, 0.0, -1.0]])
    assert logits.softmax(dim=1)[:, 0].unique().tolist() == [1.0]
    for name in measures:
        less, more = Confidence(name)(logits)
        assert less > more, name


def test_an_unknown_measure_is_corrected():
    with pytest.raises(UnknownNameError, match="entropy"):
        Confidence("entropie")


def test_the_temperature_of_planted_overconfidence_is_found():
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(4000, 5, generator=generator)
    labels = torch.multinomial(logits.softmax(dim=1), 1, generator=generator).squeeze(1)
    assert fit_temperature(3 * logits, labels) == pytest.approx(3, rel=0.1)
    assert fit_temperature(logits, labels) == pytest.approx(1, rel=0.1)
