"""How a network is trained, as a recipe says it."""

import math
from typing import Literal

from pydantic import Field

from hybridge.design.train.batches import Augment
from hybridge.plan.tensors import Frozen


class TrainSettings(Frozen):
    """How a network is trained, by stochastic gradient descent.

    Attributes:
        epochs: Times every image is seen; the schedule ends there.
        batch_size: Images in a step, over all processes.
        learning_rate: At its highest.
        momentum: Of the gradient.
        nesterov: Whether the gradient is taken ahead of the momentum.
        weight_decay: Of weights; biases and normalisation are spared.
        label_smoothing: Share of each label that is spread over all classes; of the cross-entropy
            with the labels alone.
        schedule: ``cosine`` falls to zero at the last step; ``constant`` does not fall.
        warmup_epochs: Time over which the rate rises from zero.
        augment: How images are changed at random.
        precision: Of activations; weights stay fp32.
    """

    epochs: int = Field(gt=0)
    batch_size: int = Field(default=128, gt=0)
    learning_rate: float = Field(default=0.1, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    nesterov: bool = True
    weight_decay: float = Field(default=5e-4, ge=0)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup_epochs: float = Field(default=0.0, ge=0)
    augment: Augment = "crop_flip"
    precision: Literal["fp32", "bf16"] = "fp32"

    def rate(self, epoch: float) -> float:
        """Return the learning rate after ``epoch`` epochs, which may be a fraction."""
        if epoch < self.warmup_epochs:
            return self.learning_rate * epoch / self.warmup_epochs
        if self.schedule == "constant":
            return self.learning_rate
        span = max(self.epochs - self.warmup_epochs, 1e-9)
        done = min((epoch - self.warmup_epochs) / span, 1.0)
        return self.learning_rate * (1 + math.cos(math.pi * done)) / 2
