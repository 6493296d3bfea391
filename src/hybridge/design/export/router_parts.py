"""The weights of a folded router, found again in the program of its base."""

from dataclasses import dataclass

import numpy as np

from hybridge.design.export.onnx_steps import LOGITS, Step, Steps
from hybridge.design.export.tflite_file import Array
from hybridge.errors import ConfigError

_PREFIX = "router."


@dataclass(frozen=True)
class RouterParts:
    """A router after `hybridge.design.query.fold.fold`, as arrays.

    Attributes:
        class_count: Logits that it reads.
        hidden: ``(weights, bias)`` of each hidden layer, from the summary on; none for a
            confidence alone.
        head: ``(weights, bias)`` of the layer that gives the score.
        measure: ``entropy``, ``top1`` or ``margin`` where it starts from a confidence, or None.
        temperature: What the confidence divides logits by.
        slope: What its score is multiplied with.
        offset: What is added to that.
    """

    class_count: int
    hidden: tuple[tuple[Array, Array], ...]
    head: tuple[Array, Array]
    measure: str | None = None
    temperature: float = 1.0
    slope: float = 1.0
    offset: float = 0.0

    @property
    def reads(self) -> int:
        """Numbers of the summary that it reads: the entropy, and the largest probabilities."""
        return int(self.hidden[0][0].shape[1]) if self.hidden else 1 + min(10, self.class_count)


def read_router(steps: Steps) -> RouterParts:
    """Return the router that a program has after its logits.

    Raises:
        ConfigError: It reads the base's features too, or is no router of Hybridge's.
    """
    after = _after_logits(steps)
    layers = [step for step in after if step.kind == "Gemm"]
    if any("embedder" in name for step in steps.nodes for name in step.inputs):
        raise ConfigError(
            "this router reads the base's features, which a microcontroller would have to keep; "
            "train it with router.embedding: false"
        )
    weights = [steps.weights(step) for step in layers]
    scalars = {
        name.removeprefix(_PREFIX): float(value)
        for name, value in steps.constants.items()
        if name.startswith(_PREFIX) and value.size == 1 and "body" not in name
    }
    if not after or (not layers and not scalars) or any(len(w.shape) != 2 for w, _ in weights):
        raise ConfigError(
            "expected a program with a router or a confidence after its logits; make the bundle "
            "with hybridge train or hybridge search"
        )
    class_count = steps.shapes[LOGITS][1]
    temperature = next((v for k, v in scalars.items() if k.endswith("temperature")), 1.0)
    *hidden, head = weights if weights else [(np.zeros((1, 1)), np.zeros(1))]
    measure, offset = _measure(after, scalars, bool(layers)), scalars.get("anchor.offset", 0.0)
    if measure is not None and not head[0].any():
        # Shrunk to nothing: the confidence alone decides.
        hidden, offset = [], offset + float(head[1][0])
    return RouterParts(
        class_count,
        tuple(hidden),
        head,
        measure,
        temperature,
        scalars.get("anchor.slope", 1.0),
        offset,
    )


def _after_logits(steps: Steps) -> list[Step]:
    known, after = {LOGITS}, []
    for step in steps.nodes:
        if known & set(step.inputs):
            known.add(step.output)
            after.append(step)
    return after


def _measure(after: list[Step], scalars: dict[str, float], has_body: bool) -> str | None:
    """Tell which confidence a router starts from, by its operators."""
    kinds = [step.kind for step in after]
    if has_body and "anchor.slope" not in scalars:
        return None
    if "ReduceLogSumExp" not in kinds:
        return "entropy"
    before = {step.output: step for step in after}
    ordered = [step for step in after if step.kind == "TopK"]
    normalised = [before[step.inputs[0]].kind for step in ordered if step.inputs[0] in before]
    return "top1" if "Div" in normalised or LOGITS in {s.inputs[0] for s in ordered} else "margin"
