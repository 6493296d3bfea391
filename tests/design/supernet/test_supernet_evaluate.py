import numpy as np
import pytest
import torch
from tiny_family import FAMILY, RUNGS, evaluator, images, supernet

from hybridge.design.store import Store
from hybridge.design.supernet import evaluate
from hybridge.design.supernet.evaluate import Evaluator, Images, Rung, answers_of
from hybridge.design.supernet.judge import Subnet, judge
from hybridge.design.supernet.shrink import resize
from hybridge.errors import ConfigError, DataError

LARGEST = Subnet(FAMILY.space.largest, 12)


def test_answers_are_those_of_the_subnet_taken_out_and_recalibrated(tmp_path):
    found = evaluator(tmp_path)
    answers = found.measure(LARGEST, 1)
    pixels = found.images.calibration[:32]
    judged = judge(found.network, LARGEST, pixels, images(seed=2))
    assert answers.value.shape == (48,)
    assert answers.seconds > 0
    assert (answers.value["label"] == found.labels(1)).mean() == pytest.approx(judged.accuracy)


def test_the_first_rung_sees_the_first_images(tmp_path):
    found = evaluator(tmp_path)
    assert len(found.measure(LARGEST, 0).value) == len(found.labels(0)) == 24
    np.testing.assert_array_equal(found.labels(0), found.labels(1)[:24])


def test_a_subnet_is_evaluated_once_however_often_it_is_asked_for(tmp_path, monkeypatch):
    calls = []
    subnet_of = evaluate.subnet_of

    def counted(*args):
        calls.append(args)
        return subnet_of(*args)

    monkeypatch.setattr(evaluate, "subnet_of", counted)
    first = evaluator(tmp_path).measure(LARGEST, 1)
    again = evaluator(tmp_path).measure(LARGEST, 1)
    np.testing.assert_array_equal(first.value, again.value)
    assert first.seconds == again.seconds
    assert len(calls) == 1
    evaluator(tmp_path, seed=1).measure(LARGEST, 1)  # other weights
    evaluator(tmp_path, rungs=(Rung(calibration_images=8),)).measure(LARGEST, 0)
    evaluator(tmp_path).measure(Subnet(FAMILY.space.largest, 8), 1)
    assert len(calls) == 4


def test_smaller_images_are_scaled_down_inside(tmp_path):
    found = evaluator(tmp_path)
    small = Subnet(FAMILY.space.largest, 8)
    scaled = Images(images(seed=1), images(seed=2))
    scaled.calibration = resize(scaled.calibration, 8)
    scaled.validation = resize(scaled.validation, 8)
    expected = Evaluator(supernet(), scaled, Store(tmp_path / "other"), RUNGS).measure(small, 1)
    np.testing.assert_array_equal(found.measure(small, 1).value, expected.value)
    with pytest.raises(ConfigError, match="at most that of the images, 12, got 16"):
        found.measure(Subnet(FAMILY.space.largest, 16), 1)


def test_numbers_that_are_none_are_no_answers(tmp_path):
    network = supernet()
    with torch.no_grad():
        network.network.classifier.bias.fill_(float("nan"))
    shared = Images(images(seed=1), images(seed=2))
    broken = Evaluator(network, shared, Store(tmp_path), RUNGS)
    with pytest.raises(DataError, match="not finite"):
        broken.measure(LARGEST, 0)


def test_images_of_two_sizes_are_refused():
    with pytest.raises(ConfigError, match="all of one size"):
        Images(images(side=8), images(side=12))


def test_a_margin_is_that_between_the_two_most_probable_classes():
    logits = torch.tensor([[0.0, 2.0, 1.0], [5.0, 5.0, -50.0]])
    answers = answers_of(logits)
    odds = np.exp([2.0, 1.0]) / np.exp([0.0, 1.0, 2.0]).sum()
    assert answers["label"].tolist() == [1, 0]
    np.testing.assert_allclose(answers["margin"], [odds[0] - odds[1], 0.0], atol=1e-6)
