"""Ideal routers: what the router learns from, and what bounds it.

Letters: ``N`` inputs. All arguments are boolean or integer ``(N,)`` tensors.
"""

from torch import Tensor


def routing_oracle(base_right: Tensor, sent_right: Tensor) -> Tensor:
    """Return ``o = 1[base wrong and sent right]`` (eq. 6), a boolean ``(N,)`` tensor.

    Args:
        base_right: Where the base is right.
        sent_right: Where the answer after sending is right: the global's, or the fused one.
    """
    return ~base_right & sent_right


def agreement_oracle(base_labels: Tensor, global_labels: Tensor) -> Tensor:
    """Return ``1[b != g]`` (section 2.2), a boolean ``(N,)`` tensor; needs no labels."""
    return base_labels != global_labels


def sending_gain(base_right: Tensor, sent_right: Tensor) -> Tensor:
    """Return the gain in right answers from sending each input: -1, 0 or 1, as int64 ``(N,)``."""
    return sent_right.long() - base_right.long()
