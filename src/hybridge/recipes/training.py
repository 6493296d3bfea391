"""Networks of a recipe made ready: weights read, or trained, or found trained in the folder."""

from pathlib import Path

from hybridge.data.dataset import Dataset
from hybridge.design.nets.network import PixelNetwork
from hybridge.design.nets.weights import load_weights
from hybridge.design.train.checkpoint import load_checkpoint
from hybridge.design.train.loop import Weights, fit
from hybridge.design.train.settings import TrainSettings
from hybridge.errors import ConfigError
from hybridge.recipes.networks import NetworkConfig

CHECKPOINTS = "checkpoints"
LOGS = "logs"


def read_weights_of(config: NetworkConfig, network: PixelNetwork, root: Path) -> None:
    """Give a network the weights that its recipe names, if any; ``root`` is the data folder."""
    if config.weights is not None:
        load_weights(
            network.network,
            root / config.weights,
            prefixes=config.prefixes,
            names=config.names,
        )


def train_network(
    network: PixelNetwork,
    config: NetworkConfig,
    data: Dataset | None,
    *,
    folder: Path,
    role: str,
    seed: int,
    training: bool = True,
    sample_weights: Weights | None = None,
) -> None:
    """Train a network that has no weights, or train it on where its recipe says so.

    Args:
        network: Trained in place.
        config: How.
        data: On which images; None where nothing is to be trained.
        folder: Of the run, which keeps checkpoints and logs; finished ones are not done again.
        role: What the network is in its recipe; names its files.
        seed: Of shuffling and augmentation.
        training: Off: it must be trained already.
        sample_weights: ``(N,)``, of the losses of its images; all alike by default.

    Raises:
        ConfigError: It is not trained, and ``training`` is off.
    """
    settings = config.training
    if settings is None:
        return
    assert data is not None
    checkpoint = folder / CHECKPOINTS / f"{role}.safetensors"
    if not training and not _is_finished(checkpoint, settings):
        raise ConfigError(
            f"the {role} has not been trained in {folder}; run 'hybridge train' first"
        )
    fit(
        network,
        data,
        settings,
        seed=seed,
        sample_weights=sample_weights,
        checkpoint=checkpoint,
        log_dir=folder / LOGS / role if training else None,
        what=f"training the {role}",
    )


def _is_finished(checkpoint: Path, settings: TrainSettings) -> bool:
    if not checkpoint.exists():
        return False
    epochs_done: int = load_checkpoint(checkpoint).counters["epochs_done"]
    return epochs_done >= settings.epochs
