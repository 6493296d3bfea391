"""What a network says about a whole dataset, computed once and kept.

Letters: ``N`` images, ``K`` classes, ``F`` features.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from hybridge.data.dataset import Dataset
from hybridge.design.nets.network import PixelNetwork
from hybridge.progress import track

View = Literal["plain", "flip"]
Floats = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class Outputs:
    """A network's answers.

    Attributes:
        logits: ``(N, K)`` float32.
        features: Penultimate features ``(N, F)`` float32; none where the network has no ``embed``.
    """

    logits: Floats
    features: Floats | None

    def accuracy(self, labels: np.ndarray[Any, Any]) -> float:
        """Return the share of ``labels`` ``(N,)`` that are right."""
        return float((self.logits.argmax(1) == labels).mean())


def compute_outputs(
    network: PixelNetwork, dataset: Dataset, *, view: View = "plain", batch_size: int = 500
) -> Outputs:
    """Run a network over a dataset, batch by batch.

    Args:
        network: Put into evaluation mode.
        dataset: What it looks at.
        view: ``flip`` mirrors every image.
        batch_size: Images at a time.
    """
    network.eval()
    device = network.mean.device
    logits, features = [], []
    with torch.inference_mode():
        batches = np.array_split(np.arange(len(dataset)), max(1, -(-len(dataset) // batch_size)))
        for indices in track(batches, "computing outputs"):
            pixels = torch.from_numpy(dataset.pixels(indices)).to(device)
            if view == "flip":
                pixels = pixels.flip(2)
            if network.embeds:
                embedded, answer = network.embed_and_classify(pixels)
                features.append(_array(embedded))
            else:
                answer = network(pixels)
            logits.append(_array(answer))
    return Outputs(np.concatenate(logits), np.concatenate(features) if features else None)


def _array(tensor: Tensor) -> Floats:
    return tensor.float().cpu().numpy()
