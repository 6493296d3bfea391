"""A training's state in one safetensors file: tensors, and counters as JSON in its header."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from hybridge.errors import DataError
from hybridge.files import write_atomically

_HEADER = "hybridge"


@dataclass(frozen=True)
class Checkpoint:
    """What a training needs to go on as if it had never stopped.

    Attributes:
        tensors: Weights, buffers and the optimiser's state, by name.
        counters: Plain data: epochs done, losses so far, which run it belongs to.
    """

    tensors: dict[str, Tensor]
    counters: dict[str, Any]


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint so that a reader sees all of it or the one before."""
    tensors = {
        name: value.detach().cpu().contiguous() for name, value in checkpoint.tensors.items()
    }
    write_atomically(path, save(tensors, {_HEADER: json.dumps(checkpoint.counters)}))


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint; raises `DataError` where the file is none."""
    try:
        with safe_open(path, framework="pt") as file:
            counters = json.loads((file.metadata() or {})[_HEADER])
            return Checkpoint({name: file.get_tensor(name) for name in list(file.keys())}, counters)
    except (OSError, SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise DataError(
            f"expected a checkpoint of a training at {path}, got: {error}; delete it to start anew"
        ) from error


def training_tensors(network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return copies of a network's and its optimiser's tensors, by name."""
    tensors = {f"network.{key}": value for key, value in network.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        for key, value in state.items():
            if value is not None:
                tensors[f"optimizer.{index}.{key}"] = torch.as_tensor(value)
    return {name: value.detach().clone() for name, value in tensors.items()}


def restore_training(
    network: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]
) -> None:
    """Fill a network and its optimiser from what `training_tensors` returned."""
    weights = {
        name.removeprefix("network."): value
        for name, value in tensors.items()
        if name.startswith("network.")
    }
    network.load_state_dict(weights)
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        kind, _, rest = name.partition(".")
        if kind == "optimizer":
            index, _, key = rest.partition(".")
            state.setdefault(int(index), {})[key] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
