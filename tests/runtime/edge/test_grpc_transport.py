import math
import socket
import threading
import time
from dataclasses import replace

import grpc
import numpy as np
import pytest

from hybridge.codecs.codec import codec_named
from hybridge.errors import ConfigError, RefusedError, TransportError
from hybridge.links.trace import Trace
from hybridge.runtime.cloud.admission import Admission, OverloadedError
from hybridge.runtime.cloud.models import Models
from hybridge.runtime.cloud.server import serving
from hybridge.runtime.edge.grpc import GrpcTransport
from hybridge.runtime.edge.lines import SILENT_CALLS
from hybridge.runtime.edge.shaped import Shaped
from hybridge.runtime.sessions import ProgramSession
from hybridge.runtime.wire import oip
from hybridge.runtime.wire import oip_pb2 as pb
from hybridge.runtime.wire.message import LateError, Message, UnsentError
from hybridge.runtime.wire.trust import open_channel
from tiny_plans import images, pair_programs


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return pair_programs(tmp_path_factory.mktemp("programs"))["global"]


@pytest.fixture(scope="module")
def target(program):
    with serving(Models({"pets": [program]})) as address:
        yield address


def message(served, pixels, codec="raw", **changes):
    tensors = {"pixels": codec_named(codec).encode(pixels)}
    return replace(Message("global", served.sha256, tensors), **changes)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize("codec", ["raw", "webp"])
@pytest.mark.parametrize("batch", [1, 7])
def test_answers_cross_unchanged(program, target, codec, batch):
    asked = message(program, images(batch), codec, left_ms=5000)
    with GrpcTransport(target) as cloud:
        reply = cloud.send(asked, timeout_ms=5000)
    expected = ProgramSession(program).run({"pixels": images(batch)})["logits"]
    np.testing.assert_allclose(reply.tensors["logits"], expected, rtol=1e-4, atol=1e-5)
    assert reply.cloud_ms > 0


def test_one_transport_serves_many_threads(program, target):
    expected = ProgramSession(program)
    wrong = []
    with GrpcTransport(target, timeout_ms=10_000) as cloud:

        def ask(seed):
            for step in range(10):
                pixels = images(1, seed=100 * seed + step)
                logits = cloud.send(message(program, pixels)).tensors["logits"]
                if not np.allclose(logits, expected.run({"pixels": pixels})["logits"], atol=1e-4):
                    wrong.append(seed)

        threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


@pytest.mark.parametrize("timeout_ms", [math.inf, 1e300])
def test_a_limit_without_end_is_a_day(program, target, timeout_ms):
    with GrpcTransport(target, timeout_ms=timeout_ms) as cloud:
        for limit_ms in (None, timeout_ms):
            assert cloud.send(message(program, images(1)), timeout_ms=limit_ms).tensors


def test_a_limit_that_is_no_number_is_refused(target):
    with pytest.raises(ConfigError, match="timeout_ms"):
        GrpcTransport(target, timeout_ms=math.nan)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"sha256": "0" * 64}, "0{64}"),
        ({"program": "other"}, "NOT_FOUND"),
        ({"tensors": {}}, "INVALID_ARGUMENT"),
    ],
)
def test_refusals_are_told_apart(program, target, changes, match):
    with GrpcTransport(target) as cloud, pytest.raises(RefusedError, match=match):
        cloud.send(message(program, images(1), **changes), timeout_ms=5000)


def test_spent_time_is_no_refusal(program, target):
    with GrpcTransport(target) as cloud, pytest.raises(TransportError) as caught:
        cloud.send(message(program, images(1), left_ms=0), timeout_ms=5000)
    assert not isinstance(caught.value, RefusedError)


def test_a_server_s_verdict_on_the_time_is_no_silence(program, target, monkeypatch):
    opened = []

    def counted(*arguments, **more):
        opened.append(arguments)
        return open_channel(*arguments, **more)

    monkeypatch.setattr("hybridge.runtime.edge.grpc.open_channel", counted)
    with GrpcTransport(target) as cloud:
        for _ in range(2 * SILENT_CALLS):
            with pytest.raises(TransportError, match="its time was spent") as caught:
                cloud.send(message(program, images(1), left_ms=0), timeout_ms=5000)
            assert not isinstance(caught.value, LateError | RefusedError)
    assert len(opened) == 1


def test_an_absent_cloud_is_known_at_once(program):
    with GrpcTransport(f"127.0.0.1:{free_port()}", timeout_ms=60_000) as cloud:
        began_s = time.perf_counter()
        with pytest.raises(UnsentError, match="UNAVAILABLE"):
            cloud.send(message(program, images(1)))
        assert time.perf_counter() - began_s < 5


@pytest.mark.parametrize(
    ("details", "unsent"),
    [
        (
            "errors resolving cloud.invalid:8001: [field:hostname lookup error:address lookup "
            "failed for cloud.invalid:8001: Domain name not found]",
            True,
        ),
        ("DNS resolution failed for cloud.invalid:8001: C-ares status is not ARES_SUCCESS", True),
        ("failed to connect to all addresses", True),
        ("Socket closed", False),
    ],
)
def test_what_never_left_is_told_by_grpc_s_own_words(details, unsent):
    class Unavailable:
        def code(self):
            return grpc.StatusCode.UNAVAILABLE

        def details(self):
            return details

    with GrpcTransport("127.0.0.1:1") as cloud:
        error = cloud._translated(Unavailable(), within_ms=50.0, waited_ms=1.0)
    assert isinstance(error, UnsentError) == unsent


def test_a_silent_cloud_is_given_up_at_the_limit(program):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        target = f"127.0.0.1:{silent.getsockname()[1]}"
        with GrpcTransport(target, timeout_ms=60_000) as cloud:
            began_s = time.perf_counter()
            with pytest.raises(LateError):
                cloud.send(message(program, images(1)), timeout_ms=50)
            assert 0.04 < time.perf_counter() - began_s < 2


