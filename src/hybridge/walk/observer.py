"""All that is known while requests are walked, folded from what became of those before.

Everything a walk asks its observer is a matter of arithmetic; whoever drives the walk tells it,
through the walk's events, what happened. So the runtime and the emulator know the same.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, runtime_checkable

from hybridge.cost.device import Device
from hybridge.cost.price import energy_mj
from hybridge.plan.observation import Observation
from hybridge.plan.plan import Fork, Leaf, Node, Path, Step
from hybridge.walk.breaker import Breaker, State
from hybridge.walk.durations import Durations
from hybridge.walk.events import Ask, Failed, Told
from hybridge.walk.menu import Dish, Menus
from hybridge.walk.threshold import ThresholdPolicy, WorthIt
from hybridge.walk.tracker import LinkTracker

BREAKER_OPEN = "the cloud is left alone after failures"
TOO_SLOW = "the cloud is expected to be too late"

#: What a message's size counts once the next one is there.
_FADES_TO = 0.9


@runtime_checkable
class SeesBandwidth(Protocol):
    """Tells what is known of the link."""

    def bandwidth_bps(self, now_ms: float) -> float | None:
        """Return the bandwidth towards the cloud in bits per second, as it is known at ``now_ms``.

        ``now_ms`` goes by the clock of the walk. None where it is not known.
        """
        ...


class Observer:
    """Answers a walk's questions, and remembers. Safe to use from several threads.

    Args:
        bandwidth: Tells forks the bandwidth; None takes the tracker's estimate.
        tracker: Follows link and cloud; without one nothing is expected of a message, so that
            none is held back for being too slow.
        breaker: Keeps from asking a cloud that fails; without one it is always asked.
        policy: Moves the threshold; without one it is the plan's own.
        menus: What cloud steps may be asked with; a step that is not there is asked with the
            plan's codec, and its messages are expected to be as long as they were of late.
        worth: What a point of accuracy is worth, for choosing codecs; None takes the most accurate
            codec that is expected in time.
        device: Whose energy a policy weighs.
    """

    def __init__(
        self,
        *,
        bandwidth: SeesBandwidth | None = None,
        tracker: LinkTracker | None = None,
        breaker: Breaker | None = None,
        policy: ThresholdPolicy | None = None,
        menus: Menus | None = None,
        worth: WorthIt | None = None,
        device: Device | None = None,
    ) -> None:
        self.bandwidth = tracker if bandwidth is None else bandwidth
        self.tracker, self.breaker, self.policy = tracker, breaker, policy
        self._menus: dict[Path, tuple[Dish, ...]] = dict(menus or {})
        self._learns = menus is None
        self._worth, self._device = worth, device
        self._durations = Durations()

    def seen(
        self, score: float | None, left_ms: float | None, fork: Fork, path: Path, now_ms: float
    ) -> Observation:
        """Return what a fork's chooser may look at."""
        known = None if self.bandwidth is None else self.bandwidth.bandwidth_bps(now_ms)
        if known is None and fork.chooser.kind == "bandwidth":
            tried = self._tried(fork, fork.chooser.borders_bps, now_ms)
            return Observation(score, left_ms, try_child=tried)
        if score is None or fork.chooser.kind != "score_threshold":
            return Observation(score, left_ms, known)
        threshold = None
        expected_ms = self._expected_of(fork, path, left_ms, now_ms)
        if self.policy is not None:
            extra_mj = self._energy_mj(expected_ms or 0.0)
            threshold = self.policy.threshold(fork.chooser.threshold, expected_ms, extra_mj, now_ms)
        return Observation(score, left_ms, known, threshold, expected_ms)

    def _tried(self, fork: Fork, borders_bps: Sequence[float], now_ms: float) -> int | None:
        """Return the child to try the link with, or None where it is not to be tried now.

        Nothing is known before something was sent, and what is unknown counts as the poorest, from
        where nothing may be sent. So one walk now and then goes where the cloud is asked. Whoever
        gave a bandwidth of its own is not second-guessed.
        """
        if self.tracker is None or self.bandwidth is not self.tracker:
            return None
        if self.breaker is not None and not self.breaker.would_pass(now_ms):
            return None
        if _asks(fork.children[0], all):
            return None  # something becomes known in any case
        types = range(1, len(borders_bps) + 1)
        child = next((type_ for type_ in types if _asks(fork.children[type_], any)), None)
        return child if child is not None and self.tracker.may_try(now_ms) else None

    def chose(self, fork: Fork, score: float | None, child: int, now_ms: float) -> None:
        """Note which child a fork's chooser took."""
        if self.policy is not None and score is not None and fork.chooser.kind == "score_threshold":
            self.policy.decided(score, child == 1, now_ms)

    def terms(self, step: Step, path: Path, left_ms: float | None, now_ms: float) -> Ask | str:
        """Return how the cloud is to be asked, or in a few words why it is not.

        Args:
            step: What is to be asked for.
            path: Where it stands.
            left_ms: Time until the answer must be there, what comes after it taken off.
            now_ms: The time.
        """
        # Before anything else: a try that the breaker then keeps back would be nobody's.
        if self.breaker is not None and not self.breaker.would_pass(now_ms):
            return BREAKER_OPEN
        codec, expected_ms = self._codec(step, path, left_ms, now_ms)
        too_slow = left_ms is not None and expected_ms is not None and expected_ms > left_ms
        if too_slow and (self.tracker is None or not self.tracker.may_try(now_ms)):
            return TOO_SLOW
        # Last of all: whoever the breaker lets through has to ask.
        ticket = None if self.breaker is None else self.breaker.passes(now_ms)
        if self.breaker is not None and ticket is None:
            return BREAKER_OPEN
        return Ask(step, path, left_ms, codec, expected_ms, ticket)

    def heard(self, event: Told | Failed, ask: Ask, asked_ms: float) -> None:
        """Note what became of a question that was asked at ``asked_ms``."""
        if self.tracker is not None:
            self._track(event, self.tracker, event.now_ms - asked_ms)
        if self.breaker is not None:
            if isinstance(event, Told):
                self.breaker.succeeded()
            elif event.cloud_failed:
                self.breaker.failed(event.now_ms, ask.ticket, event.retry_after_ms)
            else:
                self.breaker.unasked(ask.ticket)
        if event.payload_bytes:
            if self.policy is not None:
                self.policy.spent(event.payload_bytes)
            if self._learns:
                self._learn(ask, event.payload_bytes)

    @staticmethod
    def _track(event: Told | Failed, tracker: LinkTracker, elapsed_ms: float) -> None:
        if isinstance(event, Told):
            cloud_ms = min(max(event.cloud_ms, 0.0), elapsed_ms)
            tracker.saw(event.payload_bytes, elapsed_ms - cloud_ms, cloud_ms, event.now_ms)
        elif event.late:
            tracker.lost(event.payload_bytes, elapsed_ms, event.now_ms)

    def _learn(self, ask: Ask, payload_bytes: int) -> None:
        known = self._menus.get(ask.path)
        before = payload_bytes if known is None else known[0].payload_bytes
        mean_bytes = _FADES_TO * before + (1 - _FADES_TO) * payload_bytes
        self._menus[ask.path] = (Dish(ask.codec, mean_bytes, 0.0),)

    def ran(self, program: str, took_ms: float) -> None:
        """Note how long an edge program took, on a walk or before the first one."""
        self._durations.add(program, took_ms)

    @property
    def breaker_state(self) -> State | None:
        """Whether the cloud is left alone just now; None where nothing watches over that."""
        return None if self.breaker is None else self.breaker.state

    def rest_ms(self, node: Node) -> float:
        """Return how long edge programs may take from ``node`` to its answer."""
        match node:
            case Leaf():
                return 0.0
            case Step():
                return self._durations.longest_ms(node.program) + self.rest_ms(node.then)
            case _:
                return max(self.rest_ms(child) for child in node.children)

    def _codec(
        self, step: Step, path: Path, left_ms: float | None, now_ms: float
    ) -> tuple[str, float | None]:
        """Return the codec to ask with, and how long that is expected to take."""
        menu = self._menus.get(path)
        if self.tracker is None or not menu:
            return step.codec, None
        expected = [self.tracker.expected_ms(dish.payload_bytes, now_ms) for dish in menu]
        if expected[0] is None or len(menu) == 1:
            return menu[0].codec, expected[0]
        choices = [(dish, ms) for dish, ms in zip(menu, expected, strict=True) if ms is not None]
        in_time = [(dish, ms) for dish, ms in choices if left_ms is None or ms <= left_ms]
        if not in_time:
            dish, ms = min(choices, key=lambda choice: choice[1])
        else:
            dish, ms = max(in_time, key=lambda choice: self._value(*choice))
        return dish.codec, ms

    def _value(self, dish: Dish, expected_ms: float) -> tuple[float, float]:
        points = 100 * dish.accuracy
        if self._worth is not None:
            points -= self._worth.points(expected_ms, self._energy_mj(expected_ms))
        return points, -expected_ms

    def _expected_of(
        self, fork: Fork, path: Path, left_ms: float | None, now_ms: float
    ) -> float | None:
        """Return how long sending is expected to take; None where nothing is known of the link."""
        child = fork.children[1]
        if not isinstance(child, Step) or child.place != "cloud":
            return None
        return self._codec(child, (*path, 1), left_ms, now_ms)[1]

    def _energy_mj(self, extra_ms: float) -> float:
        """Return what the device draws while it sends and waits; all of it taken for sending."""
        return sending_mj(self._device, extra_ms)


def _asks(node: Node, ways: Callable[[Iterable[bool]], bool]) -> bool:
    """Return whether the cloud is asked after ``node``: on `any` of its ways, or on `all`."""
    match node:
        case Leaf():
            return False
        case Step():
            return node.place == "cloud" or _asks(node.then, ways)
        case _:
            return ways(_asks(child, ways) for child in node.children)


def sending_mj(device: Device | None, extra_ms: float) -> float:
    """Return what a device draws in that time of sending; 0 where nobody knows."""
    if device is None or device.power is None:
        return 0.0
    return float(energy_mj(device, 0.0, extra_ms, 0.0))
