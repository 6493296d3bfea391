"""Base and router trained together, without an oracle."""

import numpy as np
import pytest
import torch

from hybridge.cost.operating import Costs, UnitCost, sweep
from hybridge.design.query.appeal import AppealSettings, fit_appeal
from hybridge.design.query.fit import RouterData, score_all
from hybridge.design.query.fold import fold
from hybridge.design.query.make_plan import RoutedBase
from hybridge.design.query.router import RouterSettings
from hybridge.design.train.loop import TrainSettings
from hybridge.design.train.outputs import Outputs, compute_outputs, hash_network
from hybridge.errors import ConfigError, DataError
from tiny_pairs import CLASSES, tiny_images, tiny_network

TRAIN, NEW = tiny_images(192, seed=1), tiny_images(192, seed=2)
ROUTER = RouterSettings(hidden=(8, 4))
TRAINING = TrainSettings(epochs=6, batch_size=32, learning_rate=0.05, augment="none")


def answers(labels: np.ndarray, right: np.ndarray) -> Outputs:
    """A global that is certain, and right where it is told to be."""
    said = np.where(right, labels, (labels + 1) % CLASSES)
    return Outputs(5 * np.eye(CLASSES, dtype=np.float32)[said], None)


GLOBAL = answers(TRAIN.labels, np.full(len(TRAIN), True))


def fitted(cost=0.5, global_outputs=GLOBAL, router=ROUTER, seed=0, **changes):
    base = tiny_network(1)
    settings = AppealSettings(train=TRAINING.model_copy(update=changes), cost=cost)
    got, records = fit_appeal(base, global_outputs, TRAIN, router, settings, seed=seed)
    return base, got, records


def seen_by(base, data=NEW) -> RouterData:
    """The new images through the base, and a global that is always right."""
    outputs = compute_outputs(base, data)
    sent = answers(data.labels, np.full(len(data), True)).logits
    return RouterData(
        torch.from_numpy(outputs.logits),
        torch.from_numpy(sent).log_softmax(dim=1),
        torch.from_numpy(data.labels),
        torch.from_numpy(outputs.features),
    )


def sent_share(base, router) -> float:
    score = score_all(router, seen_by(base))
    assert torch.isfinite(score).all()
    return float((score > 0).float().mean())


def test_base_and_router_learn_together():
    before = hash_network(tiny_network(1))
    base, router, records = fitted()
    assert hash_network(base) != before
    assert records[-1].loss < records[0].loss
    assert len(records) == 6
    assert not base.training
    assert not router.training


def test_dearer_appeals_are_fewer():
    shares = [sent_share(*fitted(cost)[:2]) for cost in (0.01, 10.0)]
    assert shares[0] > 0.9
    assert shares[1] < 0.1


def test_a_cloud_that_is_wrong_is_not_asked():
    wrong = answers(TRAIN.labels, np.full(len(TRAIN), False))
    base, router, _ = fitted(0.01, wrong)
    assert sent_share(base, router) < 0.1


def test_the_same_seed_gives_the_same_pair():
    (one, first, _), (same, second, _) = (fitted(epochs=1) for _ in range(2))
    assert hash_network(one) == hash_network(same)
    assert hash_network(first) == hash_network(second)
    assert hash_network(fitted(epochs=1, seed=1)[1]) != hash_network(first)


def test_it_sends_what_the_cloud_is_good_at():
    helpful = answers(TRAIN.labels, TRAIN.labels < 2)
    embedding = ROUTER.model_copy(update={"embedding": True})
    base, router, _ = fitted(0.01, helpful, embedding, epochs=12)
    sent = score_all(router, seen_by(base)) > 0
    low = torch.from_numpy(NEW.labels) < 2
    assert sent[low].float().mean() > sent[~low].float().mean() + 0.2


@pytest.mark.parametrize("embedding", [False, True])
def test_its_scores_stand_on_the_axes_of_every_other_method(embedding):
    base, router, _ = fitted(router=ROUTER.model_copy(update={"embedding": embedding}))
    data = seen_by(base)
    curve = sweep(
        score_all(router, data).numpy(),
        data.base_right.numpy(),
        data.sent_right.numpy(),
        Costs(macs=UnitCost(10, 100)),
    )
    assert curve.accuracy[-1] == 1
    assert len(curve) > 20


def test_it_is_deployed_like_any_router():
    base, router, _ = fitted(epochs=1)
    pixels = torch.from_numpy(NEW.pixels(np.arange(8)))
    with torch.no_grad():
        _, score = RoutedBase(base, fold(router))(pixels)
    torch.testing.assert_close(score, score_all(router, seen_by(base))[:8], rtol=1e-4, atol=1e-4)


def test_augmentation_is_refused_since_the_global_did_not_see_it():
    with pytest.raises(ConfigError, match="augment 'none', got 'flip'"):
        fitted(augment="flip")


def test_answers_to_other_images_are_refused():
    with pytest.raises(DataError, match="192 training images, got 10"):
        fitted(global_outputs=Outputs(GLOBAL.logits[:10], None))
