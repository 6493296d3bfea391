"""Base and global, weighed together."""

import numpy as np
import pytest
import torch

from hybridge.design.query.fuse import fit_fusion


def answers(strength: float, labels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Logits that are calibrated, from independent evidence of the given strength."""
    seen = torch.randn(len(labels), 5, generator=generator)
    seen[torch.arange(len(labels)), labels] += strength
    return strength * seen


def accuracy(logits, labels) -> float:
    return float((torch.as_tensor(logits).argmax(dim=1) == labels).float().mean())


@pytest.mark.parametrize(
    ("base", "global_", "low", "high"),
    [(1.5, 1.5, 0.4, 0.6), (0.0, 2.0, 0.0, 0.1), (2.0, 0.0, 0.9, 1.0), (1.2, 2.0, 0.25, 0.5)],
)
def test_a_planted_weight_is_found(base, global_, low, high):
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 5, (3000,), generator=generator)
    fused = fit_fusion(
        answers(base, labels, generator), answers(global_, labels, generator), labels
    )
    assert low <= fused.base_weight <= high


@pytest.mark.parametrize("seed", range(4))
def test_fused_answers_are_never_far_below_the_better_network(seed):
    generator = torch.Generator().manual_seed(seed)
    strengths = np.random.default_rng(seed).uniform(0.3, 3, 2)
    labels = torch.randint(0, 5, (800,), generator=generator)
    # Overconfidence of the base is for the temperatures to mend.
    base = 4 * answers(strengths[0], labels, generator)
    global_ = answers(strengths[1], labels, generator)
    fused = fit_fusion(base, global_, labels).log_scores(base.numpy(), global_.numpy())
    better = max(accuracy(base, labels), accuracy(global_, labels))
    assert accuracy(fused, labels) >= better - 0.01


def test_independent_networks_are_better_together():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 5, (2000,), generator=generator)
    base, global_ = (answers(1.5, labels, generator) for _ in range(2))
    fused = fit_fusion(base, global_, labels)
    both = accuracy(fused.log_scores(base.numpy(), global_.numpy()), labels)
    assert both > max(accuracy(base, labels), accuracy(global_, labels)) + 0.03
