"""The live page over HTTP: what it answers, and whom."""

import json
import socket
import threading
from http.client import HTTPConnection

import pytest
from live_log import KEPT, SENT, write

from hybridge.errors import ConfigError, DataError
from hybridge.plan.log import DecisionLog
from hybridge.report.live import LiveView
from hybridge.report.watch import Dashboard

PICTURE = b"\x89PNG\r\n\x1a\n and so on"


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "log.jsonl"
    write(path, KEPT, SENT)
    return path


@pytest.fixture
def shown(log, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    (images / "00000001.png").write_bytes(PICTURE)
    with Dashboard(LiveView(log).state, images, every_s=0.02) as dashboard:
        yield dashboard


def ask(dashboard, path, method="GET", **headers):
    connection = HTTPConnection("127.0.0.1", dashboard.port, timeout=10)
    try:
        connection.request(method, path, headers=headers)
        reply = connection.getresponse()
        return reply.status, reply.headers, reply.read()
    finally:
        connection.close()


def test_the_page_needs_nothing_from_elsewhere(shown):
    status, headers, content = ask(shown, "/")
    page = content.decode()
    assert status == 200
    assert "%%" not in page
    for elsewhere in ("http://", "https://", "//cdn", "@import"):
        assert elsewhere not in page.replace("http://www.w3.org/2000/svg", "")
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    nonce = policy.partition("'nonce-")[2].partition("'")[0]
    assert page.count(f'<script nonce="{nonce}">') == page.count("<script") == 1
    assert ask(shown, "/")[1]["Content-Security-Policy"] != policy


def test_the_state_comes_once(shown):
    status, headers, content = ask(shown, "/state.json")
    state = json.loads(content)
    assert (status, headers["Cache-Control"]) == (200, "no-store")
    assert [each["source"] for each in state["requests"]] == ["edge", "cloud"]


def test_the_state_comes_as_a_stream(shown, log):
    connection = HTTPConnection("127.0.0.1", shown.port, timeout=10)
    connection.request("GET", "/events")
    stream = connection.getresponse()
    assert stream.headers["Content-Type"] == "text/event-stream"

    def told():
        line = stream.readline()
        assert (line[:6], stream.readline()) == (b"data: ", b"\n")
        return json.loads(line[6:])["seen"]

    assert told() == 2
    write(log, SENT)
    assert told() == 3
    connection.close()


def test_a_stream_does_not_keep_it_from_ending(log):
    dashboard = Dashboard(LiveView(log).state)
    with socket.create_connection(("127.0.0.1", dashboard.port), timeout=10) as reader:
        reader.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert reader.recv(1)
        closing = threading.Thread(target=dashboard.close, daemon=True)
        closing.start()
        closing.join(5)
        assert not closing.is_alive()


def test_pictures_are_those_of_the_folder(shown, tmp_path):
    (tmp_path / "secret.png").write_bytes(PICTURE)
    status, headers, content = ask(shown, "/images/00000001.png")
    assert (status, headers["Content-Type"], content) == (200, "image/png", PICTURE)
    for path in (
        "/images/00000002.png",
        "/images/../secret.png",
        "/images/%2e%2e%2fsecret.png",
        "/images/",
        "/../log.jsonl",
        "/log.jsonl",
    ):
        assert ask(shown, path)[0] == 404


def test_pictures_are_shown_only_where_told(log):
    with Dashboard(LiveView(log).state) as dashboard:
        assert ask(dashboard, "/images/00000001.png")[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_can_be_changed(shown, method):
    assert ask(shown, "/", method)[0] == 501


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST.:80", 200),
        ("127.0.0.1:80", 200),
        ("[::1]:80", 200),
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example:80", 403),
        ("", 403),
    ],
)
def test_pages_from_elsewhere_read_nothing_under_a_name_of_their_own(shown, host, status):
    assert ask(shown, "/state.json", Host=host)[0] == status


@pytest.mark.parametrize("host", ["LOCALHOST", "127.0.0.2"])
def test_loopback_is_known_by_each_of_its_names(log, host):
    with Dashboard(LiveView(log).state, host=host) as dashboard:
        assert dashboard.only_loopback


def test_what_cannot_be_read_is_told():
    def broken():
        raise DataError("cannot read it")

    with Dashboard(broken) as dashboard:
        assert json.loads(ask(dashboard, "/state.json")[2]) == {"fault": "cannot read it"}


def test_a_port_that_is_taken_is_named(shown):
    with pytest.raises(ConfigError, match=f"port {shown.port} of 127.0.0.1"):
        Dashboard(dict, port=shown.port)


@pytest.mark.parametrize("time_s", [float("nan"), float("inf")])
def test_a_line_with_an_odd_time_is_shown_all_the_same(tmp_path, time_s):
    path = tmp_path / "log.jsonl"
    with DecisionLog(path) as log:
        log.append(KEPT, time_s, 0)
        log.append(SENT, 2.0, 0)
        log.append(KEPT, time_s, 0)
    with Dashboard(LiveView(path).state) as dashboard:
        state = json.loads(ask(dashboard, "/state.json")[2])
    assert [each["time_s"] for each in state["requests"]] == [None, 2.0, None]


def test_what_cannot_be_shown_ends_no_stream(tmp_path):
    def state():
        raise OverflowError("too large")

    with Dashboard(state) as dashboard:
        assert "too large" in json.loads(ask(dashboard, "/state.json")[2])["fault"]
