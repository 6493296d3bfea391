"""The edge runtime: drives walks with onnxruntime sessions and a transport."""

import asyncio
import math
from collections.abc import AsyncIterator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from hybridge.closing import Closing
from hybridge.codecs.codec import codec_named
from hybridge.codecs.pixels import Picture, to_pixels
from hybridge.cost.device import Device
from hybridge.errors import ConfigError, DataError, RefusedError, SignatureError, TransportError
from hybridge.plan.answers import Abstain
from hybridge.plan.bundle import Bundle, load_bundle
from hybridge.plan.decision import Decision
from hybridge.plan.log import DecisionLog
from hybridge.plan.program import Program
from hybridge.runtime.clock import Clock, SystemClock, limit_ms
from hybridge.runtime.edge.answer import Answer
from hybridge.runtime.edge.couriers import BusyError, Couriers, OverdueError
from hybridge.runtime.edge.journal import Journal
from hybridge.runtime.edge.paced import Paced
from hybridge.runtime.edge.pictures import PictureRing
from hybridge.runtime.sessions import ProgramSession
from hybridge.runtime.wire.message import LateError, Message, Reply, Transport, UnsentError
from hybridge.walk.advice import observer_of
from hybridge.walk.breaker import BreakerSettings
from hybridge.walk.events import Ask, Event, Failed, Ran, Run, Told
from hybridge.walk.observer import SeesBandwidth
from hybridge.walk.threshold import Fixed, Policy
from hybridge.walk.walk import NO_TIME_LEFT, Walk, walk

#: Threads of all streams of a runtime together, which mostly wait for the cloud; and calls of a
#: transport that may be overdue.
MAX_THREADS = 64
#: A message that fails so near its limit failed for want of time: transports have their own clocks.
_TOO_LATE_MS = 1.0
#: How much longer than it was told to a transport may take before it is waited for no more.
_OVERDUE_MS = 3.0
_CLOSED = "this runtime is closed; make a new one for another stream"

Array = np.ndarray[Any, Any]
Input = Picture | Array
"""An encoded image, an opened one, its pixels, or an array of the plan's input spec."""


