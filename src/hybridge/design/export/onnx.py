"""Freeze a torch module into a program: one ONNX file with a checked signature and cost."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from hybridge.design.graph.count import count_layers
from hybridge.errors import ConfigError
from hybridge.hashing import hash_file
from hybridge.plan.program import Program
from hybridge.plan.tensors import DType, Geometry, TensorSpec

OPSET = 18
TOLERANCE = 1e-4
Array = np.ndarray[Any, Any]
_LOGGERS = ("torch.onnx", "torch.fx.experimental.symbolic_shapes")
_DTYPES: dict[torch.dtype, DType] = {
    torch.float32: "float32",
    torch.float16: "float16",
    torch.int64: "int64",
    torch.uint8: "uint8",
}


def freeze(
    module: nn.Module,
    name: str,
    input_: TensorSpec,
    outputs: tuple[str, ...],
    geometry: Geometry | None,
    directory: Path,
) -> Program:
    """Export ``module`` to ``directory/name.onnx`` and check that it computes the same.

    The batch axis is free. The file is run in onnxruntime beside the module on random input.

    Args:
        module: From one tensor ``(B, ...)`` to one tensor, or a tuple of them.
        name: Name of the program.
        input_: Signature of the input.
        outputs: Name of each output, in the module's order.
        geometry: Of the image, where the input is pixels.
        directory: Where the file is written; created where missing.

    Raises:
        ConfigError: The module cannot be exported, or the file computes something else.
    """
    module = module.cpu().eval()
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{name}.onnx"
    example = _example(input_, 2)
    with torch.no_grad():
        expected = _as_tuple(module(example))
    if len(expected) != len(outputs):
        raise ConfigError(f"network {name!r} gives {len(expected)} outputs, expected {outputs}")
    _export(module, name, example, input_.name, outputs, path)
    try:
        _check_parity(path, name, module, input_)
    except ConfigError:
        path.unlink()
        raise
    return Program(
        name=name,
        sha256=hash_file(path),
        size_bytes=path.stat().st_size,
        inputs=(input_,),
        outputs=tuple(
            TensorSpec(name=label, dtype=_DTYPES[tensor.dtype], shape=tuple(tensor.shape[1:]))
            for label, tensor in zip(outputs, expected, strict=True)
        ),
        layers=count_layers(module, example[:1]),
        geometry=geometry,
        path=path,
    )


def _example(spec: TensorSpec, batch: int) -> Tensor:
    rng = np.random.default_rng(batch)
    shape = (batch, *spec.shape)
    if spec.dtype == "uint8":
        return torch.from_numpy(rng.integers(0, 256, shape, dtype=np.uint8))
    return torch.from_numpy(rng.standard_normal(shape).astype(spec.dtype))


def _as_tuple(outputs: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (outputs,) if isinstance(outputs, Tensor) else outputs


def _export(
    module: nn.Module,
    name: str,
    example: Tensor,
    input_name: str,
    outputs: tuple[str, ...],
    path: Path,
) -> None:
    try:
        with _quietly():
            exported = torch.onnx.export(
                module,
                (example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=[input_name],
                output_names=list(outputs),
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                verbose=False,
            )
            assert exported is not None
            exported.optimize()
            exported.save(str(path), external_data=False)
    except Exception as error:
        raise ConfigError(
            f"network {name!r} cannot be exported to ONNX: {_reason(error)}; "
            "rewrite the operation it names"
        ) from error


def _reason(error: BaseException) -> str:
    """Return the first line of what lies at the bottom: what is above is advice on exporting."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__


def _check_parity(path: Path, name: str, module: nn.Module, input_: TensorSpec) -> None:
    """Compare the file with the module on other batches than the one it was exported with."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    if isinstance(session.get_inputs()[0].shape[0], int):
        raise ConfigError(
            f"program {name!r} takes batches of {session.get_inputs()[0].shape[0]} alone after "
            "export; rewrite what fixes the size of the batch, such as a loop over it"
        )
    for batch in (1, 3):
        example = _example(input_, batch)
        with torch.no_grad():
            expected = _as_tuple(module(example))
        try:
            got = session.run(None, {input_.name: example.numpy()})
        except Exception as error:  # onnxruntime's exceptions share no base of their own
            raise ConfigError(
                f"program {name!r} fails on {batch} inputs after export: {_reason(error)}"
            ) from error
        for value, reference in zip(got, expected, strict=True):
            _compare(name, value, reference.numpy())


def _compare(name: str, value: Array, reference: Array) -> None:
    if value.shape != reference.shape:
        raise ConfigError(
            f"program {name!r} gives {value.shape} after export, its network {reference.shape}"
        )
    scale = max(1.0, float(np.abs(reference).max()))
    difference = float(np.abs(value - reference).max())
    if not difference <= TOLERANCE * scale:
        raise ConfigError(
            f"program {name!r} differs from its network by {difference:.2e} after export "
            f"(allowed: {TOLERANCE * scale:.0e}); is the network in evaluation mode, "
            "and free of randomness?"
        )


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Silence the exporter's prints, warnings and logs, which no user can act on."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    nowhere = io.StringIO()
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(nowhere),
            contextlib.redirect_stderr(nowhere),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
