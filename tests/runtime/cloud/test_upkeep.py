"""What those who watch over a server are told: over HTTP, and in its journal."""

import asyncio
import io
import json
import logging
import socket
import sys
import urllib.error
import urllib.request
from http import HTTPStatus

import pytest

from hybridge.codecs.codec import codec_named
from hybridge.errors import ConfigError, HybridgeError, MissingExtraError
from hybridge.runtime.cloud import journal
from hybridge.runtime.cloud.journal import Journal, JsonLines, tell
from hybridge.runtime.cloud.listener import Outcome
from hybridge.runtime.cloud.models import Models
from hybridge.runtime.cloud.service import CloudService
from hybridge.runtime.cloud.upkeep import Upkeep, keeping
from hybridge.runtime.cloud.watchtower import Watchtower
from hybridge.runtime.wire.message import Message
from tiny_plans import images, pair_programs

pytest.importorskip("prometheus_client")


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return pair_programs(tmp_path_factory.mktemp("programs"))["global"]


def asked(program, **changes):
    tensors = {"pixels": codec_named("raw").encode(images(1))}
    return Message(changes.get("name", "global"), program.sha256, tensors, changes.get("left_ms"))


def fetch(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def numbers(page):
    """The page's numbers by name and labels, in whatever order the labels come."""
    found = {}
    for line in page.splitlines():
        if not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            found[_key(name)] = float(value)
    return found


def _key(name):
    bare, _, labels = name.rstrip("}").partition("{")
    return bare, frozenset(labels.split(","))


def scenario(program, ask):
    async def all_of_it():
        service = CloudService(Models({"pets": [program]}))
        async with keeping(service, Upkeep(metrics_port=0)) as keeper:
            result = await ask(service, keeper.metrics_port)
            await service.close()
            return result

    return asyncio.run(asyncio.wait_for(all_of_it(), 20))


def test_requests_are_counted_by_program_and_status(program):
    async def ask(service, port):
        for _ in range(3):
            await service.infer(asked(program))
        for bad in ({"name": "x" * 50}, {"left_ms": 0}):
            with pytest.raises(HybridgeError):
                await service.infer(asked(program, **bad))
        return await asyncio.to_thread(fetch, port, "/metrics")

    status, page = scenario(program, ask)
    assert status == 200
    found = numbers(page)
    label = f'program="global",version="{program.sha256[:12]}"'
    assert found[_key(f'hybridge_requests_total{{{label},status="OK"}}')] == 3
    assert found[_key(f'hybridge_requests_total{{{label},status="DEADLINE_EXCEEDED"}}')] == 1
    assert found[_key('hybridge_requests_total{program="",status="NOT_FOUND",version=""}')] == 1
    assert found[_key(f"hybridge_expired_total{{{label}}}")] == 1
    assert found[_key(f"hybridge_waiting_rows{{{label}}}")] == 0
    assert found[_key(f"hybridge_batch_rows_sum{{{label}}}")] == 3
    for part in ("queue", "run", "all"):
        assert found[_key(f'hybridge_request_seconds_count{{part="{part}",{label}}}')] == 3
    assert "xxx" not in page


def test_what_is_shed_is_counted(program):
    async def ask(service, port):
        batcher = service._batchers[program.sha256]
        with batcher.admission.place(1024), pytest.raises(HybridgeError):
            await service.infer(asked(program))
        return await asyncio.to_thread(fetch, port, "/metrics")

    found = numbers(scenario(program, ask)[1])
    assert (
        found[_key(f'hybridge_shed_total{{program="global",version="{program.sha256[:12]}"}}')] == 1
    )


def test_health_and_readiness(program):
    async def ask(service, port):
        before = [
            await asyncio.to_thread(fetch, port, path) for path in ("/healthz", "/readyz", "/other")
        ]
        service.draining = True
        after = [await asyncio.to_thread(fetch, port, path) for path in ("/healthz", "/readyz")]
        return [status for status, _ in before], [status for status, _ in after]

    assert scenario(program, ask) == ([200, 200, 404], [200, 503])


def test_a_port_in_use_is_named(program):
    async def ask(service, port):
        with pytest.raises(ConfigError, match=f"port {port}"):
            async with keeping(service, Upkeep(metrics_port=port)):
                pass

    scenario(program, ask)


def test_no_name_service_is_asked_who_this_machine_is(monkeypatch):
    def getfqdn(name=""):
        raise AssertionError("the name service was asked")

    monkeypatch.setattr(socket, "getfqdn", getfqdn)
    with Watchtower("127.0.0.1", 0, {"/": lambda: (HTTPStatus.OK, b"here")}) as tower:
        assert fetch(tower.port, "/") == (200, "here")


def test_without_the_extra_it_is_named(program, monkeypatch):
    monkeypatch.setitem(sys.modules, "prometheus_client", None)

    async def ask(service, port):
        pass

    with pytest.raises(MissingExtraError, match=r"hybridge\[serve\]"):
        scenario(program, ask)


@pytest.mark.parametrize("settings", [{"keep_old_s": -1.0}, {"slow_ms": float("nan")}])
def test_impossible_settings_are_refused(settings):
    with pytest.raises(ConfigError, match=next(iter(settings))):
        Upkeep(**settings)


@pytest.fixture
def lines():
    """What is logged as JSON, read back."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("hybridge")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    logger.removeHandler(handler)
    logger.setLevel(level)


def test_events_are_lines_of_json(lines):
    tell("started", port=8001)
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logging.getLogger("hybridge.anything").exception("a request failed")
    event, failure = lines()
    assert (event["event"], event["level"], event["port"]) == ("started", "info", 8001)
    assert event["time_s"] > 1e9
    assert (failure["event"], failure["text"]) == ("log", "a request failed")
    assert failure["error"] == "ValueError: two\nlines"


def test_a_flood_of_refusals_is_no_flood_of_lines(lines, monkeypatch, program):
    monkeypatch.setattr(journal, "_EVERY_S", 3600.0)
    listener = Journal()
    for _ in range(1000):
        listener.on_outcome(Outcome(program, "RESOURCE_EXHAUSTED", rows=1, shed=True))
    monkeypatch.setattr(journal, "_EVERY_S", 0.0)
    listener.on_outcome(Outcome(program, "RESOURCE_EXHAUSTED", rows=1, shed=True))
    assert [line["count"] for line in lines()] == [1, 1000]


def test_slow_requests_are_told_of_with_their_parts(lines, program):
    listener = Journal(slow_ms=100)
    listener.on_outcome(Outcome(program, "OK", 2, cloud_ms=99))
    listener.on_outcome(Outcome(program, "OK", 2, cloud_ms=150, queue_ms=140, run_ms=9))
    (line,) = lines()
    assert (line["event"], line["program"], line["rows"]) == ("slow", "global", 2)
    assert (line["cloud_ms"], line["queue_ms"], line["run_ms"]) == (150, 140, 9)
