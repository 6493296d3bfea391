"""A live page over HTTP: the page, its state once and as a stream, and pictures."""

import json
import re
import secrets
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from importlib.resources import files
from pathlib import Path
from threading import Event
from typing import Any

from hybridge import __version__
from hybridge.closing import Closing
from hybridge.errors import HybridgeError
from hybridge.http import HttpServer, QuietHandler
from hybridge.loopback import is_loopback
from hybridge.report.style import style_sheet

_PICTURE = re.compile(r"/images/([0-9A-Za-z_-]{1,64}\.png)")
_HOST = re.compile(r"(localhost\.?|127(?:\.\d{1,3}){3}|\[::1\])(?::\d+)?", re.IGNORECASE)
#: A stream that has nothing to say says so, lest it be taken for dead.
_SILENT_S = 10.0


class Dashboard(Closing):
    """Shows a state to whoever opens the page, on threads of its own, until it is closed.

    On a loopback address only requests that name one are answered, so that no page from elsewhere
    can read along under a name of its own.

    Args:
        state: Returns what is shown, as plain data; a `HybridgeError` it raises is shown instead.
        images: Folder of the pictures, or None.
        host: Address to listen at.
        port: Port to listen at; 0 for any that is free.
        every_s: How often a stream looks for news.

    Attributes:
        port: The port that it listens at.

    Raises:
        ConfigError: It cannot listen there.
    """

    def __init__(
        self,
        state: Callable[[], dict[str, Any]],
        images: Path | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        every_s: float = 1.0,
    ) -> None:
        self.state, self.images, self.every_s = state, images, every_s
        self.only_loopback = is_loopback(host)
        self.ended = Event()
        self._server = HttpServer(host, port, partial(_Handler, self), "the page")
        self.port: int = self._server.port

    def told(self) -> bytes:
        """Return the state as one line of JSON."""
        try:
            return json.dumps(self.state(), allow_nan=False).encode()
        except HybridgeError as error:
            return json.dumps({"fault": str(error)}).encode()
        except (ValueError, ArithmeticError) as error:  # a stream must not end for one odd line
            return json.dumps({"fault": f"the state cannot be shown: {error}"}).encode()

    def close(self) -> None:
        """End all streams and stop listening."""
        self.ended.set()
        self._server.close()


def page(nonce: str) -> str:
    """Return the page, whose one script runs by ``nonce``."""
    source = files("hybridge.report").joinpath("live.html").read_text(encoding="utf-8")
    for name, value in (("inks", style_sheet()), ("nonce", nonce), ("version", __version__)):
        source = source.replace(f"%%{name}%%", value)
    return source


class _Handler(QuietHandler):
    #: How long a reader may take over its request.
    timeout = 10.0

    def __init__(self, dashboard: Dashboard, *request: Any) -> None:
        self._dashboard = dashboard
        super().__init__(*request)  # which answers

    def do_GET(self) -> None:
        dashboard = self._dashboard
        path = self.path.partition("?")[0]
        picture = _PICTURE.fullmatch(path)
        if dashboard.only_loopback and not _HOST.fullmatch(self.headers.get("Host", "")):
            self._send(HTTPStatus.FORBIDDEN, "text/plain", b"this page is for this machine\n")
        elif path == "/":
            self._send_page()
        elif path == "/state.json":
            self._send(HTTPStatus.OK, "application/json", dashboard.told())
        elif path == "/events":
            self._stream(dashboard)
        elif picture is not None and dashboard.images is not None:
            self._send_picture(dashboard.images / picture[1])
        else:
            self._send(HTTPStatus.NOT_FOUND, "text/plain", b"there is nothing here\n")

    def _send_page(self) -> None:
        nonce = secrets.token_urlsafe(16)
        policy = (
            f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'unsafe-inline'; "
            "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'"
        )
        self._send(
            HTTPStatus.OK,
            "text/html; charset=utf-8",
            page(nonce).encode(),
            {"Content-Security-Policy": policy},
        )

    def _send_picture(self, path: Path) -> None:
        try:
            content = path.read_bytes()
        except OSError:
            self._send(HTTPStatus.NOT_FOUND, "text/plain", b"that picture is gone\n")
            return
        # A name never comes back with another picture.
        keep = {"Cache-Control": "private, max-age=3600, immutable"}
        self._send(HTTPStatus.OK, "image/png", content, keep)

    def _stream(self, dashboard: Dashboard) -> None:
        self._begin(HTTPStatus.OK, "text/event-stream", {})
        before, silent_s = b"", 0.0
        while not dashboard.ended.is_set():
            now = dashboard.told()
            if now != before:
                self.wfile.write(b"data: " + now + b"\n\n")
                before, silent_s = now, 0.0
            elif silent_s >= _SILENT_S:
                self.wfile.write(b": nothing new\n\n")
                silent_s = 0.0
            dashboard.ended.wait(dashboard.every_s)
            silent_s += dashboard.every_s

    def _send(
        self,
        status: HTTPStatus,
        kind: str,
        content: bytes,
        more: dict[str, str] | None = None,
    ) -> None:
        self._begin(status, kind, {"Content-Length": str(len(content)), **(more or {})})
        self.wfile.write(content)

    def _begin(self, status: HTTPStatus, kind: str, more: dict[str, str]) -> None:
        self.send_response(status)
        headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", **more}
        for name, value in {"Content-Type": kind, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
