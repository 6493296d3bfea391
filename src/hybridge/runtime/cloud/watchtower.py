"""A port for those who watch over a server: ``/metrics``, ``/healthz`` and ``/readyz``."""

from collections.abc import Callable, Mapping
from http import HTTPStatus

from hybridge.closing import Closing
from hybridge.http import HttpServer, QuietHandler

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
        self._server = HttpServer(host, port, _handler(pages), "metrics")
        self.port: int = self._server.port

    def close(self) -> None:
        """Stop listening."""
        self._server.close()


def _handler(pages: Mapping[str, Page]) -> type[QuietHandler]:
    class Handler(QuietHandler):
        #: How long a reader may take over its request.
        timeout = 5.0

        def do_GET(self) -> None:
            page = pages.get(self.path.partition("?")[0])
            missing = HTTPStatus.NOT_FOUND, f"there are {', '.join(pages)}\n".encode()
            status, content = page() if page is not None else missing
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    return Handler
