"""Labels of the router and its losses, by hand on small numbers."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hybridge.design.query.losses import (
    appealing_loss,
    base_weights,
    global_weights,
    hybrid_loss,
    relaxed_loss,
)
from hybridge.design.query.oracle import agreement_oracle, routing_oracle, sending_gain

#: r = softmax(z) = (1/4, 3/4) and (1/2, 1/2).
Z = torch.tensor([[0.0, math.log(3)], [0.0, 0.0]])
CERTAIN = torch.tensor([[60.0, 0.0]])


def test_oracles_on_the_four_cases():
    base, sent = torch.tensor([1, 1, 0, 0]).bool(), torch.tensor([1, 0, 1, 0]).bool()
    assert routing_oracle(base, sent).tolist() == [False, False, True, False]
    assert sending_gain(base, sent).tolist() == [0, -1, 1, 0]
    labels = torch.tensor([3, 1]), torch.tensor([3, 2])
    assert agreement_oracle(*labels).tolist() == [False, True]


def test_hybrid_loss_is_equation_7():
    oracle = torch.tensor([True, False])
    # Kept share 1 - mean(relu(r1 - r0)) = 1 - (1/2 + 0) / 2 = 3/4.
    ordered = (3 * math.log(4 / 3) + math.log(2)) / 2
    assert hybrid_loss(Z, oracle, 0.9).item() == pytest.approx(0.15 + ordered)
    assert hybrid_loss(Z, oracle, 0.9, penalty=4).item() == pytest.approx(0.6 + ordered)
    assert hybrid_loss(Z, oracle, 0.7).item() == pytest.approx(ordered)
    plain = (math.log(4 / 3) + math.log(2)) / 2
    assert hybrid_loss(Z, oracle, 0.7, oracle_weight=0).item() == pytest.approx(plain)


def test_relaxed_loss_is_equation_5():
    base_truth, sent_truth = torch.tensor([0.2, 0.8]), torch.tensor([0.6, 0.4])
    right = ((0.25 * 0.2 + 0.75 * 0.6) + (0.5 * 0.8 + 0.5 * 0.4)) / 2
    # Kept share 1 - (3/4 + 1/2) / 2 = 3/8.
    loss = relaxed_loss(Z, base_truth, sent_truth, 0.5, penalty=2).item()
    assert loss == pytest.approx(1 - right + 2 * 0.125)


def test_appealing_loss_weighs_both_losses_and_prices_the_appeal():
    losses = appealing_loss(Z, torch.tensor([2.0, 1.0]), torch.tensor([0.4, 0.0]), cost=0.1)
    by_hand = [0.25 * 2 + 0.75 * 0.4 + 0.1 * math.log(4), 0.5 + 0.1 * math.log(2)]
    torch.testing.assert_close(losses, torch.tensor(by_hand))


def test_what_is_surely_kept_does_not_offset_what_is_sent():
    oracle = torch.tensor([True, False, False, False])
    z = torch.cat((Z, CERTAIN, CERTAIN))
    # mean(relu(r1 - r0)) = (1/2 + 0 + 0 + 0) / 4, however certain the last two are.
    with_penalty, without = (hybrid_loss(z, oracle, 1.0, penalty=p).item() for p in (1, 0))
    assert with_penalty - without == pytest.approx(0.125, abs=1e-6)


@given(st.integers(1, 6), st.integers(0, 1000))
def test_losses_do_not_depend_on_the_batch_size(copies, seed):
    generator = torch.Generator().manual_seed(seed)
    z, oracle = torch.randn(5, 2, generator=generator), torch.rand(5, generator=generator) > 0.5
    truth = torch.rand(5, generator=generator)
    once = hybrid_loss(z, oracle, 0.9), relaxed_loss(z, truth, 1 - truth, 0.9)
    z, oracle, truth = z.repeat(copies, 1), oracle.repeat(copies), truth.repeat(copies)
    again = hybrid_loss(z, oracle, 0.9), relaxed_loss(z, truth, 1 - truth, 0.9)
    torch.testing.assert_close(once, again)


def test_weights_follow_the_decision():
    sent = torch.tensor([False, True])
    assert base_weights(sent).tolist() == [2, 1]
    assert global_weights(sent).tolist() == [1, 2]
    assert base_weights(sent).shape == (2,)
