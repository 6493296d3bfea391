"""The service as Ray Serve runs it: a replica alone, and a whole cluster where it is installed."""

import asyncio
import json
import signal
import subprocess
import sys
from unittest.mock import MagicMock

import grpc
import pytest

from hybridge.codecs.codec import codec_named
from hybridge.errors import ConfigError, MissingExtraError
from hybridge.plan.bundle import save_bundle
from hybridge.runtime.cloud.batcher import Batching
from hybridge.runtime.cloud.models import Models
from hybridge.runtime.cloud.protocol import METHODS
from hybridge.runtime.cloud.ray import OnRay, Replica, add_methods, serve_on_ray
from hybridge.runtime.edge.edge import EdgeRuntime
from hybridge.runtime.edge.grpc import GrpcTransport
from hybridge.runtime.wire import checksum, oip
from hybridge.runtime.wire import oip_pb2 as pb
from hybridge.runtime.wire.message import Message
from tiny_plans import images, pair_plan, pair_programs


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return pair_programs(tmp_path_factory.mktemp("programs"))["global"]


class Context:
    """Notes what Ray would send."""

    code, details, trailing = None, "", ()

    def set_code(self, code):
        self.code = code

    def set_details(self, details):
        self.details = details

    def set_trailing_metadata(self, metadata):
        self.trailing = metadata


def request(program, **changes):
    tensors = {"pixels": codec_named("webp").encode(images(2))}
    message = Message("global", changes.get("sha256", program.sha256), tensors)
    sealed = oip.to_request(message)
    checksum.seal_request(sealed)
    return sealed.SerializeToString()


def ask(program, data):
    async def scenario():
        context = Context()
        replica = Replica(lambda: Models({"pets": [program]}), Batching())
        return await replica.ModelInfer(data, context), context

    return asyncio.run(scenario())


def test_a_replica_answers_as_a_server_does(program):
    response, context = ask(program, request(program))
    assert (context.code, context.details) == (None, "")
    assert list(response.outputs[0].shape) == [2, 3]


def test_a_replica_refuses_by_status_and_raises_nothing(program):
    response, context = ask(program, request(program, sha256="0" * 64))
    assert context.code is grpc.StatusCode.FAILED_PRECONDITION
    assert program.sha256 in context.details
    assert response == pb.ModelInferResponse()
    assert ask(program, b"\xff\xff")[1].code is grpc.StatusCode.INVALID_ARGUMENT


def test_a_replica_keeps_a_journal(program, caplog):
    async def scenario():
        replica = Replica(lambda: Models({"pets": [program]}), Batching(), slow_ms=0.0)
        await replica.ModelInfer(request(program), Context())
        await replica.ModelInfer(request(program, sha256="0" * 64), Context())

    with caplog.at_level("INFO", "hybridge.cloud"):
        asyncio.run(scenario())
    events = {record.event: record.fields for record in caplog.records}
    assert events["slow"]["program"] == "global"
    assert events["refused"]["status"] == "FAILED_PRECONDITION"


@pytest.fixture
def handlers():
    """Put signal handlers back as they were, and survive SIGHUP meanwhile."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_told_to_read_again_it_says_that_it_does_not_and_goes_on(monkeypatch, handlers, caplog):
    module = "hybridge.runtime.cloud.ray"
    monkeypatch.setattr(f"{module}._ray", lambda: (MagicMock(), MagicMock()))

    def ready():
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGTERM)

    serve_on_ray(lambda: None, ready=ready)
    assert [record.event for record in caplog.records] == ["not reloaded"]
    assert "start the service again" in caplog.text


def test_a_proxy_learns_every_method_and_moves_bytes(program):
    class Proxy:
        def add_generic_rpc_handlers(self, handlers):
            (self.handler,) = handlers

    proxy = Proxy()
    add_methods(Replica(lambda: Models({"pets": [program]}), Batching()), proxy)

    class Call:
        invocation_metadata = ()

    for method in METHODS:
        Call.method = f"/{oip.SERVICE}/{method}"
        assert proxy.handler.service(Call).request_deserializer is bytes


@pytest.mark.parametrize("settings", [{"replicas": 0}, {"cores": 0.0}])
def test_impossible_settings_are_refused(settings):
    with pytest.raises(ConfigError, match="replicas"):
        OnRay(**settings)


def test_without_the_extra_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"hybridge\[ray\]"):
        serve_on_ray(lambda: None)


@pytest.mark.slow
def test_a_cluster_of_one_machine(tmp_path, unused_port):
    pytest.importorskip("ray.serve")
    bundle = save_bundle(pair_plan(tmp_path), tmp_path / "bundle")
    arguments = ["serve", bundle.path, "--engine", "ray", "--insecure", "--port", unused_port]
    command = [sys.executable, "-m", "hybridge", *map(str, arguments)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            ready = process.stdout.readline()
            if not ready and "timed out during startup" in (said := process.stderr.read()):
                pytest.skip(f"this machine is too busy for Ray: {said}")
            assert json.loads(ready)["programs"] == ["bundle/global", "global"]
            process.send_signal(signal.SIGHUP)
            cloud = GrpcTransport(f"127.0.0.1:{unused_port}", timeout_ms=20_000)
            with EdgeRuntime(bundle, cloud) as edge:
                answers = edge.predict_batch(list(images(8)))
            assert {answer.source for answer in answers} == {"edge", "cloud"}
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
            assert "not reloaded" in process.stderr.read()
        finally:
            process.kill()


@pytest.fixture
def unused_port():
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
