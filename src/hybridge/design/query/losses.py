"""Losses of the router, and the weights that focus base and global (paper, section 2.1)."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, relu


def hybrid_loss(
    z: Tensor,
    oracle: Tensor,
    coverage: float,
    penalty: float = 1.0,
    oracle_weight: float = 2.0,
) -> Tensor:
    """Return the routing loss (eq. 7), as means so that the penalty ignores the batch size.

    ``penalty * relu(coverage - (1 - mean(relu(r1 - r0)))) + mean(W_r * CE(z, o))`` with
    ``W_r = 1 + oracle_weight * o``.

    Args:
        z: Router logits, a ``(B, 2)`` tensor.
        oracle: What the router should have done, a boolean ``(B,)`` tensor.
        coverage: Share that should be kept.
        penalty: The paper's lambda; 0 is an ablation.
        oracle_weight: 2 in the paper; 0 is an ablation.
    """
    per_input = cross_entropy(z, oracle.long(), reduction="none")  # (B,)
    weights = 1.0 + oracle_weight * oracle.to(z.dtype)  # (B,)
    return penalty * _undershoot(z, coverage) + (weights * per_input).mean()


def relaxed_loss(
    z: Tensor, base_truth: Tensor, sent_truth: Tensor, coverage: float, penalty: float = 1.0
) -> Tensor:
    """Return eq. 5 relaxed, without an oracle: the expected probability of a wrong answer.

    Args:
        z: Router logits, a ``(B, 2)`` tensor.
        base_truth: Probability that the base gives the true class, a ``(B,)`` tensor.
        sent_truth: The same of the answer after sending.
        coverage: Share that should be kept.
        penalty: Weight of the share that is missing.
    """
    sent = torch.softmax(z, dim=1)[:, 1]
    wrong = 1.0 - ((1.0 - sent) * base_truth + sent * sent_truth).mean()
    return wrong + penalty * relu(coverage - (1.0 - sent.mean()))


def appealing_loss(z: Tensor, base_loss: Tensor, sent_loss: Tensor, cost: float) -> Tensor:
    """Return AppealNet's relaxed loss of each input: expected loss, plus what an appeal costs.

    Args:
        z: Router logits, a ``(B, 2)`` tensor.
        base_loss: Cross-entropy of the base, a ``(B,)`` tensor; may carry gradients.
        sent_loss: Cross-entropy of the answer after sending, a ``(B,)`` tensor.
        cost: Weight of ``-log`` of the probability of keeping.

    Returns:
        A ``(B,)`` tensor.
    """
    log_kept, log_sent = torch.log_softmax(z, dim=1).unbind(dim=1)
    expected = log_kept.exp() * base_loss + log_sent.exp() * sent_loss
    return expected - cost * log_kept


def base_weights(sent: Tensor) -> Tensor:
    """Return ``W_b = 2 - r``: 2 where kept, 1 where sent, for boolean ``sent`` ``(N,)``."""
    return 2.0 - sent.float()


def global_weights(sent: Tensor) -> Tensor:
    """Return ``W_g = 1 + r``: 1 where kept, 2 where sent, for boolean ``sent`` ``(N,)``."""
    return 1.0 + sent.float()


def _undershoot(z: Tensor, coverage: float) -> Tensor:
    kept, sent = torch.softmax(z, dim=1).unbind(dim=1)
    return relu(coverage - (1.0 - relu(sent - kept).mean()))
