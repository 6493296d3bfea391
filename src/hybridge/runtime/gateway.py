"""The gateway: asks of a device behind a serial port, taken to the cloud."""

import logging
import os
import selectors
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from queue import SimpleQueue
from typing import Any

from hybridge.closing import Closing
from hybridge.errors import ConfigError
from hybridge.runtime.clock import Clock
from hybridge.runtime.port import PortLostError, SerialPort
from hybridge.runtime.serial_answers import Answers
from hybridge.runtime.wire.desk import Arrival, Desk
from hybridge.runtime.wire.frames import FrameReader
from hybridge.runtime.wire.serial import SerialReply, Status

_log = logging.getLogger(__name__)

#: Most asks that the cloud is asked at once; others are refused at once.
MAX_UNDER_WAY = 8
#: How soon a port that was lost is opened again at first, and at the latest.
_REOPEN_S, _REOPEN_MOST_S = 0.05, 2.0


class Gateway(Closing):
    """Moves bytes between a port and a desk, and asks between the desk and the cloud.

    Args:
        answers: What answers asks; closed together with the gateway.
        clock: The time that ``answers`` goes by.
        most: Most asks under way at once.
        requests: Most requests that are remembered, those under way included.

    Raises `ConfigError` where one of them is not positive.
    """

    def __init__(
        self, answers: Answers, clock: Clock, most: int = MAX_UNDER_WAY, requests: int = 16
    ) -> None:
        if most < 1:
            raise ConfigError(f"expected at least one ask under way at once, got {most}")
        self._answers, self._clock, self._most = answers, clock, most
        self._desk = Desk(max(requests, most))
        self._reader = FrameReader()
        self._workers = ThreadPoolExecutor(most, thread_name_prefix="hybridge-gateway")
        self._under_way: set[int] = set()
        self._done: SimpleQueue[tuple[Arrival, SerialReply]] = SimpleQueue()
        self._counts: Counter[str] = Counter()
        self._statuses: Counter[Status] = Counter()
        self._woken, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._stopped = False

    def run(self, open_port: Callable[[], SerialPort]) -> None:
        """Serve until `stop`. A port that is lost is opened again, however often that takes.

        Raises `ConfigError` where it cannot be opened to begin with.
        """
        port: SerialPort | None = open_port()
        wait_s = _REOPEN_S
        while not self._stopped:
            if port is None:
                port = self._reopened(open_port, wait_s)
                wait_s = min(2 * wait_s, _REOPEN_MOST_S)
                continue
            before = self._counts["bytes_in"]
            with port:
                try:
                    self._serve(port)
                except PortLostError as error:
                    self._counts["port_lost"] += 1
                    _log.warning("%s: %s; opening it again", port.path, error)
            port = None
            if self._counts["bytes_in"] > before:
                wait_s = _REOPEN_S

    def stop(self) -> None:
        """Let `run` return soon; may be called from a signal handler or another thread."""
        self._stopped = True
        self._wake()

    def close(self) -> None:
        """Cancel what is under way, and close the answers; `run` must have returned."""
        self._answers.close()
        self._workers.shutdown(wait=True, cancel_futures=True)
        os.close(self._woken)
        os.close(self._waker)

    def statistics(self) -> dict[str, Any]:
        """Return what has happened so far, as plain data."""
        names = ("bytes_in", "bytes_out", "frames_in", "frames_out", "frames_dropped", "port_lost")
        return {
            **{name: self._counts[name] for name in names},
            "frames_damaged": self._reader.damaged,
            **asdict(self._desk.counts),
            "replies": {status.name.lower(): self._statuses[status] for status in Status},
        }

    def _reopened(self, open_port: Callable[[], SerialPort], wait_s: float) -> SerialPort | None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._woken, selectors.EVENT_READ)
            selector.select(wait_s)
        self._drain()
        self._take_done(None)  # so that what the cloud has answered is there once a port is
        try:
            return None if self._stopped else open_port()
        except ConfigError:
            return None

    def _serve(self, port: SerialPort) -> None:
        """Serve over an open port until `stop`; raises `PortLostError`."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._woken, selectors.EVENT_READ)
            selector.register(port, selectors.EVENT_READ)
            while not self._stopped:
                wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE * port.has_waiting)
                selector.modify(port, wanted)
                for key, events in selector.select():
                    if key.fileobj is not port:
                        self._drain()
                    elif events & selectors.EVENT_READ:
                        self._take(port, port.read())
                self._take_done(port)
                port.write()

    def _take(self, port: SerialPort, data: bytes) -> None:
        self._counts["bytes_in"] += len(data)
        for frame in self._reader.read(data):
            self._counts["frames_in"] += 1
            frames, arrival = self._desk.take(frame, self._clock.now_ms())
            if arrival is not None:  # before anything is sent: the port may be lost at that
                self._begin(port, arrival)
            self._send(port, frames)

    def _begin(self, port: SerialPort, arrival: Arrival) -> None:
        if len(self._under_way) >= self._most:
            self._hand_in(port, arrival, SerialReply(Status.BUSY))
            return
        self._under_way.add(arrival.ticket)
        future = self._workers.submit(self._answers.answer, arrival.ask, arrival.due_ms)
        future.add_done_callback(lambda done: self._finish(arrival, done))

    def _finish(self, arrival: Arrival, done: "Future[SerialReply]") -> None:
        """Note a reply; on a worker's thread."""
        lost = done.cancelled() or done.exception() is not None
        self._done.put((arrival, SerialReply(Status.NO_CLOUD) if lost else done.result()))
        self._wake()

    def _take_done(self, port: SerialPort | None) -> None:
        while not self._done.empty():
            arrival, reply = self._done.get()
            self._under_way.discard(arrival.ticket)
            self._hand_in(port, arrival, reply)

    def _hand_in(self, port: SerialPort | None, arrival: Arrival, reply: SerialReply) -> None:
        self._statuses[reply.status] += 1
        frames = self._desk.hand_in(arrival.ticket, reply)
        if port is not None:
            self._send(port, frames)

    def _send(self, port: SerialPort, frames: list[bytes]) -> None:
        for frame in frames:
            taken = port.write(frame)
            self._counts["frames_out" if taken else "frames_dropped"] += 1
            self._counts["bytes_out"] += len(frame) * taken

    def _wake(self) -> None:
        try:
            os.write(self._waker, b"\0")
        except OSError:  # full, so it is awake; or closed, so there is nobody to wake
            return

    def _drain(self) -> None:
        try:
            while os.read(self._woken, 4096):
                pass
        except BlockingIOError:
            return
