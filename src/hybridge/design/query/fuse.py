"""Fused answers: base and global weighed together, fitted on calibration data."""

import numpy as np
import torch
from torch import Tensor

from hybridge.design.query.scores import fit_temperature
from hybridge.plan.answers import Fused

_WEIGHTS = np.linspace(0.0, 1.0, 41)


def fit_fusion(
    base_logits: Tensor,
    global_logits: Tensor,
    labels: Tensor,
    base_name: str = "base.logits",
    global_name: str = "global.logits",
) -> Fused:
    """Fit temperatures, then the weight with the lowest log-loss of the fused answer.

    The log-loss rather than the accuracy picks the weight: it is smooth, so a few thousand
    calibration images fix it.

    Args:
        base_logits: A ``(N, C)`` tensor on calibration data.
        global_logits: A ``(N, C)`` tensor on the same.
        labels: Their classes, ``(N,)``.
        base_name: Name of the base's logits in the plan.
        global_name: Name of the global's logits in the plan.
    """
    base_temperature = fit_temperature(base_logits, labels)
    global_temperature = fit_temperature(global_logits, labels)
    base = torch.log_softmax(base_logits.double() / base_temperature, dim=1)
    global_ = torch.log_softmax(global_logits.double() / global_temperature, dim=1)
    losses = [
        float(torch.nn.functional.cross_entropy(w * base + (1 - w) * global_, labels))
        for w in _WEIGHTS
    ]
    return Fused(
        base=base_name,
        global_=global_name,
        base_weight=float(_WEIGHTS[int(np.argmin(losses))]),
        base_temperature=base_temperature,
        global_temperature=global_temperature,
    )
