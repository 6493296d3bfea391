"""The server over real sockets, asked by hand and by no client of our own."""

import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import grpc
import numpy as np
import pytest

import hybridge
from hybridge.codecs.codec import codec_named
from hybridge.errors import ConfigError
from hybridge.runtime.cloud.batcher import Batching
from hybridge.runtime.cloud.models import Models
from hybridge.runtime.cloud.server import serving
from hybridge.runtime.sessions import ProgramSession
from hybridge.runtime.wire import oip
from hybridge.runtime.wire import oip_pb2 as pb
from tiny_plans import images, pair_programs


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return pair_programs(tmp_path_factory.mktemp("programs"))["global"]


@pytest.fixture(scope="module")
def target(program):
    with serving(Models({"pets": [program]})) as address:
        yield address


@pytest.fixture
def channel(target):
    with grpc.insecure_channel(target) as opened:
        yield opened


def call(channel, method, request, response=None):
    ask = channel.unary_unary(
        f"/inference.GRPCInferenceService/{method}",
        request_serializer=bytes,
        response_deserializer=response.FromString if response else bytes,
    )
    data = request if isinstance(request, bytes) else request.SerializeToString()
    return ask(data, timeout=10)


def refusal(channel, request):
    with pytest.raises(grpc.RpcError) as caught:
        call(channel, "ModelInfer", request)
    return caught.value.code().name, caught.value.details()


def infer_request(pixels, **fields):
    request = pb.ModelInferRequest(model_name="global", **fields)
    request.inputs.add(name="pixels", datatype="UINT8", shape=pixels.shape)
    request.raw_input_contents.append(pixels.tobytes())
    return request


def field(number, payload):
    """Return a length-delimited protobuf field of fewer than 128 bytes, by hand."""
    return bytes([number << 3 | 2, len(payload)]) + payload


def test_health_and_metadata(channel, program):
    assert call(channel, "ServerLive", b"", pb.ServerLiveResponse).live
    assert call(channel, "ServerReady", b"", pb.ServerReadyResponse).ready
    server = call(channel, "ServerMetadata", b"", pb.ServerMetadataResponse)
    assert (server.name, server.version) == ("hybridge", hybridge.__version__)
    for name, version, ready in [
        ("global", "", True),
        ("pets/global", program.sha256, True),
        ("global", "0" * 64, False),
        ("other", "", False),
    ]:
        asked = pb.ModelReadyRequest(name=name, version=version)
        assert call(channel, "ModelReady", asked, pb.ModelReadyResponse).ready is ready
    model = call(
        channel, "ModelMetadata", pb.ModelMetadataRequest(name="global"), pb.ModelMetadataResponse
    )
    assert list(model.versions) == [program.sha256]
    assert (model.inputs[0].name, model.inputs[0].datatype) == ("pixels", "UINT8")
    assert list(model.inputs[0].shape) == [-1, 4, 4, 3]
    assert (model.outputs[0].name, list(model.outputs[0].shape)) == ("logits", [-1, 3])


def test_a_request_written_by_hand_is_answered(channel, program):
    pixels = images(1)
    tensor = field(1, b"pixels") + field(2, b"UINT8") + field(3, bytes([1, 4, 4, 3]))
    request = (
        field(1, b"global")
        + field(3, b"id-1")
        + field(5, tensor)
        + field(6, field(1, b"logits"))
        + field(7, pixels.tobytes())
    )
    data = call(channel, "ModelInfer", request)
    expected = ProgramSession(program).run({"pixels": pixels})["logits"]
    response = pb.ModelInferResponse.FromString(data)
    np.testing.assert_allclose(
        np.frombuffer(response.raw_output_contents[0], np.float32), expected[0], rtol=1e-4
    )
    output = field(1, b"logits") + field(2, b"FP32") + field(3, bytes([1, 3]))
    for part in (
        field(1, b"global"),
        field(2, program.sha256.encode()),
        field(3, b"id-1"),
        field(5, output),
        field(6, response.raw_output_contents[0]),
    ):
        assert part in data


def test_encoded_inputs_are_answered(channel, program):
    pixels = images(2)
    request = pb.ModelInferRequest(model_name="global", model_version=program.sha256)
    tensor = request.inputs.add(name="pixels", datatype="BYTES", shape=[2])
    tensor.parameters["codec"].string_param = "webp"
    payload = codec_named("webp").encode(pixels).payload
    request.raw_input_contents.append(
        b"".join(struct.pack("<I", len(item)) + item for item in payload)
    )
    response = call(channel, "ModelInfer", request, pb.ModelInferResponse)
    expected = ProgramSession(program).run({"pixels": pixels})["logits"]
    logits = np.frombuffer(response.raw_output_contents[0], np.float32).reshape(2, 3)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    assert response.parameters["cloud_ms"].double_param > 0


def test_refusals_say_what_to_mend(channel, program):
    pixels = images(1)
    status, details = refusal(channel, infer_request(pixels, model_version="0" * 64))
    assert status == "FAILED_PRECONDITION"
    assert "0" * 64 in details
    assert program.sha256 in details
    other = infer_request(pixels)
    other.model_name = "globe"
    assert refusal(channel, other)[0] == "NOT_FOUND"
    assert refusal(channel, infer_request(pixels[:, :3]))[0] == "INVALID_ARGUMENT"
    assert refusal(channel, b"\xff\xff")[0] == "INVALID_ARGUMENT"
    unknown = infer_request(pixels)
    unknown.outputs.add(name="nothing")
    assert refusal(channel, unknown)[0] == "INVALID_ARGUMENT"
    late = infer_request(pixels)
    late.parameters["left_ms"].double_param = 0
    assert refusal(channel, late)[0] == "DEADLINE_EXCEEDED"