class EdgeRuntime(Closing):
    """Answers on the edge, and asks the cloud where the plan says so.

    The cloud not answering is never an error, as long as the plan has a home: the edge's answer
    comes instead, with `Answer.failure` set. Safe to call from several threads.

    Args:
        bundle: A bundle, or the directory of one.
        cloud: What carries messages to the cloud, closed together with the runtime. None: every
            question fails at once and the edge answers.
        threads: Threads of each onnxruntime session.
        log: Where decisions are written, or None.
        pictures: Where the last inputs are kept beside the log, small, or None.
        timeout_ms: How long to wait for the cloud where a request has no deadline; None leaves it
            to the transport.
        clock: The time to go by; the machine's own where left out.
        bandwidth: What tells forks the bandwidth, by ``clock``. None: the transport itself where
            it knows, as a shaped one does; else an estimate from what this runtime sends.
        pace: A device to stand in for: programs take at least as long as its profile says, and
            run one at a time. None: as fast as they can.
        device: Whose energy a policy weighs; ``pace`` where left out.
        policy: How the threshold follows link, inputs or a budget; None leaves it as it is. All
            but a budget need the bundle's rehearsal to begin well, a cost needs it at all.
        codecs: Others than the plan's that messages may be encoded with, each as the link is;
            needs the rehearsal, and each must have been rehearsed.
        breaker: When a cloud that fails is left alone; the defaults where None.
        trusted_keys: PEM files of public keys, one of which must have signed the bundle, where
            it is given as a directory; None asks for no signature.

    Raises:
        ConfigError: ``timeout_ms`` is NaN, ``pace`` knows no speed for a program's layers, or the
            bundle knows too little for ``policy`` or ``codecs``, or ``pictures`` lack a log; or
            one of ``trusted_keys`` is none, or they come with a bundle that is loaded already.
        BundleError: The bundle, or an edge program's file, is missing or damaged, or none of
            ``trusted_keys`` has signed it.
        UnknownNameError: The plan names a codec that does not exist.
    """

    def __init__(
        self,
        bundle: Bundle | str | Path,
        cloud: Transport | None = None,
        *,
        threads: int = 1,
        log: DecisionLog | None = None,
        pictures: PictureRing | None = None,
        timeout_ms: float | None = None,
        clock: Clock | None = None,
        bandwidth: SeesBandwidth | None = None,
        pace: Device | None = None,
        device: Device | None = None,
        policy: Policy | None = None,
        codecs: Sequence[str] = (),
        breaker: BreakerSettings | None = None,
        trusted_keys: Sequence[str | Path] | None = None,
    ) -> None:
        if isinstance(bundle, Bundle):
            if trusted_keys is not None:
                raise ConfigError("signatures are checked at load: load_bundle(..., trusted_keys=)")
        else:
            needs = bool(codecs) or policy is not None
            bundle = load_bundle(bundle, place="edge", rehearsal=needs, trusted_keys=trusted_keys)
        self.plan = bundle.plan
        self._cloud = cloud
        if pictures is not None and log is None:
            raise ConfigError("pictures are named in the log; give a log as well")
        self._journal = None if log is None else Journal(bundle.plan, log, pictures)
        self._timeout_ms = _limit_ms(timeout_ms, "timeout_ms")
        clock = clock or SystemClock()
        self._now_ms = clock.now_ms
        # What passes on another clock cannot be waited for on this one.
        self._is_on_time = isinstance(clock, SystemClock)
        if bandwidth is None:
            bandwidth = cloud if isinstance(cloud, SeesBandwidth) else None
            bandwidth = _NoLink() if cloud is None else bandwidth
        self.observer = observer_of(
            bundle.plan,
            bundle.rehearsal,
            bandwidth=bandwidth,
            policy=policy or Fixed(),
            codecs=codecs,
            breaker=None if cloud is None else breaker or BreakerSettings(),
            device=device or pace,
        )
        self._geometry = self.plan.geometry
        self._closed = False
        self._couriers: Couriers[Reply] = Couriers(MAX_THREADS)
        # Its threads begin with the first stream.
        self._pool = ThreadPoolExecutor(MAX_THREADS, thread_name_prefix="hybridge-edge")
        programs = self.plan.programs_at("edge")
        sessions = {program.name: ProgramSession(program, threads) for program in programs}
        paced = Paced(sessions, clock, pace)
        self._run_program = paced.run
        for name, took_ms in paced.tried_ms().items():
            self.observer.ran(name, took_ms)
        for _, step in self.plan.steps("cloud"):
            codec_named(step.codec)

    def predict(
        self, x: Input, deadline_ms: float | None = None, *, truth: int | None = None
    ) -> Answer:
        """Answer one input.

        Args:
            x: The input.
            deadline_ms: Time from now within which to answer; the cloud is waited for no longer.
                Infinity is as good as None.
            truth: The right class, an integer of Python's or NumPy's, where it is known; it goes
                into the log, and nowhere else.

        Raises:
            ConfigError: ``deadline_ms`` is NaN.
            SignatureError: ``x`` is not what the plan takes; nothing has run.
            DataError: ``x`` is no image, or too large a one; nothing has run.
            TransportError: The cloud did not answer, and the plan accepts that there may be no
                answer without it.
        """
        within_ms = _limit_ms(deadline_ms, "deadline_ms")
        truth = None if truth is None else int(truth)  # labels often are NumPy's
        course = walk(self.plan, self._now_ms(), within_ms, self.observer)
        values = {self.plan.input.name: self._input(x)}
        decision = self._drive(course, values)
        return self._answer(decision, values, truth)

    def predict_batch(self, xs: Iterable[Input], deadline_ms: float | None = None) -> list[Answer]:
        """Answer each of ``xs`` as `predict` does, one after another, in order."""
        return [self.predict(x, deadline_ms) for x in xs]

    async def predict_stream(
        self, xs: AsyncIterator[Input], deadline_ms: float | None = None, in_flight: int = 4
    ) -> AsyncIterator[Answer]:
        """Yield an answer for each of ``xs``, in order, each as soon as it is there.

        Args:
            xs: The inputs.
            deadline_ms: Time for each, from when it is begun.
            in_flight: How many inputs are worked on at once, so that waiting for the cloud does
                not hold up the edge; at most `MAX_THREADS` of them run.

        Raises:
            ConfigError: ``in_flight`` is less than one, ``deadline_ms`` NaN, or the runtime closed;
                where it is closed meanwhile, after the answers that were begun.
            Others: What `predict` raises, in the input's turn.
        """
        if in_flight < 1:
            raise ConfigError(f"expected in_flight of 1 or more, got {in_flight}")
        if self._closed:
            raise ConfigError(_CLOSED)
        loop = asyncio.get_running_loop()
        room = asyncio.Semaphore(in_flight)
        begun: asyncio.Queue[asyncio.Future[Answer] | None] = asyncio.Queue()

        async def begin() -> None:
            try:
                async for x in xs:
                    await room.acquire()
                    begun.put_nowait(self._begun(loop, x, deadline_ms))
            finally:
                begun.put_nowait(None)

        reader = asyncio.create_task(begin())
        try:
            while (work := await begun.get()) is not None:
                answer = await work
                room.release()
                yield answer
            await reader
        finally:
            reader.cancel()
            while not begun.empty():
                if (work := begun.get_nowait()) is not None:
                    work.cancel()

    def _begun(
        self, loop: asyncio.AbstractEventLoop, x: Input, deadline_ms: float | None
    ) -> asyncio.Future[Answer]:
        try:
            return loop.run_in_executor(self._pool, self.predict, x, deadline_ms)
        except RuntimeError as error:
            if not self._closed:
                raise
            raise ConfigError(_CLOSED) from error

    def close(self) -> None:
        """Close the transport, stop the threads and wait for the log; `predict` goes on.

        It answers from the edge then.
        """
        if self._cloud is not None:
            self._cloud.close()
        self._closed = True
        self._couriers.close()
        self._pool.shutdown()
        if self._journal is not None:
            self._journal.flush()

    def _input(self, x: Input) -> Array:
        """Return ``x`` as a batch of one ``(1, ...)``, checked."""
        if self._geometry is not None:
            x = to_pixels(x, self._geometry)
        elif not isinstance(x, np.ndarray):
            raise SignatureError(
                f"this plan takes no images but {self.plan.input.dtype} arrays of shape "
                f"{self.plan.input.shape}, got {type(x).__name__}"
            )
        batch = x[np.newaxis]
        self.plan.input.check(batch)
        return batch

    def _drive(self, course: Walk, values: dict[str, Array]) -> Decision:
        """Do what the walk says until it ends, adding to ``values`` what is computed."""
        try:
            request = next(course)
            while True:
                event = (
                    self._run(request, values)
                    if isinstance(request, Run)
                    else (self._ask(request, values))
                )
                request = course.send(event)
        except StopIteration as end:
            decision: Decision = end.value
            return decision

    def _run(self, request: Run, values: dict[str, Array]) -> Ran:
        step = request.step
        fed = {name: values[value] for name, value in step.feeds.items()}
        outputs = self._run_program(step.program, fed)
        return Ran(self._now_ms(), _keep(step.program, outputs, values))

    def _ask(self, request: Ask, values: dict[str, Array]) -> Event:
        if self._cloud is None:
            return self._unasked("no cloud configured")
        within_ms = self._timeout_ms if request.left_ms is None else request.left_ms
        asked_ms = self._now_ms()
        step = request.step
        program = self.plan.programs[step.program]
        codec = codec_named(request.codec)
        try:
            tensors = {name: codec.encode(values[value]) for name, value in step.feeds.items()}
        except SignatureError as error:
            return self._unasked(f"could not be encoded: {error}")
        if within_ms is not None:
            within_ms -= self._now_ms() - asked_ms
            if within_ms <= 0:
                return self._unasked(NO_TIME_LEFT)
        message = Message(program.name, program.sha256, tensors, within_ms)
        sent_ms = self._now_ms()
        try:
            reply = self._send(self._cloud, message, within_ms)
            outputs = _outputs(program, reply)
        except UnsentError as error:
            return self._unasked(str(error), cloud_failed=not isinstance(error, BusyError))
        except (TransportError, SignatureError, DataError) as error:
            now_ms = self._now_ms()
            late = isinstance(error, LateError) or (
                within_ms is not None and now_ms - sent_ms > within_ms - _TOO_LATE_MS
            )
            wait_ms = (error.retry_after_ms or 0) if isinstance(error, RefusedError) else 0
            sent_bytes = message.payload_bytes
            return Failed(now_ms, sent_bytes, str(error), late=late, retry_after_ms=wait_ms)
        score = _keep(step.program, outputs, values)
        return Told(self._now_ms(), message.payload_bytes, reply.cloud_ms, score)

    def _send(self, cloud: Transport, message: Message, within_ms: float | None) -> Reply:
        """Send, and be back in time whatever the transport does.

        A transport cancels its own call when time is up, its own time where it is given none. One
        that does not come back then, for whatever reason, holds up nobody: its thread is left to
        it, and what it brings is not used.
        """
        most_ms = getattr(cloud, "timeout_ms", None) if within_ms is None else within_ms
        if most_ms is None or not self._is_on_time:
            return cloud.send(message, within_ms)
        try:
            return self._couriers.call(
                lambda: cloud.send(message, within_ms), (most_ms + _OVERDUE_MS) / 1e3
            )
        except OverdueError as error:
            raise LateError(
                f"the transport did not come back within the {most_ms:.0f} ms it had"
            ) from error

    def _unasked(self, why: str, cloud_failed: bool = False) -> Failed:
        return Failed(self._now_ms(), 0, why, asked=False, cloud_failed=cloud_failed)

    def _answer(self, decision: Decision, values: dict[str, Array], truth: int | None) -> Answer:
        combine = decision.leaf.combine
        probabilities = combine.probabilities(values)[0]
        abstained = isinstance(combine, Abstain)
        label = None if abstained else int(probabilities.argmax())
        if self._journal is not None:
            self._journal.write(decision, values, probabilities, label, truth)
        names = self.plan.class_names
        return Answer(
            label=label,
            class_name=names[label] if names and label is not None else None,
            probabilities=probabilities,
            source=decision.source,
            reason=decision.reason,
            score=decision.score,
            latency_ms=decision.latency_ms,
            edge_ms=decision.edge_ms,
            link_ms=decision.link_ms,
            cloud_ms=decision.cloud_ms,
            bytes_sent=decision.payload_bytes,
            wanted=decision.wanted,
            asked=decision.asked,
            abstained=abstained,
            failure=decision.failure,
        )


