"""Walks driven in virtual time.

The walk is the runtime's own generator. What it asks for is priced here instead of being done, and
what programs would say comes from a rehearsal: request ``i`` plays its input ``i mod N``.

Letters: ``R`` requests, ``N`` rehearsed inputs.
"""

import heapq
import math
from struct import Struct

import numpy as np

from hybridge.cost.price import energy_mj
from hybridge.emulate.arrivals import Arrivals
from hybridge.emulate.emulation import Emulation
from hybridge.emulate.script import Script
from hybridge.emulate.world import World
from hybridge.errors import TransportError
from hybridge.links.channel import Channel
from hybridge.plan.decision import Decision
from hybridge.plan.log import DecisionLog
from hybridge.plan.plan import Plan
from hybridge.plan.rehearsal import Rehearsal
from hybridge.walk.events import Ask, Event, Failed, Ran, Request, Run, Told
from hybridge.walk.observer import Observer
from hybridge.walk.walk import Walk, walk

#: Of each request: the fields of an `Emulation` but the energy, then what that is made of.
_COLUMNS = 12
_ROW = Struct(f"{_COLUMNS}d")


def emulate(
    plan: Plan,
    rehearsal: Rehearsal,
    world: World,
    arrivals: Arrivals,
    log: DecisionLog | None = None,
) -> Emulation:
    """Play requests against ``plan``, and return what became of them.

    The edge runs one program at a time, in the order in which requests are ready for it; messages
    queue for the link, which drains at the trace's bandwidth; the cloud is never busy. Forks by
    bandwidth see the trace's mean over the world's ``sense_window_s`` before them. What walks are
    advised by follows what happens here, as it does in the runtime.

    Args:
        plan: The plan.
        rehearsal: Played with its programs.
        world: What requests meet.
        arrivals: When they come.
        log: Where decisions are written, in virtual seconds, or None.

    Raises:
        PlanError: The rehearsal does not fit the plan.
        ConfigError: A program has no price, or the rehearsal knows too little for the world's
            policy or codecs.
    """
    rehearsal.check_fits(plan)
    observer = world.observer(plan, rehearsal)
    script = Script(plan, rehearsal, world.prices, world.codecs)
    replay = Replay(script, world, observer, arrivals.count, log)
    replay.play(arrivals)
    return replay.emulation()


class Passage:
    """One request on its way.

    Attributes:
        course: Its walk.
        turn: Its number among all requests.
        input: Index of the rehearsed input that it plays.
        began_ms: When it came.
        now_ms: Until when its course is known.
    """

    __slots__ = (
        *("course", "turn", "input", "began_ms", "now_ms"),
        *("edge_ms", "cloud_ms", "payload_bytes", "asked"),
        *("computing_ms", "sending_ms", "waiting_ms"),
    )

    def __init__(self, course: Walk, turn: int, input: int, began_ms: float) -> None:
        self.course, self.turn, self.input = course, turn, input
        self.began_ms = self.now_ms = began_ms
        self.edge_ms = self.cloud_ms = 0.0
        self.payload_bytes, self.asked = 0, False
        self.computing_ms = self.sending_ms = self.waiting_ms = 0.0


