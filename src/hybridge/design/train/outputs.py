"""What a network says about a whole dataset, computed once and kept.

Letters: ``N`` images, ``K`` classes, ``F`` features.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hybridge.data.dataset import Dataset
from hybridge.design.nets.network import PixelNetwork
from hybridge.design.store import Arrays, Store
from hybridge.errors import DataError
from hybridge.hashing import hash_array, hash_json
from hybridge.progress import track

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


def keep_outputs(
    network: PixelNetwork,
    dataset: Dataset,
    *,
    store: Store,
    batch_size: int = 500,
) -> Outputs:
    """Return what a network says about a dataset, from the store where it has been asked before.

    Args:
        network: Put into evaluation mode.
        dataset: What it looks at.
        store: Where outputs are kept, under the hash of network and data.
        batch_size: Images at a time.
    """

    def compute() -> Arrays:
        outputs = compute_outputs(network, dataset, batch_size=batch_size)
        features = {} if outputs.features is None else {"features": outputs.features}
        return {"logits": outputs.logits, **features}

    key = hash_json(["outputs", hash_network(network), dataset.fingerprint])
    kept = store.keep(key, compute)
    return Outputs(kept["logits"], kept.get("features"))


def hash_network(network: nn.Module) -> str:
    """Return a hash of a network's layers, weights and buffers.

    The layers count too: one set of weights fits networks that differ in their strides.
    """
    tensors = network.state_dict()
    weights = {key: hash_array(value.cpu().numpy()) for key, value in tensors.items()}
    return hash_json([repr(network), weights])


def compute_outputs(network: PixelNetwork, dataset: Dataset, *, batch_size: int = 500) -> Outputs:
    """Return what a network says about a whole dataset; see `stream_outputs`."""
    parts = list(stream_outputs(network, dataset, batch_size=batch_size))
    features = [part.features for part in parts if part.features is not None]
    return Outputs(
        np.concatenate([part.logits for part in parts]),
        np.concatenate(features) if features else None,
    )


def stream_outputs(
    network: PixelNetwork, dataset: Dataset, *, batch_size: int = 500
) -> Iterator[Outputs]:
    """Run a network over a dataset, and yield what it says about each batch, in order.

    Args:
        network: Put into evaluation mode.
        dataset: What it looks at.
        batch_size: Images at a time.

    Raises:
        DataError: An output is not a finite number.
    """
    network.eval()
    batches = np.array_split(np.arange(len(dataset)), max(1, -(-len(dataset) // batch_size)))
    for indices in track(batches, "computing outputs"):
        pixels = torch.from_numpy(dataset.pixels(indices)).to(network.mean.device)
        with torch.inference_mode():
            if network.embeds:
                features, logits = network.embed_and_classify(pixels)
                yield Outputs(_finite(network, logits), _finite(network, features))
            else:
                yield Outputs(_finite(network, network(pixels)), None)


def _finite(network: PixelNetwork, output: Tensor) -> Floats:
    array: Floats = output.float().cpu().numpy()
    if not np.isfinite(array).all():
        # The largest of numbers that are none has an index like any other: a plausible answer.
        raise DataError(
            f"the network {type(network.network).__name__} gives outputs that are not finite; "
            "are its weights, mean and std what it was trained with, and did it not diverge?"
        )
    return array
