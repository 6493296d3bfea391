"""A port for those who watch over a server: ``/metrics``, ``/healthz`` and ``/readyz``."""

import socket
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from hybridge.closing import Closing
from hybridge.errors import ConfigError

#: Returns a status and a page.
Page = Callable[[], tuple[HTTPStatus, bytes]]


class Watchtower(Closing):
    """Answers GET over HTTP, on threads of its own, until it is closed.

    Args:
        host: Address to listen at.
        port: Port to listen at; 0 for any that is free.
        pages: What is answered, by path.

    Attributes:
        port: The port that it listens at.

    Raises `ConfigError` where it cannot listen there.
    """

    def __init__(self, host: str, port: int, pages: Mapping[str, Page]) -> None:
        kind = _Server6 if ":" in host else _Server
        try:
            self._server = kind((host, port), _handler(pages))
        except OSError as error:
            raise ConfigError(
                f"cannot listen on port {port} of {host} for metrics: {error.strerror or error}; "
                "choose another port, or 0 for any that is free"
            ) from error
        self.port: int = self._server.server_address[1]
        self._thread = Thread(target=self._server.serve_forever, name="hybridge-watchtower")
        self._thread.daemon = True
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # A reader that hangs must not keep the server from ending.
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a reader that goes away is no event."""


class _Server6(_Server):
    address_family = socket.AF_INET6


def _handler(pages: Mapping[str, Page]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        #: How long a reader may take over its request.
        timeout = 5.0
        server_version = "hybridge"
        sys_version = ""

        def do_GET(self) -> None:
            page = pages.get(self.path.partition("?")[0])
            missing = HTTPStatus.NOT_FOUND, f"there are {', '.join(pages)}\n".encode()
            status, content = page() if page is not None else missing
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: Any) -> None:
            """Write nothing down: it is asked every few seconds."""

    return Handler