class Replay:
    """The state of a world while requests pass through it.

    Events are handled in the order of time. One that lies before the next of all others is handled
    at once, without a queue: on a quiet device that is nearly every one.

    Attributes:
        channel: The uplink.
        edge_free_ms: When the edge has done what it was given.
        passage: The request whose walk goes on just now.
    """

    def __init__(
        self,
        script: Script,
        world: World,
        observer: Observer,
        count: int,
        log: DecisionLog | None = None,
    ) -> None:
        self.script = script
        self.world = world
        self.channel = Channel(world.trace)
        self.edge_free_ms = 0.0
        self.passage: Passage | None = None
        self._log = log
        self._observer = observer
        self._link = world.link
        self._rtt_ms = world.link.rtt_ms
        self.timeout_ms = world.longest_ms
        self._deadline_ms = world.within_ms
        self._later: list[tuple[float, int, Passage, Event]] = []
        self._pushed = 0
        self._rows = bytearray(count * _ROW.size)

    def play(self, arrivals: Arrivals) -> None:
        """Let every request come, and all of them end."""
        if arrivals.times_ms is None:
            now_ms = 0.0
            for turn in range(arrivals.count):
                now_ms = self._begin(turn, now_ms, math.inf).now_ms
            return
        times_ms: list[float] = arrivals.times_ms.tolist()
        for turn, at_ms in enumerate(times_ms):
            self._catch_up(at_ms)
            following_ms = times_ms[turn + 1] if turn + 1 < len(times_ms) else math.inf
            self._begin(turn, at_ms, following_ms)
        self._catch_up(math.inf)

    def emulation(self) -> Emulation:
        """Return what became of the requests."""
        rows = np.frombuffer(self._rows).reshape(-1, _COLUMNS)
        columns = rows.T.copy()
        latency_ms, edge_ms, link_ms, cloud_ms, payload_bytes = columns[:5]
        asked, failed, answered, right = columns[5:9] > 0
        computing_ms, sending_ms, waiting_ms = columns[9:]
        device = self.world.prices.device
        return Emulation(
            latency_ms=latency_ms,
            edge_ms=edge_ms,
            link_ms=link_ms,
            cloud_ms=cloud_ms,
            payload_bytes=payload_bytes,
            asked=asked,
            failed=failed,
            answered=answered,
            right=right,
            energy_mj=energy_mj(device, computing_ms, sending_ms, waiting_ms)
            if device.power is not None
            else None,
        )

    def _begin(self, turn: int, at_ms: float, following_ms: float) -> Passage:
        course = walk(self.script.plan, at_ms, self._deadline_ms, self._observer)
        passage = Passage(course, turn, turn % self.script.inputs, at_ms)
        self._go_on(passage, None, following_ms)
        return passage

    def _catch_up(self, at_ms: float) -> None:
        """Handle all that happens until ``at_ms``."""
        later = self._later
        while later and later[0][0] <= at_ms:
            _, _, passage, event = heapq.heappop(later)
            self._go_on(passage, event, at_ms)

    def _go_on(self, passage: Passage, event: Event | None, horizon_ms: float) -> None:
        """Tell a walk of ``event``, and do what it says until something else comes first.

        Args:
            passage: The request.
            event: What its walk waits for; None at its beginning.
            horizon_ms: When the next request comes.
        """
        later = self._later
        if later and later[0][0] < horizon_ms:
            horizon_ms = later[0][0]
        self.passage = passage
        course = passage.course
        try:
            request: Request = next(course) if event is None else course.send(event)
            while True:
                event = (
                    self._run(passage, request)
                    if isinstance(request, Run)
                    else self._ask(passage, request)
                )
                if event.now_ms > horizon_ms:
                    self._pushed += 1
                    heapq.heappush(later, (event.now_ms, self._pushed, passage, event))
                    return
                request = course.send(event)
        except StopIteration as end:
            self._end(passage, end.value)
        except TransportError:
            self._end_without_answer(passage)

    def _run(self, passage: Passage, run: Run) -> Ran:
        part = self.script.parts[run.path, run.step.program]
        ready_ms = passage.now_ms
        begins_ms = ready_ms if ready_ms > self.edge_free_ms else self.edge_free_ms
        ends_ms = begins_ms + part.takes_ms
        self.edge_free_ms = passage.now_ms = ends_ms
        passage.edge_ms += ends_ms - ready_ms
        passage.computing_ms += part.takes_ms
        return Ran(ends_ms, part.scores[passage.input] if part.scores else None)

    def _ask(self, passage: Passage, ask: Ask) -> Told | Failed:
        part = self.script.parts[ask.path, ask.step.program]
        payload_bytes = part.sizes[ask.codec][passage.input]
        asked_ms = passage.now_ms
        within_ms = self.timeout_ms if ask.left_ms is None else ask.left_ms
        begins_ms = max(asked_ms, self.channel.free_at_s * 1e3)
        arrives_s = self.channel.send(asked_ms / 1e3, payload_bytes, (asked_ms + within_ms) / 1e3)
        # As a shaped transport has it: the link's time first, then the cloud's in what is left.
        link_ms = math.inf
        if arrives_s is not None:
            handling_ms = self._link.handling_ms(payload_bytes)
            link_ms = arrives_s * 1e3 - asked_ms + handling_ms + self._rtt_ms
        there_ms = asked_ms + link_ms
        in_time = link_ms <= within_ms and part.takes_ms <= within_ms - (there_ms - asked_ms)
        ends_ms = there_ms + part.takes_ms if in_time else asked_ms + within_ms
        passage.now_ms = ends_ms
        passage.asked = True
        passage.payload_bytes += payload_bytes
        # Whoever waits for its turn on the link spends nothing: whoever is sending does.
        sent_ms = min(there_ms - self._rtt_ms, ends_ms)
        passage.sending_ms += max(sent_ms - begins_ms, 0.0)
        passage.waiting_ms += max(ends_ms - max(sent_ms, begins_ms), 0.0)
        if not in_time:
            why = f"the emulated cloud did not answer within {within_ms:.0f} ms"
            return Failed(ends_ms, payload_bytes, why, late=True)
        passage.cloud_ms += part.takes_ms
        score = part.scores[passage.input] if part.scores else None
        return Told(ends_ms, payload_bytes, part.takes_ms, score)

    def _end(self, passage: Passage, decision: Decision) -> None:
        ending = self.script.ending(decision.path, decision.codec)
        _ROW.pack_into(
            self._rows,
            passage.turn * _ROW.size,
            decision.latency_ms,
            decision.edge_ms,
            decision.link_ms,
            decision.cloud_ms,
            decision.payload_bytes,
            decision.asked,
            decision.failure is not None,
            ending.labels is not None,
            ending.right[passage.input],
            passage.computing_ms,
            passage.sending_ms,
            passage.waiting_ms,
        )
        if self._log is not None:
            label, edge_label, truth = self.script.said(decision.path, ending, passage.input)
            self._log.append(
                decision, passage.now_ms / 1e3, label, edge_label=edge_label, truth=truth
            )

    def _end_without_answer(self, passage: Passage) -> None:
        latency_ms = passage.now_ms - passage.began_ms
        _ROW.pack_into(
            self._rows,
            passage.turn * _ROW.size,
            latency_ms,
            passage.edge_ms,
            latency_ms - passage.edge_ms - passage.cloud_ms,
            passage.cloud_ms,
            passage.payload_bytes,
            passage.asked,
            True,
            False,
            False,
            passage.computing_ms,
            passage.sending_ms,
            passage.waiting_ms,
        )
