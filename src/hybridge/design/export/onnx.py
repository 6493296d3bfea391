"""Freeze a torch module into a program: one ONNX file with a checked signature and cost."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

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
    example = _example(input_)
    with torch.no_grad():
        expected = _as_tuple(module(example))
    _export(module, name, example, input_.name, outputs, path)
    _check_parity(path, name, input_.name, example, expected)
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


def _example(spec: TensorSpec) -> Tensor:
    rng = np.random.default_rng(0)
    shape = (2, *spec.shape)
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
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ConfigError(
            f"network {name!r} cannot be exported to ONNX: {reason[0]}; "
            "rewrite the operation it names"
        ) from error


def _check_parity(
    path: Path, name: str, input_name: str, example: Tensor, expected: tuple[Tensor, ...]
) -> None:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    got = session.run(None, {input_name: example.numpy()})
    for value, reference in zip(got, expected, strict=True):
        difference = float(np.abs(value - reference.numpy()).max())
        scale = max(1.0, float(reference.abs().max()))
        if not difference <= TOLERANCE * scale:
            raise ConfigError(
                f"program {name!r} differs from its network by {difference:.2e} after export "
                f"(allowed: {TOLERANCE * scale:.0e}); is the network in evaluation mode, "
                "and free of randomness?"
            )


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Silence the exporter's progress prints and deprecation notes, which no user can act on."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
