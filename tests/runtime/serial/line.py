"""A serial line that loses and damages what it carries: two pseudo-terminals and a thread."""

import os
import random
import select
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Disturber:
    """Damages bytes and drops frames, by a seed.

    Attributes:
        damage: Share of bytes that are replaced by another.
        drop: Share of frames that are lost whole.
        seed: Of what is damaged and lost.
        damaged: Bytes that were damaged so far.
        dropped: Frames that were lost so far.
    """

    damage: float = 0.0
    drop: float = 0.0
    seed: int = 0
    damaged: int = 0
    dropped: int = 0
    _rest: dict[int, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def carry(self, data: bytes, direction: int = 0) -> bytes:
        """Return what comes out where ``data`` goes in; what is no whole frame yet waits."""
        *frames, rest = (self._rest.get(direction, b"") + data).split(b"\0")
        self._rest[direction] = rest
        return b"".join(self._frame(frame + b"\0") for frame in frames)

    def _frame(self, frame: bytes) -> bytes:
        if self._random.random() < self.drop:
            self.dropped += 1
            return b""
        carried = bytearray(frame)
        for at in range(len(carried)):
            if self._random.random() < self.damage:
                carried[at] ^= self._random.randrange(1, 256)
                self.damaged += 1
        return bytes(carried)


@contextmanager
def line(disturber: Disturber) -> Iterator[tuple[str, str]]:
    """Yield the paths of a line's two ends, joined through ``disturber``."""
    pairs = [os.openpty() for _ in range(2)]
    for _, slave in pairs:
        tty.setraw(slave)
    # This side's own slaves stay open, so that an end may close and open its path again.
    masters = [master for master, _ in pairs]
    stop_in, stop_out = os.pipe()
    thread = threading.Thread(target=_carry, args=(masters, stop_in, disturber))
    thread.start()
    try:
        yield os.ttyname(pairs[0][1]), os.ttyname(pairs[1][1])
    finally:
        os.write(stop_out, b"\0")
        thread.join()
        for fd in (*masters, *(slave for _, slave in pairs), stop_in, stop_out):
            os.close(fd)


def _carry(masters: list[int], stop: int, disturber: Disturber) -> None:
    while True:
        ready, _, _ = select.select([*masters, stop], [], [])
        if stop in ready:
            return
        for direction, (source, sink) in enumerate((masters, masters[::-1])):
            if source in ready:
                data = os.read(source, 4096)
                out = disturber.carry(data, direction)
                while out:
                    out = out[os.write(sink, out) :]