class _NoLink:
    """No cloud, no link: nothing becomes known of it, and nobody has to try."""

    def bandwidth_bps(self, now_ms: float) -> float | None:
        return None


def _keep(program: str, outputs: dict[str, Array], values: dict[str, Array]) -> float | None:
    """Add a program's outputs to ``values``; return its router score, if it has one."""
    for name, array in outputs.items():
        values[f"{program}.{name}"] = array
    score = outputs.get("score")
    return None if score is None else float(score[0])


def _outputs(program: Program, reply: Reply) -> dict[str, Array]:
    """Return what the reply holds of the program's outputs; other servers may add their own.

    Raises `SignatureError` where one is missing or misshapen, `DataError` where one has values
    that are no numbers.
    """
    names = [spec.name for spec in program.outputs]
    outputs = {name: reply.tensors[name] for name in names if name in reply.tensors}
    program.check_outputs(outputs, batch=1)
    for name, array in outputs.items():
        if not np.isfinite(array).all():
            raise DataError(f"damaged reply: output {name!r} holds values that are not finite")
    return outputs


def _limit_ms(milliseconds: float | None, name: str) -> float | None:
    """Return a time limit, or None for none; raises `ConfigError` where it is NaN."""
    if milliseconds is None or milliseconds == math.inf:
        return None
    return limit_ms(milliseconds, name)