def test_a_call_given_up_is_cancelled_in_the_cloud(program, monkeypatch):
    gate, begun, sizes = threading.Event(), threading.Event(), []

    class Slow(ProgramSession):
        def run(self, tensors):
            begun.set()
            assert gate.wait(10)
            sizes.append(len(tensors["pixels"]))
            return super().run(tensors)

    monkeypatch.setattr("hybridge.runtime.cloud.models.ProgramSession", Slow)
    with (
        serving(Models({"pets": [program]})) as target,
        GrpcTransport(target, timeout_ms=10_000) as cloud,
    ):
        first = threading.Thread(target=cloud.send, args=(message(program, images(1)),))
        first.start()
        assert begun.wait(10)
        for rows in (2, 3):  # they wait behind the first
            with pytest.raises(TransportError, match="50 ms"):
                cloud.send(message(program, images(rows)), timeout_ms=50)
        with pytest.raises(RefusedError):  # by its answer, the cloud has heard the rest
            cloud.send(message(program, images(1), program="other"))
        gate.set()
        first.join()
        cloud.send(message(program, images(4)))
    assert sizes == [1, 4]


def test_a_cloud_that_comes_back_is_found_again(program):
    models = Models({"pets": [program]})
    port = free_port()
    with GrpcTransport(f"127.0.0.1:{port}") as cloud:
        for _ in range(2):
            with pytest.raises(TransportError):
                cloud.send(message(program, images(1)))
            with serving(models, port=port):
                assert answers_within(cloud, message(program, images(1)), limit_s=10)


def answers_within(cloud, asked, limit_s):
    ends_s = time.perf_counter() + limit_s
    while time.perf_counter() < ends_s:
        try:
            return cloud.send(asked)
        except TransportError:
            time.sleep(0.01)
    return None


def test_closed_sends_no_more(program, target):
    cloud = GrpcTransport(target)
    cloud.close()
    with pytest.raises(TransportError, match="closed"):
        cloud.send(message(program, images(1)))


def test_a_server_may_have_names_and_versions_of_its_own(program, monkeypatch):
    seen = []

    def triton(kind, answer):
        async def handle(data, context):
            request = pb.ModelInferRequest.FromString(data)
            seen.append((request.model_name, request.model_version, oip.program_hash(request)))
            logits = np.zeros((1, 3), np.float32)
            response = oip.to_response(
                {"logits": logits, "more": logits}, program="", sha256="", id_="", cloud_ms=-1
            )
            del response.parameters["sha256"]
            return response.SerializeToString()

        return grpc.unary_unary_rpc_method_handler(handle)

    monkeypatch.setattr("hybridge.runtime.cloud.server._handler", triton)
    with (
        serving(Models({"pets": [program]})) as target,
        GrpcTransport(target, 5000, names={"global": "resnet"}, version="1") as cloud,
    ):
        assert set(cloud.send(message(program, images(1))).tensors) == {"logits", "more"}
    assert seen == [("resnet", "1", program.sha256)]


def test_names_and_hashes_are_understood_by_our_own_server(program, target):
    with GrpcTransport(target, 5000, names={"global": "pets/global"}, version="") as cloud:
        assert cloud.send(message(program, images(1))).tensors
        with pytest.raises(RefusedError, match=r"0{64}"):
            cloud.send(message(program, images(1), sha256="0" * 64))


def test_a_reply_of_another_version_is_a_failure(program, monkeypatch):
    response = oip.to_response({}, program="", sha256="b" * 64, id_="", cloud_ms=0)
    monkeypatch.setattr(
        "hybridge.runtime.cloud.server._handler",
        _handler_that_answers(response.SerializeToString()),
    )
    with (
        serving(Models({"pets": [program]})) as other,
        GrpcTransport(other) as cloud,
        pytest.raises(TransportError, match="another version of 'global'"),
    ):
        cloud.send(message(program, images(1)), timeout_ms=5000)


def test_a_reply_that_is_damaged_is_a_transport_error(program, target, monkeypatch):
    monkeypatch.setattr(
        "hybridge.runtime.cloud.server._handler", _handler_that_answers(b"\xff\xff")
    )
    with (
        serving(Models({"pets": [program]})) as broken,
        GrpcTransport(broken) as cloud,
        pytest.raises(TransportError, match="damaged"),
    ):
        cloud.send(message(program, images(1)), timeout_ms=5000)


def _handler_that_answers(data):
    async def handle(request, context):
        return data

    return lambda kind, answer: grpc.unary_unary_rpc_method_handler(handle)


def test_shaped_over_real_sockets_is_late_and_right(program, target):
    with Shaped(GrpcTransport(target), Trace.constant(8e6), rtt_ms=10) as cloud:
        began_s = time.perf_counter()
        reply = cloud.send(message(program, images(100)), timeout_ms=5000)
        assert time.perf_counter() - began_s >= (4800 / 1000 + 10) / 1e3
        assert len(reply.tensors["logits"]) == 100


def test_a_refusal_says_when_to_ask_again(program, target, monkeypatch):
    def refuse(self, rows, expires_at_s):
        raise OverloadedError("busy", 0.25)

    with GrpcTransport(target) as cloud:
        with pytest.raises(RefusedError) as caught:
            cloud.send(message(program, images(1), program="other"), timeout_ms=5000)
        assert caught.value.retry_after_ms is None
        monkeypatch.setattr(Admission, "_check", refuse)
        with pytest.raises(RefusedError) as caught:
            cloud.send(message(program, images(1)), timeout_ms=5000)
        assert caught.value.retry_after_ms == 250
