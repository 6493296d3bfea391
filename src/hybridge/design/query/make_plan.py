"""From a trained pair to a plan: base and router on the edge, global in the cloud."""

from pathlib import Path
from typing import cast

from torch import Tensor, nn

from hybridge.design.export.onnx import freeze
from hybridge.design.nets.network import PixelNetwork
from hybridge.design.query.fold import FoldedRouter, fold
from hybridge.design.query.router import Router
from hybridge.design.query.scores import Confidence
from hybridge.plan.answers import Combine, Fused, Newest
from hybridge.plan.choosers import ScoreThreshold
from hybridge.plan.plan import Fork, Leaf, Plan, Step
from hybridge.plan.tensors import Geometry, TensorSpec

PIXELS = "pixels"


class RoutedBase(nn.Module):
    """Base, features and router in one graph, from pixels to logits and a score.

    Args:
        base: From pixels ``(B, H, W, C)`` to logits ``(B, K)``.
        router: A fitted router, folded or not, or a confidence score as a baseline.
    """

    def __init__(self, base: PixelNetwork, router: Router | FoldedRouter | Confidence) -> None:
        super().__init__()
        self.base = base
        self.router = router

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits ``(B, K)`` and scores ``(B,)`` of uint8 pixels ``(B, H, W, C)``."""
        if isinstance(self.router, Confidence):
            logits = cast(Tensor, self.base(pixels))
            return logits, self.router(logits)
        if self.router.embedder is None:
            logits = cast(Tensor, self.base(pixels))
            return logits, self.router.score(logits)
        embedding, logits = self.base.embed_and_classify(pixels)
        return logits, self.router.score(logits, embedding)


def make_plan(
    base: PixelNetwork,
    router: Router | Confidence,
    global_: PixelNetwork,
    *,
    geometry: Geometry,
    class_names: tuple[str, ...],
    directory: Path,
    threshold: float = 0.0,
    fused: Fused | None = None,
    codec: str = "raw",
) -> Plan:
    """Export a pair and its router, and join them into a plan.

    Args:
        base: The network for the edge.
        router: What decides between keeping and sending.
        global_: The network for the cloud.
        geometry: Of the images both read.
        class_names: Name of each class, in the order of the logits.
        directory: Where the ONNX files are written.
        threshold: Score above which an input is sent.
        fused: How to weigh both answers; None answers with the global's alone.
        codec: How images are encoded for the link.
    """
    pixels = TensorSpec(name=PIXELS, dtype="uint8", shape=geometry.shape)
    decides = router if isinstance(router, Confidence) else fold(router)
    on_edge = freeze(
        RoutedBase(base, decides), "base", pixels, ("logits", "score"), geometry, directory
    )
    in_cloud = freeze(global_, "global", pixels, ("logits",), geometry, directory)
    sent: Combine = fused or Newest(logits="global.logits")
    ask = Step(
        program="global",
        place="cloud",
        feeds={PIXELS: PIXELS},
        codec=codec,
        then=Leaf(combine=sent),
    )
    fork = Fork(
        chooser=ScoreThreshold(threshold=threshold),
        children=(Leaf(combine=Newest(logits="base.logits")), ask),
        home=0,
    )
    return Plan(
        input=pixels,
        programs={"base": on_edge, "global": in_cloud},
        root=Step(program="base", place="edge", feeds={PIXELS: PIXELS}, then=fork),
        class_names=class_names,
    )
