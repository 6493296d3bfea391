"""Weights to safetensors files and from local files, matched by key."""

from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from hybridge.design.nets.public_names import prefixes_of
from hybridge.design.nets.tensor_files import Shape, opened, read_shapes, read_tensors
from hybridge.design.train.processes import is_main
from hybridge.errors import ConfigError, DataError
from hybridge.files import write_atomically

_SHOWN = 5
#: Key of a file's header under which the hash of its training stands.
_RUN = "run"
#: A counter that batch normalisation never reads at inference, and many files leave out.
_COUNTER = "num_batches_tracked"


def save_weights(network: nn.Module, path: Path, run: str | None = None) -> None:
    """Write a network's weights and buffers to a safetensors file; the main process alone does.

    Args:
        network: Whose.
        path: The file.
        run: Hash of the training that they come from, for `check_run`.
    """
    if is_main():
        tensors = {key: value.cpu().contiguous() for key, value in network.state_dict().items()}
        write_atomically(path, save(tensors, {_RUN: run} if run else None))


def is_of_run(path: Path, run: str) -> bool:
    """Return whether a file is there, and holds weights of the training ``run``."""
    return path.exists() and _run_of(path) == run


def check_run(path: Path, run: str, command: str = "hybridge train") -> None:
    """Raise `ConfigError` unless the weights in a file come from the training ``run``.

    Args:
        path: The file.
        run: Hash of the training.
        command: What trains them, for the message.
    """
    if _run_of(path) != run:
        raise ConfigError(
            f"{path} holds the weights of another training (other networks, data, settings, mode "
            f"or seed); run {command!r} again"
        )


def _run_of(path: Path) -> str | None:
    with opened(path) as file:
        run: str | None = (file.metadata() or {}).get(_RUN)
    return run


def load_weights(
    network: nn.Module,
    path: Path,
    *,
    prefixes: Mapping[str, str] | None = None,
    names: str | None = None,
) -> None:
    """Fill a network with the weights of a local file.

    Args:
        network: What to fill. Half precision in the file is widened to its own precision.
        path: The file: safetensors, or what ``torch.save`` wrote (``.pth``).
        prefixes: From how keys begin in the file to how they begin in the network; the longest
            that fits is replaced. ``{"module.": ""}`` takes a prefix off.
        names: Whose names the keys have after that, as in `prefixes_of`; None: the network's own.

    Raises:
        DataError: The file is missing or none, its keys or shapes are not the network's, or a
            weight is not a finite number.
        ConfigError: ``names`` are not known, or not for this network.
    """
    rename = _renaming(network, prefixes or {}, names)
    stored = {rename(key): value for key, value in read_tensors(path).items()}
    own = network.state_dict()
    shapes = shapes_of(own)
    check_shapes(shapes, _fitted(shapes_of(stored), shapes, names), path)
    for key, value in stored.items():
        if not torch.isfinite(value).all():
            raise DataError(f"{path}: expected finite weights, got others in {key}; train it again")
    with torch.no_grad():
        for key, target in own.items():
            if key in stored:
                target.copy_(stored[key].reshape(target.shape))


def check_weights(
    network: nn.Module,
    path: Path,
    *,
    prefixes: Mapping[str, str] | None = None,
    names: str | None = None,
) -> None:
    """Raise what `load_weights` would, but for weights that are not finite: none is read."""
    own = shapes_of(network.state_dict())
    stored = _stored_shapes(network, path, prefixes or {}, names)
    check_shapes(own, _fitted(stored, own, names), path)


def stored_class_count(
    network: nn.Module, path: Path, prefixes: Mapping[str, str], names: str | None = None
) -> int | None:
    """Return the extent of the last layer in a file for ``network``, if it has that layer."""
    last = list(network.state_dict())[-1]
    shape = _stored_shapes(network, path, prefixes, names).get(last)
    return shape[0] if shape else None


def shapes_of(tensors: Mapping[str, Tensor]) -> dict[str, Shape]:
    """Return the shape of every tensor, by key."""
    return {key: tuple(value.shape) for key, value in tensors.items()}


def _stored_shapes(
    network: nn.Module, path: Path, prefixes: Mapping[str, str], names: str | None
) -> dict[str, Shape]:
    rename = _renaming(network, prefixes, names)
    return {rename(key): shape for key, shape in read_shapes(path).items()}


def _renaming(
    network: nn.Module, prefixes: Mapping[str, str], names: str | None
) -> Callable[[str], str]:
    public = prefixes_of(names, network) if names else {}
    return lambda key: _rename(_rename(key, prefixes), public)


def _rename(key: str, prefixes: Mapping[str, str]) -> str:
    fitting = [prefix for prefix in prefixes if key.startswith(prefix)]
    if not fitting:
        return key
    longest = max(fitting, key=len)
    return prefixes[longest] + key[len(longest) :]


def _fitted(
    stored: Mapping[str, Shape], own: Mapping[str, Shape], names: str | None
) -> dict[str, Shape]:
    """Return stored shapes, with the network's where public names make a layer of another kind.

    A linear layer is a convolution over the whole map, and the other way round: its rows are the
    same numbers in the same order.
    """
    if names is None:
        return dict(stored)
    return {
        key: own[key] if _same_rows(shape, own.get(key, ())) else shape
        for key, shape in stored.items()
    }


def _same_rows(one: Shape, other: Shape) -> bool:
    return {len(one), len(other)} == {2, 4} and one[0] == other[0] and prod(one) == prod(other)


def check_shapes(own: Mapping[str, Shape], stored: Mapping[str, Shape], path: Path) -> None:
    """Raise `DataError` that lists missing, unexpected and misshapen keys.

    Args:
        own: Shapes of the network's weights and buffers, by key.
        stored: Shapes in the file, by the network's keys.
        path: The file, for the message.
    """
    problems = {
        "missing": [key for key in own if key not in stored and not key.endswith(_COUNTER)],
        "unexpected": [key for key in stored if key not in own],
        "misshapen": [
            f"{key} (expected {own[key]}, got {stored[key]})"
            for key in own
            if key in stored and stored[key] != own[key]
        ],
    }
    found = [f"{what}: {_shorten(keys)}" for what, keys in problems.items() if keys]
    if found:
        raise DataError(
            f"{path}: the weights are not this network's; {'; '.join(found)}"
            f"{_class_counts(own, stored)}"
        )


def _shorten(keys: list[str]) -> str:
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return ", ".join(keys[:_SHOWN]) + more


def _class_counts(own: Mapping[str, Shape], stored: Mapping[str, Shape]) -> str:
    """Say so where all that differs is the number of classes: the last layer's first axis."""
    if any(not key.endswith(_COUNTER) for key in set(own) ^ set(stored)):
        return ""
    wrong = [key for key in own if key in stored and own[key] != stored[key]]
    last_layer = list(own)[-1].rpartition(".")[0]
    if {key.rpartition(".")[0] for key in wrong} != {last_layer}:
        return ""
    expected, got = own[wrong[0]][0], stored[wrong[0]][0]
    return f"; the file is for {got} classes, the network was built for {expected}"
