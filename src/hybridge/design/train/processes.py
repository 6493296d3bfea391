"""Where this process computes, and whether it is the one, of several, that writes files."""

import torch
from accelerate import PartialState


def is_main() -> bool:
    """Return whether this is the one process, of several that train together, that writes."""
    return bool(PartialState().is_main_process)


def own_device() -> torch.device:
    """Return the device that networks of this process run on."""
    device: torch.device = PartialState().device
    return device
