"""A fitted router as the few operators that a device runs: the same function, folded.

All features are linear in eleven numbers, batch norm is linear once it is fitted, and of the
router's two outputs only the difference is asked for. So all of these fold into the weights.
"""

from typing import cast

import torch
from torch import Tensor, nn

from hybridge.design.query.features import answer_summary, expand_summary
from hybridge.design.query.router import Anchor, Router


class FoldedRouter(nn.Module):
    """11 → 256 → ReLU → 64 → ReLU → 1: what `fold` makes of a router.

    Args:
        body: From the summary ``(B, 1 + K)``, and the embedder's output, to scores ``(B, 1)``.
        embedder: Of the base's penultimate features, or None.
        anchor: Confidence that is added, or None.
    """

    def __init__(
        self, body: nn.Sequential, embedder: nn.Module | None, anchor: Anchor | None
    ) -> None:
        super().__init__()
        self.body = body
        self.embedder = embedder
        self.anchor = anchor

    def score(self, logits: Tensor, embedding: Tensor | None = None) -> Tensor:
        """Return what `Router.score` returns, ``(B,)``."""
        seen = answer_summary(logits)
        if self.embedder is not None:
            seen = torch.cat((seen, self.embedder(embedding)), dim=1)
        score: Tensor = self.body(seen).squeeze(1)
        return score if self.anchor is None else score + self.anchor(logits)

    forward = score


def fold(router: Router) -> FoldedRouter:
    """Return the score of a fitted router with its linear maps multiplied out."""
    first, after, _, second, _ = cast(list[nn.Module], list(router.body))
    widths = router.norm.num_features
    expanded = expand_summary(torch.eye(1 + round((widths - 1) ** 0.5), dtype=torch.float64))
    weight, bias = _numbers(cast(nn.Linear, first))
    scale, shift = _affine(router.norm)
    bias = bias + weight[:, :widths] @ shift
    weight = torch.cat(((weight[:, :widths] * scale) @ expanded.T, weight[:, widths:]), dim=1)
    scale, shift = _affine(cast(nn.BatchNorm1d, after))
    weight, bias = weight * scale.unsqueeze(1), bias * scale + shift
    head_weight, head_bias = _numbers(router.head)
    shrinkage = router.shrinkage.double()
    body = nn.Sequential(
        _linear(weight, bias),
        nn.ReLU(),
        second,
        nn.ReLU(),
        _linear(shrinkage * head_weight.diff(dim=0), shrinkage * head_bias.diff(dim=0)),
    )
    return FoldedRouter(body, _fold_embedder(router.embedder), router.anchor).eval()


def _fold_embedder(embedder: nn.Module | None) -> nn.Module | None:
    if embedder is None:
        return None
    norm, first, *rest = cast(nn.Sequential, embedder)
    weight, bias = _numbers(cast(nn.Linear, first))
    scale, shift = _affine(cast(nn.BatchNorm1d, norm))
    return nn.Sequential(_linear(weight * scale, bias + weight @ shift), *rest)


def _numbers(layer: nn.Linear) -> tuple[Tensor, Tensor]:
    return layer.weight.detach().double(), layer.bias.detach().double()


def _affine(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """Return scale and shift of a fitted batch norm, ``(F,)`` each."""
    mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
    scale = norm.weight.detach().double() / (variance.double() + norm.eps).sqrt()
    return scale, norm.bias.detach().double() - mean.double() * scale


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    # Made without storage: a random start would draw from torch's global generator.
    layer = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    layer.load_state_dict({"weight": weight.float(), "bias": bias.float()}, assign=True)
    return layer
