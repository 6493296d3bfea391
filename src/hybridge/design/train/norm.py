"""Batch normalisation recalibrated: the statistics of what it really reads, in one pass."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@torch.no_grad()
def recalibrate(module: nn.Module, inputs: Tensor) -> Tensor:
    """Give every batch normalisation in ``module`` the statistics of one large batch.

    Layer after layer sees what the recalibrated layers before it give, so the statistics are those
    of the batch exactly.

    Args:
        module: Whose norms are changed in place; put into evaluation mode.
        inputs: What it reads: ``(B, ...)``, as many as the statistics are to be of.

    Returns:
        What it gives for ``inputs``.
    """
    module.eval()
    found = [each for each in module.modules() if isinstance(each, nn.BatchNorm2d)]
    with _averaging(found):
        outputs: Tensor = module(inputs)
    return outputs


@contextmanager
def _averaging(norms: list[nn.BatchNorm2d]) -> Iterator[None]:
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean of all batches, here of one
        norm.train()
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()
