"""Others who ask the same server, all at once and again and again."""

import threading

from hybridge.closing import Closing
from hybridge.codecs.codec import codec_named
from hybridge.errors import TransportError
from hybridge.plan.bundle import load_bundle
from hybridge.runtime.edge.grpc import GrpcTransport
from hybridge.runtime.wire.message import Message
from outages.bundles import Stage

#: So many wait at the server that whoever has a deadline would be late.
_OTHERS = 48


class Crowd(Closing):
    """Threads that ask for one row each, without a deadline, from when they come until they leave.

    Args:
        stage: What they ask.
        port: Where the server listens.
    """

    def __init__(self, stage: Stage, port: int) -> None:
        program = load_bundle(stage.bundle).plan.programs["global"]
        tensors = {"x": codec_named("raw").encode(stage.inputs[:1])}
        self._message = Message(program.name, program.sha256, tensors)
        self._cloud = GrpcTransport(f"127.0.0.1:{port}", timeout_ms=10_000)
        self._gone = threading.Event()
        self._threads: list[threading.Thread] = []

    def come(self) -> None:
        """Begin to ask."""
        self._threads = [threading.Thread(target=self._ask) for _ in range(_OTHERS)]
        for thread in self._threads:
            thread.start()

    def leave(self) -> None:
        """Ask no more; returns once all that was asked has come back."""
        self._gone.set()
        for thread in self._threads:
            thread.join()

    def close(self) -> None:
        """Leave."""
        self.leave()
        self._cloud.close()

    def _ask(self) -> None:
        while not self._gone.is_set():
            try:
                self._cloud.send(self._message)
            except TransportError:  # asked too much, too
                self._gone.wait(0.1)