def test_an_internal_error_tells_nothing_about_the_host(program, monkeypatch, caplog):
    class Broken(ProgramSession):
        def run(self, tensors):
            raise RuntimeError("/srv/secret/model.onnx on host-17")

    monkeypatch.setattr("hybridge.runtime.cloud.models.ProgramSession", Broken)
    with (
        serving(Models({"pets": [program]})) as target,
        grpc.insecure_channel(target) as channel,
    ):
        status, details = refusal(channel, infer_request(images(1)))
    assert status == "INTERNAL"
    assert "secret" not in details
    assert "secret" in caplog.text


def test_concurrent_clients_are_batched(program, monkeypatch):
    sizes = []

    class Noting(ProgramSession):
        def run(self, tensors):
            sizes.append(len(tensors["pixels"]))
            return super().run(tensors)

    monkeypatch.setattr("hybridge.runtime.cloud.models.ProgramSession", Noting)
    batching = Batching(max_batch=6, max_wait_ms=10_000)
    with serving(Models({"pets": [program]}), batching=batching) as target:

        def ask():
            with grpc.insecure_channel(target) as channel:
                call(channel, "ModelInfer", infer_request(images(1)))

        clients = [threading.Thread(target=ask) for _ in range(6)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
    assert sizes == [6]


def test_stopping_answers_what_was_taken(program, monkeypatch):
    gate, begun = threading.Event(), threading.Event()

    class Slow(ProgramSession):
        def run(self, tensors):
            begun.set()
            assert gate.wait(10)
            return super().run(tensors)

    monkeypatch.setattr("hybridge.runtime.cloud.models.ProgramSession", Slow)
    with serving(Models({"pets": [program]})) as target:
        channel = grpc.insecure_channel(target)
        ask = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=bytes,
            response_deserializer=pb.ModelInferResponse.FromString,
        )
        answer = ask.future(infer_request(images(1)).SerializeToString(), timeout=10)
        assert begun.wait(10)
        threading.Timer(0.05, gate.set).start()
    assert len(answer.result().raw_output_contents) == 1
    channel.close()


def test_a_port_in_use_is_named(program, target):
    port = target.rpartition(":")[2]
    with (
        pytest.raises(ConfigError, match=f"port {port}"),
        serving(Models({"pets": [program]}), port=int(port)),
    ):
        pass


def test_serve_says_when_it_is_ready_and_stops_when_told(program, tmp_path):
    script = (
        "import sys\n"
        "from hybridge.plan.program import Program\n"
        "from hybridge.runtime.cloud.models import Models\n"
        "from hybridge.runtime.cloud.serve import serve\n"
        "program = Program.model_validate_json(sys.argv[1])\n"
        "program = program.model_copy(update={'path': sys.argv[2]})\n"
        "serve(Models({'pets': [program]}), port=0)\n"
    )
    arguments = [sys.executable, "-c", script, program.model_dump_json(), os.fspath(program.path)]
    source = os.fspath(Path(hybridge.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": source}
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as server:
        ready = json.loads(server.stdout.readline())
        assert ready["event"] == "ready"
        assert ready["programs"] == ["global", "pets/global"]
        with grpc.insecure_channel(f"{ready['host']}:{ready['port']}") as channel:
            call(channel, "ModelInfer", infer_request(images(1)))
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) == 0
        assert server.stderr.read() == ""


def test_stopping_does_not_wait_for_a_request_of_thousands_of_rows(program, monkeypatch):
    begun = threading.Event()

    class Slow(ProgramSession):
        def run(self, tensors):
            begun.set()
            time.sleep(0.02)
            return super().run(tensors)

    monkeypatch.setattr("hybridge.runtime.cloud.models.ProgramSession", Slow)
    models, batching = Models({"pets": [program]}), Batching(max_batch=1)
    with serving(models, batching=batching, grace_s=0.3) as target:
        channel = grpc.insecure_channel(target)
        ask = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        answer = ask.future(infer_request(images(1000)).SerializeToString(), timeout=60)
        assert begun.wait(10)
        began_s = time.monotonic()
    assert time.monotonic() - began_s < 3
    assert answer.exception() is not None
    channel.close()


def typed_request(rows):
    request = pb.ModelInferRequest(model_name="global")
    tensor = request.inputs.add(name="pixels", datatype="UINT8", shape=[rows, 4, 4, 3])
    tensor.contents.uint_contents.extend(images(rows).ravel().tolist())
    return request


def test_typed_contents_hold_nobody_up(channel, program, monkeypatch):
    """They are converted piece by piece, on a thread that is not the server's own."""
    threads = []
    read = oip.from_request

    def noting(request, program):
        threads.append(threading.current_thread().name)
        return read(request, program)

    monkeypatch.setattr(oip, "from_request", noting)
    response = call(channel, "ModelInfer", typed_request(3), pb.ModelInferResponse)
    expected = ProgramSession(program).run({"pixels": images(3)})["logits"]
    got = np.frombuffer(response.raw_output_contents[0], np.float32).reshape(3, 3)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    assert threads != ["hybridge-loop"]


def test_more_outputs_than_anybody_needs_are_refused(channel):
    request = infer_request(images(1))
    for _ in range(100_000):
        request.outputs.add(name="logits")
    assert refusal(channel, request)[0] == "INVALID_ARGUMENT"
