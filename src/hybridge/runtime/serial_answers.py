"""Answers to what devices behind a serial line ask: checked here, computed in the cloud."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hybridge.closing import Closing
from hybridge.codecs.codec import Array, codec_named
from hybridge.codecs.pixels import to_pixels
from hybridge.errors import DataError, PlanError, RefusedError, SignatureError, TransportError
from hybridge.plan.plan import Leaf, Plan, Step
from hybridge.plan.program import PROGRAM_BYTES, Program
from hybridge.runtime.clock import Clock
from hybridge.runtime.wire.message import Message, Reply, Transport
from hybridge.runtime.wire.serial import (
    Form,
    SerialAsk,
    SerialReply,
    Status,
    answered,
)
from hybridge.walk.breaker import Breaker

#: Most logits of an answer: they are counted in 16 bits.
_MAX_CLASSES = 1 << 16


@dataclass(frozen=True, slots=True)
class Askable:
    """A program that devices may ask.

    Attributes:
        program: The program, of one input.
        logits: Name of its output that is answered with.
    """

    program: Program
    logits: str


def askable(plan: Plan) -> list[Askable]:
    """Return the cloud programs of ``plan`` that a device can ask over a serial line.

    They take one tensor, and a leaf right after them answers with their logits. Raises `PlanError`
    where there is none.
    """
    found = []
    for _, step in plan.steps("cloud"):
        program = plan.programs[step.program]
        logits = _logits(step)
        if len(program.inputs) == 1 and logits is not None:
            found.append(Askable(program, logits))
    if not found:
        raise PlanError(
            "the plan has no program in the cloud that takes one tensor and answers with logits; "
            "a gateway has nothing to ask"
        )
    return list({known.program.sha256: known for known in found}.values())


class Answers(Closing):
    """Answers asks by a cloud. Never raises for what a device sends, or a cloud does.

    Safe to call from several threads.

    Args:
        programs: What may be asked.
        cloud: What carries messages to the cloud; closed together with this.
        clock: The time that ``due_ms`` is of.
        breaker: When a cloud that fails is left alone; None for the defaults.
    """

    def __init__(
        self,
        programs: Sequence[Askable],
        cloud: Transport,
        clock: Clock,
        breaker: Breaker | None = None,
    ) -> None:
        self._programs = {_prefix(known.program): known for known in programs}
        self._cloud, self._clock = cloud, clock
        self._breaker = breaker or Breaker()

    def answer(self, ask: SerialAsk, due_ms: float) -> SerialReply:
        """Return the reply to ``ask``, at ``due_ms`` at the latest as far as the cloud keeps to it.

        Where the cloud cannot be asked, the refusal comes at once, so that the device answers.
        """
        known = self._programs.get(ask.program)
        if known is None:
            return SerialReply(Status.UNKNOWN_PROGRAM)
        try:
            tensor = _tensor(ask, known.program)
        except (DataError, SignatureError):
            return SerialReply(Status.BAD_INPUT)
        now_ms = self._clock.now_ms()
        if now_ms >= due_ms:
            return SerialReply(Status.TOO_LATE)
        ticket = self._breaker.passes(now_ms)
        if ticket is None:
            return SerialReply(Status.NO_CLOUD)
        return self._ask(ask, known, tensor, due_ms - now_ms, due_ms, ticket)

    def close(self) -> None:
        """Close what carries messages, cancelling what is under way."""
        self._cloud.close()

    def _ask(
        self,
        ask: SerialAsk,
        known: Askable,
        tensor: Array,
        left_ms: float,
        due_ms: float,
        ticket: int,
    ) -> SerialReply:
        program = known.program
        encoded = codec_named("raw").encode(tensor[np.newaxis])
        message = Message(program.name, program.sha256, {program.inputs[0].name: encoded}, left_ms)
        try:
            reply = self._cloud.send(message, left_ms)
            logits = _logits_of(reply, known)
        except RefusedError as error:
            self._breaker.failed(self._clock.now_ms(), ticket, error.retry_after_ms or 0)
            return SerialReply(Status.CLOUD_REFUSED)
        except (TransportError, SignatureError, DataError):
            now_ms = self._clock.now_ms()
            self._breaker.failed(now_ms, ticket)
            return SerialReply(Status.TOO_LATE if now_ms >= due_ms else Status.NO_CLOUD)
        self._breaker.succeeded()
        return answered(logits, ask.wants, reply.cloud_ms)


def _prefix(program: Program) -> bytes:
    return bytes.fromhex(program.sha256)[:PROGRAM_BYTES]


def _logits(step: Step) -> str | None:
    """Return which output of a step's program the leaf after it answers with."""
    if not isinstance(step.then, Leaf):
        return None
    own = f"{step.program}."
    names = [name.removeprefix(own) for name in step.then.combine.needs if name.startswith(own)]
    return names[0] if names else None


def _tensor(ask: SerialAsk, program: Program) -> Array:
    """Return a payload as the program's input, without a batch axis.

    Raises `DataError` or `SignatureError` where it cannot be that.
    """
    spec = program.inputs[0]
    if ask.form == Form.IMAGE:
        if program.geometry is None:
            raise SignatureError(f"program {program.name!r} takes no images")
        return to_pixels(ask.payload, program.geometry)
    dtype = np.dtype(np.int8 if ask.form == Form.INT8 else spec.dtype).newbyteorder("<")
    expected_bytes = int(np.prod(spec.shape, dtype=np.int64)) * dtype.itemsize
    if len(ask.payload) != expected_bytes:
        raise DataError(
            f"program {program.name!r} takes {expected_bytes} bytes of {dtype}, "
            f"got {len(ask.payload)}"
        )
    tensor = np.frombuffer(ask.payload, dtype).reshape(spec.shape)
    return tensor if ask.form == Form.RAW else _dequantised(tensor, ask, spec.dtype)


def _dequantised(integers: Array, ask: SerialAsk, dtype: str) -> Array:
    """Return what int8 ``integers`` stand for, in the program's own dtype."""
    if dtype == "int8":
        return integers
    values = (integers.astype(np.float64) - ask.zero_point) * ask.scale
    if np.issubdtype(dtype, np.floating):
        limit = float(np.finfo(dtype).max)
    elif dtype == "uint8":
        return np.clip(np.rint(values), 0, 255).astype(np.uint8)
    else:
        raise SignatureError(f"an int8 payload cannot stand for {dtype}; send it raw")
    return np.clip(values, -limit, limit).astype(dtype)


def _logits_of(reply: Reply, known: Askable) -> Array:
    """Return logits ``(C,)`` of a reply; raises where it does not have them, or they are none."""
    spec = next(spec for spec in known.program.outputs if spec.name == known.logits)
    if spec.name not in reply.tensors:
        raise DataError(f"the reply has no output {spec.name!r}")
    batch = reply.tensors[spec.name]
    spec.check(batch)
    if len(batch) != 1 or batch.ndim != 2 or not 0 < batch.shape[1] < _MAX_CLASSES:
        raise DataError(f"expected the logits of one input, got {batch.shape}")
    if not np.isfinite(batch).all():
        raise DataError(f"output {spec.name!r} holds values that are not finite")
    logits: Array = batch[0]
    return logits
