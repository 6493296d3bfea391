"""The programs of a model tree: outlines to price and emulate, or ONNX files to run."""

from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from hybridge.design.export.onnx import freeze
from hybridge.design.graph.count import count_layers
from hybridge.design.modeltree.choices import KEEP, Composition
from hybridge.design.modeltree.compose import compose
from hybridge.design.modeltree.costs import block_module
from hybridge.design.modeltree.library import Library
from hybridge.hashing import hash_json
from hybridge.plan.program import Program
from hybridge.plan.tensors import TensorSpec

#: Letters of a hash that tell programs of one tree apart.
_LETTERS = 8


class ProgramMaker(Protocol):
    """Makes the programs of a plan, each once.

    A program is some units under a composition: what stands before them counts, too, since their
    statistics are of what they read.
    """

    input: TensorSpec
    made: dict[str, Program]

    def edge(self, first: int, stop: int, composition: Composition) -> str:
        """Return the name of the program of units ``first`` to ``stop``, ``stop`` left out."""

    def cloud(self, first: int, composition: Composition) -> str:
        """Return the name of the program of all units from ``first`` on, as the cloud runs it."""


class Outlines:
    """Programs without files: layers to price, and a hash of what they would be.

    Args:
        library: Whose variants.
    """

    def __init__(self, library: Library) -> None:
        self.library = library
        self.made: dict[str, Program] = {}
        sliced = library.sliced
        self.input = TensorSpec(name="pixels", dtype="uint8", shape=sliced.graph.input_shape)

    def edge(self, first: int, stop: int, composition: Composition) -> str:
        """Return the name of the program of units ``first`` to ``stop``, ``stop`` left out."""
        sliced = self.library.sliced
        name = "whole" if stop - first == len(sliced.units) else f"units{first}-{stop - 1}"
        return self._make(name, first, stop, composition[:stop])

    def cloud(self, first: int, composition: Composition) -> str:
        """Return the name of the program of all units from ``first`` on, as the cloud runs it."""
        stop = len(self.library.sliced.units)
        kept = (*composition[:first], *[KEEP] * (stop - first))
        return self._make(f"cloud{first}", first, stop, kept)

    def _make(self, name: str, first: int, stop: int, composition: Composition) -> str:
        key = hash_json([self.library.fingerprint, first, stop, composition])
        unique = f"{name}-{key[:_LETTERS]}"
        if unique not in self.made:
            self.made[unique] = self._program(unique, key, first, composition)
        return unique

    def _program(self, name: str, key: str, first: int, composition: Composition) -> Program:
        units = self.library.units(composition)[first:]
        example = self.library.sliced.example(first)
        module = block_module(units, example)
        with torch.no_grad():
            output = module(example)
        layers = count_layers(module, example)
        return Program(
            name=name,
            sha256=key,
            size_bytes=sum(4 * layer.parameters for layer in layers),
            inputs=(self._reads(first),),
            outputs=(
                TensorSpec(
                    name=self._gives(composition), dtype="float32", shape=tuple(output.shape[1:])
                ),
            ),
            layers=layers,
            geometry=None if first else self.library.sliced.geometry,
        )

    def _reads(self, first: int) -> TensorSpec:
        if first == 0:
            return self.input
        shape = self.library.sliced.input_shape(first)
        # Not as what it gives is called: ONNX has one name for one tensor.
        return TensorSpec(name="given", dtype="float32", shape=shape)

    def _gives(self, composition: Composition) -> str:
        last = len(composition) == len(self.library.sliced.units)
        return "logits" if last else "features"


class Exports(Outlines):
    """Programs as ONNX files, with the statistics that their composition gives them.

    Args:
        library: Whose variants.
        calibration: Training images for statistics, as pixels ``(n, H, W, C)``.
        directory: Where the files are written.
    """

    def __init__(self, library: Library, calibration: Tensor, directory: Path) -> None:
        super().__init__(library)
        self._calibration = calibration
        self._directory = directory

    def _program(self, name: str, key: str, first: int, composition: Composition) -> Program:
        units: list[nn.Module] = list(compose(self.library, composition, self._calibration)[first:])
        return freeze(
            block_module(units, self.library.sliced.example(first)),
            name,
            self._reads(first),
            (self._gives(composition),),
            None if first else self.library.sliced.geometry,
            self._directory,
        )
