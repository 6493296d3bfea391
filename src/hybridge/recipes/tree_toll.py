"""What the cloud of a plan takes beyond the link, measured over a connection that is not shaped."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hybridge.codecs.codec import codec_named
from hybridge.plan.plan import Plan, Step
from hybridge.plan.program import Program
from hybridge.runtime.wire.message import Message, Transport

Array = np.ndarray[Any, Any]

#: Calls of each program: those that warm it up, and those that count.
_WARM, _COUNTED = 3, 20
#: Longest that one call may take.
_LIMIT_MS = 20_000.0


@dataclass(frozen=True)
class Toll:
    """What a machine that plays the cloud takes.

    Attributes:
        cloud_ms: Median time of each program in the cloud, as the server reports it, by name.
        message_ms: What a message takes besides, encoding included: the median over all calls.
    """

    cloud_ms: Mapping[str, float]
    message_ms: float


def measure_toll(plan: Plan, transport: Transport, pixels: Array) -> Toll:
    """Call every cloud program of a plan a few times, in the codec that its step names.

    Args:
        plan: The plan, which is served at the other end.
        transport: Over no shaped link.
        pixels: Images ``(N, H, W, C)``, of which the first are sent where a program reads images;
            others get random features, none negative.

    Raises:
        TransportError: The cloud does not answer within 20 seconds.
    """
    steps = {step.program: step for _, step in plan.steps("cloud")}
    cloud_ms, beyond_ms = {}, []
    for name, step in steps.items():
        inputs = _inputs(plan.programs[name], pixels)
        timed = np.array([_timed(plan, step, inputs, transport) for _ in range(_WARM + _COUNTED)])
        took_ms, server_ms = timed[_WARM:].T
        cloud_ms[name] = float(np.median(server_ms))
        beyond_ms.append(took_ms - server_ms)
    return Toll(cloud_ms, float(np.median(beyond_ms)) if beyond_ms else 0.0)


def _inputs(program: Program, pixels: Array) -> dict[str, Array]:
    rng = np.random.default_rng(0)
    return {
        spec.name: pixels[:1]
        if spec.dtype == "uint8"
        else np.maximum(rng.standard_normal((1, *spec.shape)), 0).astype(spec.dtype)
        for spec in program.inputs
    }


def _timed(
    plan: Plan, step: Step, inputs: Mapping[str, Array], transport: Transport
) -> tuple[float, float]:
    """Return the milliseconds of a call, and those of them that the server had."""
    program, codec = plan.programs[step.program], codec_named(step.codec)
    began = time.perf_counter()
    tensors = {name: codec.encode(array) for name, array in inputs.items()}
    reply = transport.send(Message(program.name, program.sha256, tensors, _LIMIT_MS), _LIMIT_MS)
    return 1e3 * (time.perf_counter() - began), reply.cloud_ms
