"""An asker and a desk, joined by a disturbed line in virtual time."""

from collections.abc import Callable
from dataclasses import dataclass, field

from line import Disturber

from hybridge.runtime.wire.asker import Asker
from hybridge.runtime.wire.desk import Desk
from hybridge.runtime.wire.frames import FrameReader
from hybridge.runtime.wire.serial import SerialAsk, SerialReply

STEP_MS = 10


@dataclass
class Exchange:
    """What lies between: bytes take one step, the cloud takes some.

    Attributes:
        desk: The gateway's end.
        answer: What the cloud says to an ask.
        disturber: What the line does.
        cloud_ms: How long the cloud takes.
        arrived: Asks that were whole, in order.
        heard: Bytes that came to the device, by the time they came.
    """

    desk: Desk
    answer: Callable[[SerialAsk], SerialReply]
    disturber: Disturber = field(default_factory=Disturber)
    cloud_ms: int = 50
    arrived: list[SerialAsk] = field(default_factory=list)
    now_ms: int = 0

    def __post_init__(self) -> None:
        self._reader = FrameReader()
        self._cloud: list[tuple[int, int, SerialReply]] = []

    def run(
        self,
        asker: Asker,
        also: Callable[[int, bytes, bytes], None] = lambda now_ms, sent, heard: None,
    ) -> None:
        """Go on until the ask has ended; ``also`` sees what is sent and heard at every step."""
        while not asker.has_ended:
            sent = asker.poll(self.now_ms)
            heard = self.step(sent)
            also(self.now_ms, sent, heard)
            self.now_ms += STEP_MS
            asker.receive(heard, self.now_ms)

    def step(self, sent: bytes) -> bytes:
        """Carry what is sent to the desk; return what the device hears."""
        out = b""
        for frame in self._reader.read(self.disturber.carry(sent, 0)):
            frames, arrival = self.desk.take(frame, self.now_ms)
            out += b"".join(frames)
            if arrival is not None:
                self.arrived.append(arrival.ask)
                done_ms = self.now_ms + self.cloud_ms
                self._cloud.append((done_ms, arrival.ticket, self.answer(arrival.ask)))
        for done in [done for done in self._cloud if done[0] <= self.now_ms]:
            self._cloud.remove(done)
            out += b"".join(self.desk.hand_in(*done[1:]))
        return self.disturber.carry(out, 1)
