"""The walk: from the root of a plan to an answer, with no I/O, clock or thread of its own.

It says what to do (`Run`, `Ask`), and is told what came of it (`Ran`, `Told`, `Failed`). The
runtime drives it with sessions and a transport, the emulator with prices and a channel; so what
was emulated is what runs.
"""

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TypeAlias

from hybridge.errors import TransportError
from hybridge.plan.decision import Decision
from hybridge.plan.observation import Choice, Observation
from hybridge.plan.plan import Fork, Leaf, Node, Path, Plan, Step
from hybridge.walk.events import Ask, Event, Failed, Ran, Request, Run
from hybridge.walk.observer import Observer

Walk: TypeAlias = Generator[Request, Event, Decision]
Home: TypeAlias = tuple[Node, Path]

NO_TIME_LEFT = "no time left"


def walk(
    plan: Plan, now_ms: float, deadline_ms: float | None = None, observer: Observer | None = None
) -> Walk:
    """Walk ``plan`` once.

    Where the cloud does not answer, or there is no time left to ask it, the walk goes on at the
    home child of the nearest fork above, and the decision says why. So it does where the observer
    advises against asking.

    Args:
        plan: The plan.
        now_ms: When the request came, by any clock that the events go by as well.
        deadline_ms: Time from ``now_ms`` within which to answer, or None.
        observer: Asked before every fork and every question to the cloud, and told what came of
            them; None knows nothing of the link.

    Yields:
        What to do next. An `Ask` never has ``left_ms`` of zero or less.

    Returns:
        The decision.

    Raises:
        TransportError: The cloud did not answer, and the plan has no home to go to.
    """
    course = _Course(began_ms=now_ms, now_ms=now_ms, deadline_ms=deadline_ms)
    node: Node = plan.root
    path: Path = ()
    home: Home | None = None
    reason = "only branch"
    while not isinstance(node, Leaf):
        if isinstance(node, Fork):
            choice = course.choose(node, path, observer)
            if node.home is not None:
                home = node.children[node.home], (*path, node.home)
            node, path, reason = node.children[choice.child], (*path, choice.child), choice.reason
        elif node.place == "edge":
            course.ran((yield Run(node, path)), node.program, observer)
            node = node.then
        elif (failure := (yield from _ask(node, path, course, home, observer))) is None:
            node = node.then
        elif home is None:
            raise TransportError(f"{failure}; the plan has no answer without the cloud")
        else:
            node, path = home
    # A fork inside the home may have chosen since, but the failure is why the walk came there.
    reason = f"fell back: {course.failure}" if course.failure else reason
    return course.decide(path, node, reason, observer)


def _ask(
    step: Step, path: Path, course: "_Course", home: Home | None, observer: Observer | None
) -> Generator[Request, Event, str | None]:
    """Ask the cloud; return why it did not answer, or None where it did."""
    course.wanted = True
    left_ms = course.left_ms
    if left_ms is not None and observer is not None:
        # Whether the cloud answers or not, what comes then is on the edge, and takes its time.
        ahead = [step.then] if home is None else [step.then, home[0]]
        left_ms -= max(observer.rest_ms(node) for node in ahead)
    if left_ms is not None and left_ms <= 0:
        terms: Ask | str = NO_TIME_LEFT
    elif observer is None or home is None:  # without a home, asking is all there is to do
        terms = Ask(step, path, left_ms, step.codec)
    else:
        terms = observer.terms(step, path, left_ms, course.now_ms)
    if isinstance(terms, str):
        course.failure = terms
    else:
        course.expected_ms, course.codec = terms.expected_ms, terms.codec
        course.heard((yield terms), terms, observer)
    return course.failure


@dataclass(slots=True)
class _Course:
    """What has happened so far on one walk."""

    began_ms: float
    now_ms: float
    deadline_ms: float | None
    score: float | None = None
    edge_ms: float = 0.0
    link_ms: float = 0.0
    cloud_ms: float = 0.0
    payload_bytes: int = 0
    wanted: bool = False
    asked: bool = False
    failure: str | None = None
    threshold: float | None = None
    bandwidth_bps: float | None = None
    expected_ms: float | None = None
    codec: str | None = None
    told_at: list[Path] = field(default_factory=list)

    @property
    def left_ms(self) -> float | None:
        if self.deadline_ms is None:
            return None
        return self.began_ms + self.deadline_ms - self.now_ms

    def choose(self, fork: Fork, path: Path, observer: Observer | None) -> Choice:
        if observer is None:
            return fork.chooser.choose(Observation(self.score, self.left_ms))
        seen = observer.seen(self.score, self.left_ms, fork, path, self.now_ms)
        self.bandwidth_bps, self.threshold = seen.bandwidth_bps, seen.threshold
        if seen.expected_ms is not None:
            self.expected_ms = seen.expected_ms
        choice = fork.chooser.choose(seen)
        observer.chose(fork, self.score, choice.child, self.now_ms)
        return choice

    def ran(self, event: Event, program: str, observer: Observer | None) -> None:
        if not isinstance(event, Ran):
            raise TypeError(f"expected Ran after Run, got {event}")
        took_ms = self._advance(event.now_ms)
        self.edge_ms += took_ms
        if observer is not None:
            observer.ran(program, took_ms)
        self._see(event.score)

    def heard(self, event: Event, ask: Ask, observer: Observer | None) -> None:
        if isinstance(event, Ran):
            raise TypeError(f"expected Told or Failed after Ask, got {event}")
        if observer is not None:
            observer.heard(event, ask, self.now_ms)
        self.asked |= not isinstance(event, Failed) or event.asked
        elapsed_ms = self._advance(event.now_ms)
        self.payload_bytes += event.payload_bytes
        if isinstance(event, Failed):
            self.link_ms += elapsed_ms
            self.failure = event.why
            return
        # The cloud's clock is not ours: its share is between nothing and what went by.
        cloud_ms = min(max(event.cloud_ms, 0.0), elapsed_ms)
        self.cloud_ms += cloud_ms
        self.link_ms += elapsed_ms - cloud_ms
        self.told_at.append(ask.path)
        self._see(event.score)

    def decide(self, path: Path, leaf: Leaf, reason: str, observer: Observer | None) -> Decision:
        helped = self.told_at and any(path[: len(told)] == told for told in self.told_at)
        return Decision(
            path=path,
            leaf=leaf,
            source="cloud" if helped else "edge",
            reason=reason,
            score=self.score,
            latency_ms=self.now_ms - self.began_ms,
            edge_ms=self.edge_ms,
            link_ms=self.link_ms,
            cloud_ms=self.cloud_ms,
            payload_bytes=self.payload_bytes,
            wanted=self.wanted,
            asked=self.asked,
            failure=self.failure,
            threshold=self.threshold,
            bandwidth_bps=self.bandwidth_bps,
            expected_ms=self.expected_ms,
            codec=self.codec,
            deadline_ms=self.deadline_ms,
            breaker=None if observer is None else observer.breaker_state,
        )

    def _advance(self, now_ms: float) -> float:
        elapsed_ms, self.now_ms = now_ms - self.now_ms, now_ms
        return elapsed_ms

    def _see(self, score: float | None) -> None:
        if score is not None:
            self.score = score
