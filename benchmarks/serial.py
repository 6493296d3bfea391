"""What asking over a serial line takes: bytes and time by frame length, on quiet and bad lines.

The line is virtual, 115,200 bit/s, and the cloud answers at once. A bad line damages one byte in a
hundred and drops one frame in twenty. The last row is real: a pseudo-terminal, the gateway on a
thread, and a transport that answers at once.
"""

import os
import random
import threading
import time
import tty
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
from common import Row, arguments, report

from hybridge.plan.program import Program
from hybridge.plan.tensors import TensorSpec
from hybridge.runtime.clock import SystemClock
from hybridge.runtime.edge.mock import MockTransport
from hybridge.runtime.gateway import Gateway
from hybridge.runtime.port import SerialPort
from hybridge.runtime.serial_answers import Answers, Askable
from hybridge.runtime.wire.asker import Asker, Patience
from hybridge.runtime.wire.desk import Desk
from hybridge.runtime.wire.frames import FrameReader
from hybridge.runtime.wire.message import Reply
from hybridge.runtime.wire.serial import PROGRAM_BYTES, SerialAsk, Wants, answered

BYTE_MS = 10 / 115.2  # eight bits, start and stop
PAYLOAD_BYTES = 1000  # a small image as JPEG
DEADLINE_MS = 10_000
LOGITS = np.linspace(-1, 1, 10, dtype=np.float32)


@dataclass
class Line:
    """A full-duplex line in virtual time: bytes come when they are through, or damaged, or not."""

    noise: random.Random
    damage: float
    drop: float
    sent_bytes: int = 0
    free_ms: float = 0.0
    under_way: list[tuple[float, bytes]] = field(default_factory=list)

    def send(self, data: bytes, now_ms: float) -> None:
        """Take frames after those that are not through yet."""
        self.sent_bytes += len(data)
        for frame in (part + b"\0" for part in data.split(b"\0")[:-1]):
            self.free_ms = max(self.free_ms, now_ms) + len(frame) * BYTE_MS
            if self.noise.random() >= self.drop:
                self.under_way.append((self.free_ms, self._damaged(frame)))

    def come(self, now_ms: float) -> bytes:
        """Return what is through by now."""
        come = [data for at_ms, data in self.under_way if at_ms <= now_ms]
        self.under_way = [part for part in self.under_way if part[0] > now_ms]
        return b"".join(come)

    def _damaged(self, frame: bytes) -> bytes:
        chance = self.noise.random
        return bytes(b ^ 0x55 if chance() < self.damage else b for b in frame)


def exchange(frame_bytes: int, bad: bool, seed: int) -> tuple[bool, float, int]:
    """Return whether an ask was answered, when, and how many bytes crossed."""
    noise = random.Random(seed)
    up, down = (Line(noise, 0.01 * bad, 0.05 * bad) for _ in range(2))
    ask = SerialAsk(
        bytes(PROGRAM_BYTES),
        noise.randbytes(PAYLOAD_BYTES),
        DEADLINE_MS,
        wants=Wants.INT8,
        frame_bytes=frame_bytes,
    )
    window = max(1, 256 // frame_bytes)
    burst_ms = (window * frame_bytes + 64) * BYTE_MS
    patience = Patience(retry_ms=1.5 * burst_ms, tries=20, window=window)
    asker, desk, reader, now_ms = Asker(ask, 1, 0.0, patience), Desk(), FrameReader(), 0.0
    while not asker.has_ended:
        up.send(asker.poll(now_ms), now_ms)
        for frame in reader.read(up.come(now_ms)):
            frames, arrival = desk.take(frame, now_ms)
            if arrival is not None:
                frames += desk.hand_in(arrival.ticket, answered(LOGITS, ask.wants, 0.0))
            down.send(b"".join(frames), now_ms)
        now_ms += 0.5
        asker.receive(down.come(now_ms), now_ms)
    return asker.reply is not None, now_ms, up.sent_bytes + down.sent_bytes


def by_frame_bytes(rounds: int, seed: int) -> list[Row]:
    rows: list[Row] = []
    for bad in (False, True):
        for frame_bytes in (51, 64, 128, 222, 512):
            runs = [exchange(frame_bytes, bad, seed + n) for n in range(rounds if bad else 1)]
            rows.append(
                {
                    "what": f"frames of {frame_bytes} bytes, {'bad' if bad else 'quiet'} line",
                    "answered": sum(done for done, _, _ in runs) / len(runs),
                    "median_ms": float(np.median([ms for _, ms, _ in runs])),
                    "bytes": float(np.mean([crossed for _, _, crossed in runs])),
                }
            )
    return rows


def over_a_terminal(rounds: int) -> Row:
    """Return what the gateway itself adds: round trips over a pseudo-terminal."""
    spec = TensorSpec(name="pixels", dtype="uint8", shape=(PAYLOAD_BYTES,))
    logits = TensorSpec(name="logits", dtype="float32", shape=LOGITS.shape)
    program = Program(
        name="global", sha256="0" * 64, size_bytes=0, inputs=(spec,), outputs=(logits,)
    )
    clock = SystemClock()
    cloud = MockTransport(Reply({"logits": LOGITS[np.newaxis]}))
    master, slave = os.openpty()
    tty.setraw(slave)
    os.set_blocking(master, False)
    port = SerialPort(os.ttyname(slave))
    times_ms, crossed = [], 0
    with Gateway(Answers([Askable(program, "logits")], cloud, clock), clock) as gateway:
        thread = threading.Thread(target=gateway.run, args=(lambda: port,))
        thread.start()
        for request in range(rounds):
            began_ms = clock.now_ms()
            payload = request.to_bytes(2, "little") * (PAYLOAD_BYTES // 2)
            ask = SerialAsk(bytes(PROGRAM_BYTES), payload, DEADLINE_MS, frame_bytes=256)
            asker = Asker(ask, request, began_ms, Patience(retry_ms=1000))
            while not asker.has_ended:
                out = asker.poll(clock.now_ms())
                while out:
                    out = out[os.write(master, out) :]
                with suppress(BlockingIOError):
                    asker.receive(os.read(master, 4096), clock.now_ms())
                time.sleep(0)
            times_ms.append(clock.now_ms() - began_ms)
        gateway.stop()
        thread.join()
        crossed = gateway.statistics()["bytes_in"] + gateway.statistics()["bytes_out"]
    os.close(master)
    os.close(slave)
    return {
        "what": "the gateway over a pseudo-terminal, frames of 256 bytes",
        "answered": 1.0,
        "median_ms": float(np.median(times_ms)),
        "bytes": crossed / rounds,
    }


def main() -> None:
    settings = arguments(__doc__, rounds=40)
    rows = by_frame_bytes(settings.rounds, settings.seed)
    rows.append(over_a_terminal(settings.rounds))
    report(f"Asking with {PAYLOAD_BYTES} bytes over a serial line", rows, settings)


if __name__ == "__main__":
    main()
