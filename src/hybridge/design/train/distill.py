"""Distillation: learning what another network answers.

Letters: ``B`` batch, ``K`` classes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybridge.design.train.batches import Batch
from hybridge.design.train.loop import Loss


def logits_of(teacher: nn.Module, precision: str = "fp32", temperature: float = 2.0) -> Loss:
    """Return the loss of answering like ``teacher``: KL divergence of softened probabilities.

    Args:
        teacher: From pixels ``(B, H, W, C)`` to logits ``(B, K)``; put into evaluation mode.
        precision: Of the teacher's activations.
        temperature: What logits are divided by.
    """
    teacher.eval()

    def distillation(logits: Tensor, batch: Batch) -> Tensor:
        return soft_divergence(logits, answers_of(teacher, batch, precision), temperature)

    return distillation


def answers_of(teacher: nn.Module, batch: Batch, precision: str = "fp32") -> Tensor:
    """Return a teacher's logits ``(B, K)`` for a batch, through which no gradient goes."""
    kind = batch.pixels.device.type
    with torch.no_grad(), torch.autocast(kind, torch.bfloat16, enabled=precision == "bf16"):
        answers: Tensor = teacher(batch.pixels).float()
    return answers


def soft_divergence(logits: Tensor, wanted: Tensor, temperature: float = 1.0) -> Tensor:
    """Return the KL divergence of softened probabilities from those that are wanted.

    Args:
        logits: ``(..., K)``.
        wanted: Logits that broadcast to the same.
        temperature: What logits are divided by.

    Returns:
        ``(...)``, in nats times the temperature's square, so that gradients do not fade with it.
    """
    divergence = F.kl_div(
        F.log_softmax(logits / temperature, -1),
        F.log_softmax(wanted / temperature, -1),
        reduction="none",
        log_target=True,
    )
    return divergence.sum(-1) * temperature**2
