"""What the router sees of the base's answer (paper, appendix B.2)."""

import torch
from torch import Tensor

LARGEST_COUNT = 10


def feature_count(class_count: int) -> int:
    """Return the number of features for ``C`` classes: 101 where ``C >= 10``."""
    largest_count = min(LARGEST_COUNT, class_count)
    return 1 + largest_count * largest_count


def answer_summary(logits: Tensor) -> Tensor:
    """Return what all features are linear in: a ``(B, 1 + K)`` tensor with ``K = min(10, C)``.

    Args:
        logits: The base's logits, a ``(B, C)`` tensor.

    Returns:
        The entropy of the softmax in nats, then its ``K`` largest probabilities, descending.
    """
    log_probabilities = torch.log_softmax(logits, dim=1)
    probabilities = log_probabilities.exp()
    entropy = -(probabilities * log_probabilities).sum(dim=1, keepdim=True)  # (B, 1)
    largest, _ = torch.topk(probabilities, min(LARGEST_COUNT, logits.shape[1]), dim=1)  # (B, K)
    return torch.cat((entropy, largest), dim=1)


def expand_summary(summary: Tensor) -> Tensor:
    """Return the features ``(B, 1 + K * K)`` of a summary ``(B, 1 + K)``; a linear map."""
    largest = summary[:, 1:]
    differences = largest.unsqueeze(2) - largest.unsqueeze(1)  # (B, K, K)
    return torch.cat((summary[:, :1], differences.flatten(1)), dim=1)


def answer_features(logits: Tensor) -> Tensor:
    """Describe the base's answers by fixed, differentiable, exportable operators.

    The paper says "entropy" and "correlations between the top ten"; pairwise differences are our
    reading of the latter.

    Args:
        logits: The base's logits, a ``(B, C)`` tensor.

    Returns:
        A ``(B, 1 + K * K)`` tensor with ``K = min(10, C)``: the entropy of the softmax in nats,
        then ``p_i - p_j`` of its ``K`` largest probabilities in descending order, row by row.
    """
    return expand_summary(answer_summary(logits))
