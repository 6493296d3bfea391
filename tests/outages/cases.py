"""Every fault that the runtime survives: how the world breaks, and how it heals."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from hybridge.runtime.edge.grpc import GrpcTransport
from outages.bundles import Stage
from outages.cloud import SKEWED_CLOCK, SLOW_BATCHES, SLOW_ROWS, Cloud
from outages.crowd import Crowd
from outages.play import Tally, World, play
from outages.proxy import Mode, Proxy


class Clouds(ExitStack):
    """Servers that several faults share, each started when it is first asked for.

    Args:
        stage: Whose bundles they serve.
    """

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.stage = stage
        self._started: dict[Path, Cloud] = {}

    def serving(self, bundle: Path) -> Cloud:
        """Return the server of a bundle."""
        if bundle not in self._started:
            self._started[bundle] = self.enter_context(Cloud(bundle))
        return self._started[bundle]

    @property
    def usual(self) -> Cloud:
        """The server of what the edge has, too."""
        return self.serving(self.stage.bundle)


#: One way of a link on which a call is in time, and a call that has to connect first is not.
FAR_S = 0.05

Opener = Callable[[Clouds], AbstractContextManager[World]]
Turn = Callable[[Proxy], None]


def _transport(port: int) -> GrpcTransport:
    return GrpcTransport(f"127.0.0.1:{port}")


def _through(breaks: Turn, heals: Turn, delay_s: float = 0.0) -> Opener:
    @contextmanager
    def opened(clouds: Clouds) -> Iterator[World]:
        with Proxy(clouds.usual.port, delay_s=delay_s) as proxy:
            yield World(_transport(proxy.port), lambda: breaks(proxy), lambda: heals(proxy))

    return opened


def _in(mode: Mode) -> Turn:
    def turn(proxy: Proxy) -> None:
        proxy.mode = mode

    return turn


def _at(rate_bps: float | None) -> Turn:
    def turn(proxy: Proxy) -> None:
        proxy.rate_bps = rate_bps

    return turn


@contextmanager
def hang(clouds: Clouds) -> Iterator[World]:
    """The server is there, and does nothing."""
    yield World(_transport(clouds.usual.port), clouds.usual.freeze, clouds.usual.thaw)


@contextmanager
def flapping(clouds: Clouds) -> Iterator[World]:
    """The link is there and gone by turns, a few requests each."""
    with Proxy(clouds.usual.port) as proxy:

        def flap(number: int) -> None:
            proxy.mode = "hold" if number // 5 % 2 else "pass"

        yield World(_transport(proxy.port), heals=lambda: _in("pass")(proxy), during=flap)


@contextmanager
def killed(clouds: Clouds) -> Iterator[World]:
    """A server is killed in the middle of a batch, and started again at the end."""
    with Cloud(clouds.stage.bundle, SLOW_BATCHES) as cloud:
        yield World(_transport(cloud.port), cloud.kill, cloud.start)


@contextmanager
def other_version(clouds: Clouds) -> Iterator[World]:
    """Who answers at the port has another version of the bundle, then the right one again."""
    ports = [clouds.serving(each).port for each in (clouds.stage.bundle, clouds.stage.other)]
    with Proxy(ports[0]) as proxy:

        def restart(port: int) -> None:
            proxy.close()
            proxy.to_port = port
            proxy.open()

        yield World(_transport(proxy.port), lambda: restart(ports[1]), lambda: restart(ports[0]))


@contextmanager
def skewed(clouds: Clouds) -> Iterator[World]:
    """The server's clocks are a day ahead and run fast; nothing else is wrong."""
    with Cloud(clouds.stage.bundle, SKEWED_CLOCK) as cloud:
        yield World(_transport(cloud.port))


@contextmanager
def overloaded(clouds: Clouds) -> Iterator[World]:
    """Others ask more of the server than it can compute, so that it refuses what would be late."""
    with Cloud(clouds.stage.bundle, SLOW_ROWS) as cloud, Crowd(clouds.stage, cloud.port) as crowd:
        yield World(_transport(cloud.port), crowd.come, crowd.leave)


@contextmanager
def healthy(clouds: Clouds) -> Iterator[World]:
    """Nothing is wrong with link or cloud."""
    yield World(_transport(clouds.usual.port))


@dataclass(frozen=True)
class Case:
    """A fault.

    Attributes:
        name: What goes wrong.
        opened: Opens the world that it befalls.
        threads: How many threads ask.
        every_s: Pause of each between two requests.
        log: Where decisions go.
        cloud_answers: Whether the cloud goes on answering meanwhile.
    """

    name: str
    opened: Opener
    threads: int = 1
    every_s: float = 0.004
    log: Path | None = None
    cloud_answers: bool = False

    def play(self, clouds: Clouds, count: int) -> Tally:
        """Make ``count`` requests through it."""
        how = {"every_s": self.every_s, "threads": self.threads, "log": self.log}
        with self.opened(clouds) as world:
            return play(clouds.stage, world, count, **how)


CASES = (
    Case("connection refused", _through(Proxy.close, Proxy.open)),
    Case("hang", hang),
    Case("black hole", _through(_in("hold"), _in("pass"))),
    Case("black hole far away", _through(_in("hold"), _in("pass"), FAR_S), every_s=0.06),
    Case("reset in the middle of a message", _through(_in("reset"), _in("pass"))),
    Case("slow link", _through(_at(200e3), _at(None))),
    Case("link flapping", flapping),
    Case("killed in the middle of a batch", killed, threads=4),
    Case("another bundle version", other_version),
    Case("corrupt payload", _through(_in("corrupt"), _in("pass"))),
    Case("clock skew", skewed, cloud_answers=True),
    Case("full disk for the log", healthy, log=Path("/dev/full"), cloud_answers=True),
    Case("many at once", healthy, threads=32, every_s=0.2, cloud_answers=True),
    Case("more asked than can be computed", overloaded),
)
