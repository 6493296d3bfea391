"""Techniques by name: what may come in the place of a layer, and how strong (model tree, table II).

A *technique* at a *strength* is an *option*, named like ``C1-1`` or ``W1-0.5``.

Letters: ``B`` batch, ``C`` channels, ``H`` height, ``W`` width, ``F`` features.
"""

import copy
from abc import ABC, abstractmethod
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from hybridge.design.graph.count import count_macs
from hybridge.errors import ConfigError, UnknownNameError, did_you_mean
from hybridge.registry import Registry

MapShape = tuple[int, ...]
"""Shape of what a layer reads, without the batch axis.

``(C, H, W)`` for a convolution, and for a linear layer that reads flattened maps; ``(F,)`` for any
other linear layer."""


class Technique(ABC):
    """Puts a cheaper module in the place of a layer: same input, same shape of the output.

    The module starts from the weights of the layer. What follows the layer, norm and activation,
    stays the network's own.

    Attributes:
        name: As in the model-tree paper's table II, such as ``C1``.
        about: What it puts in the place of what, in one line.
        meaning: What a strength is.
        strengths: Those that options are made of, at least two.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    meaning: ClassVar[str]
    strengths: ClassVar[tuple[float, ...]]

    @final
    def refusal(
        self, layer: nn.Module, reads: MapShape, strength: float | None = None
    ) -> str | None:
        """Return why the technique does not fit a layer, or None.

        Args:
            layer: Of a network, with its weights.
            reads: Shape of what the layer reads.
            strength: Where given, the technique must be cheaper than the layer at that strength.
        """
        reason = self._misfit(layer, reads)
        if reason is not None or strength is None:
            return reason
        if not strength > 0:
            return f"its strength is {strength:g}, expected a number above 0: {self.meaning}"
        return self._loss(layer, strength, reads)

    @final
    def replace(
        self, layer: nn.Module, strength: float, reads: MapShape, inputs: Tensor
    ) -> nn.Module:
        """Return what stands in for a layer, in evaluation mode; the layer is left as it is.

        Nothing is random: the same inputs give the same module.

        Args:
            layer: Of a network, with its weights.
            strength: Any that makes the module cheaper; `strengths` are those that have a name.
            reads: Shape of what the layer reads.
            inputs: What the layer reads for some images, ``(B, C, H, W)``, or ``(B, F)`` for a
                linear layer; the module is fitted to what the layer makes of it.

        Raises:
            ConfigError: The technique does not fit, or the inputs are not what the layer reads.
        """
        if reason := self.refusal(layer, reads, strength):
            options = ", ".join(options_for(layer, reads)) or "nothing"
            raise ConfigError(
                f"{option_name(self, strength)} does not fit {layer}, which reads "
                f"{'x'.join(map(str, reads))}: {reason}; what fits: {options}"
            )
        _check_inputs(layer, reads, inputs)
        original = copy.deepcopy(layer).cpu().float().eval()
        with torch.no_grad():
            replacement = self._start(original, strength, reads, inputs.detach().cpu().float())
        weight = next(layer.parameters())
        return replacement.to(device=weight.device, dtype=weight.dtype).eval()

    @abstractmethod
    def _misfit(self, layer: nn.Module, reads: MapShape) -> str | None:
        """Return why the technique fits the layer at no strength, or None."""

    @abstractmethod
    def _outline(self, layer: nn.Module, strength: float, reads: MapShape) -> nn.Module:
        """Return the module with any weights; it may be built on the device ``meta``."""

    @abstractmethod
    def _start(
        self, layer: nn.Module, strength: float, reads: MapShape, inputs: Tensor
    ) -> nn.Module:
        """Return the module, fitted; called without gradients and only where the layer fits."""

    def _loss(self, layer: nn.Module, strength: float, reads: MapShape) -> str | None:
        """Return why the module would be no cheaper than the layer, or None."""
        with torch.device("meta"):
            example = torch.zeros(1, *reads)
            if isinstance(layer, nn.Linear):
                example = example.flatten(1)
            macs = count_macs(self._outline(layer, strength, reads), example)
            before = count_macs(_outline_of(layer).float(), example)
        if macs < before:
            return None
        return f"it takes {macs:,} MACs where the layer takes {before:,}"


def _outline_of(layer: nn.Module) -> nn.Module:
    """Return a layer without its weights, which may be large, on the device ``meta``."""
    return copy.deepcopy(
        layer,
        {
            id(weight): nn.Parameter(torch.empty_like(weight, device="meta"))
            for weight in layer.parameters()
        },
    )


def _check_inputs(layer: nn.Module, reads: MapShape, inputs: Tensor) -> None:
    flat = isinstance(layer, nn.Linear)
    expected = (int(torch.Size(reads).numel()),) if flat else reads
    if tuple(inputs.shape[1:]) != expected or len(inputs) == 0:
        raise ConfigError(
            f"expected inputs (B, {', '.join(map(str, expected))}) of {layer}, "
            f"got {tuple(inputs.shape)}"
        )


techniques: Registry[Technique] = Registry("technique")
"""The techniques of table II, by name."""


def option_name(technique: Technique | str, strength: float) -> str:
    """Return the name of a technique at a strength, such as ``F1-0.25``."""
    name = technique if isinstance(technique, str) else technique.name
    return f"{name}-{strength:g}"


def option_named(name: str) -> tuple[Technique, float]:
    """Return the technique and the strength that an option names.

    Raises:
        UnknownNameError: No technique has this name, or not at this strength.
    """
    options = {
        option_name(technique, strength): (technique, strength)
        for technique in map(techniques.get, techniques)
        for strength in technique.strengths
    }
    if name not in options:
        hint = did_you_mean(name, options) or f"; known: {', '.join(options)}"
        raise UnknownNameError(f"unknown option {name!r}{hint}")
    return options[name]


def options_for(layer: nn.Module, reads: MapShape) -> tuple[str, ...]:
    """Return the options that fit a layer and make it cheaper, by name of technique.

    Args:
        layer: Of a network.
        reads: Shape of what it reads.
    """
    return tuple(
        option_name(technique, strength)
        for technique in map(techniques.get, techniques)
        for strength in technique.strengths
        if technique.refusal(layer, reads, strength) is None
    )
