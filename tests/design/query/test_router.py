"""The router before and after it is fitted, and folded."""

import pytest
import torch

from hybridge.design.query.fold import fold
from hybridge.design.query.router import Anchor, Router, RouterSettings, fit_anchor
from hybridge.design.query.scores import Confidence, measures

LOGITS = 3 * torch.randn(64, 6, generator=torch.Generator().manual_seed(1))
EMBEDDING = torch.randn(64, 7, generator=torch.Generator().manual_seed(2))
SETTINGS = RouterSettings(hidden=(16, 8))


def seeded(*args, **kwargs) -> Router:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Router(6, SETTINGS, *args, **kwargs)


def used(anchor=None, embedding_width=None) -> Router:
    """A router whose weights and statistics are no longer those it starts from."""
    router = seeded(anchor, embedding_width)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(1)
        for tensor in router.parameters():
            tensor.add_(torch.randn(tensor.shape) / 3)
        router.train()
        for _ in range(20):
            router(LOGITS, EMBEDDING if embedding_width else None)
    return router.eval()


@pytest.mark.parametrize("name", list(measures))
def test_before_fitting_the_order_is_exactly_the_anchors(name):
    confidence = Confidence(name, 1.5)
    router = seeded(Anchor(confidence, slope=2.0, offset=-1.0)).eval()
    with torch.no_grad():
        score = router.score(LOGITS)
        torch.testing.assert_close(score, 2 * confidence(LOGITS) - 1)
        assert score.argsort().equal(confidence(LOGITS).argsort())


def test_with_no_shrinkage_left_a_fitted_router_is_its_anchor():
    confidence = Confidence("entropy")
    router = used(Anchor(confidence, slope=0.5, offset=0.0))
    with torch.no_grad():
        assert not router.score(LOGITS).argsort().equal(confidence(LOGITS).argsort())
        router.shrinkage.fill_(0.0)
        assert router.score(LOGITS).argsort().equal(confidence(LOGITS).argsort())


def test_a_free_router_has_no_opinion_of_its_own_kind():
    assert seeded().anchor is None
    assert seeded().score(LOGITS).std() > 0


def test_the_score_orders_as_the_papers_difference_does():
    router = used()
    with torch.no_grad():
        kept, sent = router(LOGITS).softmax(dim=1).unbind(dim=1)
        torch.testing.assert_close(torch.tanh(router.score(LOGITS) / 2), sent - kept)


def test_the_embedding_is_read():
    router = used(embedding_width=7)
    with torch.no_grad():
        assert not router.score(LOGITS, EMBEDDING).allclose(router.score(LOGITS, -EMBEDDING))


def test_the_anchor_finds_planted_log_odds():
    generator = torch.Generator().manual_seed(3)
    logits = 3 * torch.randn(8000, 6, generator=generator)
    confidence = Confidence("top1")
    odds = 5 * confidence(logits) + 2
    oracle = torch.rand(8000, generator=generator) < odds.sigmoid()
    anchor = fit_anchor(confidence, logits, oracle)
    assert float(anchor.slope) == pytest.approx(5, rel=0.15)
    assert float(anchor.offset) == pytest.approx(2, rel=0.2)


@pytest.mark.parametrize("oracle", ["never", "always", "against"])
def test_an_anchor_never_loses_the_order_of_its_confidence(oracle):
    confidence = Confidence("entropy")
    score = confidence(LOGITS)
    sends = {"never": score > 99, "always": score < 99, "against": score < score.median()}[oracle]
    fitted = fit_anchor(confidence, LOGITS, sends)(LOGITS)
    assert fitted.argsort(stable=True).equal(score.argsort(stable=True))


@pytest.mark.parametrize("embedding_width", [None, 7])
@pytest.mark.parametrize("anchored", [False, True])
def test_folding_changes_the_operators_but_not_the_function(anchored, embedding_width):
    anchor = Anchor(Confidence("margin", 2.0), slope=0.7, offset=0.3) if anchored else None
    router = used(anchor, embedding_width)
    router.shrinkage.fill_(0.5)
    folded = fold(router)
    embedding = EMBEDDING if embedding_width else None
    with torch.no_grad():
        torch.testing.assert_close(
            folded.score(LOGITS, embedding), router.score(LOGITS, embedding), rtol=1e-5, atol=1e-5
        )
    assert not any(isinstance(module, torch.nn.BatchNorm1d) for module in folded.modules())


def test_folding_leaves_torchs_generator_alone():
    router = used()
    before = torch.get_rng_state()
    fold(router)
    assert torch.get_rng_state().equal(before)
