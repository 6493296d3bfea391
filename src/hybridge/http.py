"""A small HTTP server for those who watch: on threads of its own, asking no name service."""

import socket
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from threading import Thread
from typing import Any

from hybridge.closing import Closing
from hybridge.errors import ConfigError

#: How long it may take to see that it is to end.
_LEAVES_WITHIN_S = 0.1


class HttpServer(Closing):
    """Answers requests until it is closed.

    Args:
        host: Address to listen at.
        port: Port to listen at; 0 for any that is free.
        handler: Makes what answers a request, as `http.server` has it.
        purpose: What is served, for messages.

    Attributes:
        port: The port that it listens at.

    Raises `ConfigError` where it cannot listen there.
    """

    def __init__(
        self, host: str, port: int, handler: Callable[..., BaseHTTPRequestHandler], purpose: str
    ) -> None:
        try:
            self._server = _Server(host, port, handler)
        except OSError as error:
            raise ConfigError(
                f"cannot listen on port {port} of {host} for {purpose}: {error.strerror or error}; "
                "choose another port, or 0 for any that is free"
            ) from error
        self.port: int = self._server.server_address[1]
        self._thread = Thread(
            target=self._server.serve_forever, args=(_LEAVES_WITHIN_S,), name="hybridge-http"
        )
        self._thread.daemon = True
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class QuietHandler(BaseHTTPRequestHandler):
    """Answers a request without a line in the log, nor a word of Python's version."""

    server_version = "hybridge"
    sys_version = ""

    def log_message(self, format: str, *arguments: Any) -> None:
        """Write nothing down: who watches asks all the time."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # A reader that hangs must not keep the server from ending.
    block_on_close = False

    def __init__(
        self, host: str, port: int, handler: Callable[..., BaseHTTPRequestHandler]
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), handler)

    def server_bind(self) -> None:
        """Bind, without asking the name service who this machine is."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a reader that goes away is no event."""
