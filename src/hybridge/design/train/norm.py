"""Batch normalisation recalibrated: the statistics of what it really reads, in one pass."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from hybridge.errors import ConfigError


@torch.no_grad()
def recalibrate(module: nn.Module, inputs: Tensor | Iterable[Tensor]) -> Tensor:
    """Give every batch normalisation in ``module`` the statistics of one large batch, or of many.

    Layer after layer sees what the recalibrated layers before it give, so the statistics are those
    of the batch exactly. Those of many batches are their plain mean, whatever their sizes.

    Args:
        module: Whose norms are changed in place; put into evaluation mode.
        inputs: What it reads: ``(B, ...)``, as many as the statistics are to be of; or batches of
            them, where so many do not fit into memory.

    Returns:
        What it gives for ``inputs``, each batch normalised by its own statistics: ``(B, ...)``,
        batch after batch.

    Raises:
        ConfigError: There is no batch.
    """
    module.eval()
    found = [each for each in module.modules() if isinstance(each, nn.BatchNorm2d)]
    with _averaging(found):
        outputs = [module(batch) for batch in _batches(inputs)]
    if not outputs:
        raise ConfigError("expected at least one batch to take statistics of, got none")
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs)


def _batches(inputs: Tensor | Iterable[Tensor]) -> Iterable[Tensor]:
    return (inputs,) if isinstance(inputs, Tensor) else inputs


@contextmanager
def _averaging(norms: list[nn.BatchNorm2d]) -> Iterator[None]:
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean of all batches
        norm.train()
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()


@torch.no_grad()
def fold_norms(module: nn.Module) -> None:
    """Fold every batch normalisation into the convolution right before it, in place.

    What is computed stays the same but for rounding, and takes about a third of the time on a
    processor. Only pairs that follow each other in an `nn.Sequential` are folded.

    Args:
        module: Put into evaluation mode; it cannot be trained on from then on.
    """
    module.eval()
    for sequence in [each for each in module.modules() if isinstance(each, nn.Sequential)]:
        for (name, convolution), (after, norm) in pairwise(list(sequence.named_children())):
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                sequence.add_module(name, fuse_conv_bn_eval(convolution, norm))
                sequence.add_module(after, nn.Identity())
