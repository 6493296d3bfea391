"""What whoever finds the port can send: each is refused, tells them nothing, and stops nothing."""

import gzip
import io
import logging
import socket
import ssl
import struct
from contextlib import contextmanager
from dataclasses import dataclass

import grpc
import numpy as np
import pytest
import zstandard
from PIL import Image

from certificates import Authority
from hybridge.codecs.codec import codec_named
from hybridge.errors import RefusedError, TransportError
from hybridge.plan.tensors import TensorSpec
from hybridge.runtime.cloud import journal
from hybridge.runtime.cloud.journal import Journal
from hybridge.runtime.cloud.models import Models
from hybridge.runtime.cloud.server import serving
from hybridge.runtime.edge.grpc import GrpcTransport
from hybridge.runtime.wire import oip
from hybridge.runtime.wire import oip_pb2 as pb
from hybridge.runtime.wire.message import Message
from hybridge.runtime.wire.tokens import Tokens
from hybridge.runtime.wire.trust import Access, ServerTls, Tls
from tiny_plans import LOGITS, images, pair_programs, write_program

TOKEN, OTHER = "the-token-of-this-test", "some-other-long-token"
FEATURES = TensorSpec(name="features", dtype="float32", shape=(1024,))
SERVICE = f"/{oip.SERVICE}"


@dataclass(frozen=True)
class Cloud:
    """A server of two programs that asks for certificates and tokens; how to get in, or not."""

    target: str
    tls: Tls
    ours: Authority
    theirs: Authority
    program: object

    def ask(self, tls=None, token=TOKEN):
        """Ask once, as a client of our own would."""
        with GrpcTransport(self.target, 5000, tls=tls or self.tls, token=token) as transport:
            encoded = codec_named("raw").encode(images(1))
            sent = Message("global", self.program.sha256, {"pixels": encoded})
            return transport.send(sent).tensors["logits"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("scan")


@pytest.fixture(scope="module")
def programs(folder):
    far = write_program(folder, "far", FEATURES, (LOGITS,), seed=5)
    return [pair_programs(folder)["global"], far]


@pytest.fixture(scope="module")
def cloud(folder, programs):
    ours, theirs = Authority(folder, "ours"), Authority(folder, "theirs")
    server, device = ours.pair("server"), ours.pair("device")
    tokens = folder / "tokens"
    tokens.write_text(f"# of devices\n{TOKEN}\n\nanother-token-of-this-test\n")
    access = Access(ServerTls(server.cert, server.key, ours.ca), Tokens(tokens))
    with serving(Models({"pets": programs}), access=access, listeners=[Journal()]) as target:
        yield Cloud(target, Tls(ours.ca, device.cert, device.key), ours, theirs, programs[0])


@pytest.fixture(autouse=True)
def _goes_on(cloud, capfd, caplog, monkeypatch):
    """After every test the server still answers, and has said nothing that it should not."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(journal, "_EVERY_S", 0.0)  # every refusal has its line
    yield
    assert cloud.ask().shape == (1, 3)
    said = "".join(capfd.readouterr()) + caplog.text
    assert [secret for secret in (TOKEN, OTHER, "PRIVATE KEY") if secret in said] == []


@contextmanager
def opened(cloud):
    with grpc.secure_channel(
        cloud.target, cloud.tls.credentials(), [("grpc.max_send_message_length", -1)]
    ) as channel:
        yield channel


def refused(cloud, data, method="ModelInfer", headers=(("authorization", f"Bearer {TOKEN}"),)):
    """Send bytes; return the status and the text of the refusal, which tells nothing."""
    data = data if isinstance(data, bytes) else data.SerializeToString()
    path = method if method.startswith("/") else f"{SERVICE}/{method}"
    with opened(cloud) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(path)(data, timeout=20, metadata=headers)
    text = caught.value.details()
    for telling in ("Traceback", ".py", "/work", "/tmp", "/usr", "onnx", "numpy", "Pillow", "PIL"):
        assert telling not in text
    assert len(text) <= 500
    return caught.value.code().name, text


def told(caplog):
    """Return the status of every refusal that was written down."""
    events = [each for each in caplog.records if getattr(each, "event", "") == "refused"]
    return [each.fields["status"] for each in events]


# Who is it?


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (("authorization", f"Bearer {OTHER}"),),
        (("authorization", f"Bearer {TOKEN}x"),),
        (("authorization", f"Bearer {TOKEN[:-1]}"),),
        (("authorization", "Bearer "),),
        (("authorization", TOKEN),),
        (("authorization", f"Basic {TOKEN}"),),
        (("authorization", f"Bearer {TOKEN}"), ("authorization", f"Bearer {OTHER}")),
        (("x-token", TOKEN),),
    ],
)
def test_no_token_or_a_wrong_one(cloud, headers, caplog):
    status, text = refused(cloud, b"\xff\xff", headers=headers)
    assert status == "UNAUTHENTICATED"
    assert told(caplog) == ["UNAUTHENTICATED"]
    assert TOKEN not in text
    assert OTHER not in text


@pytest.mark.parametrize(
    "method",
    [
        "ServerMetadata",
        "ModelReady",
        "ModelMetadata",
        "ModelInfer",
        "NoSuchMethod",
        "/grpc.health.v1.Health/Watch",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ],
)
def test_without_a_token_nothing_is_learnt(cloud, method):
    assert refused(cloud, b"", method, headers=())[0] == "UNAUTHENTICATED"


def test_without_a_token_it_is_told_to_be_alive(cloud):
    with opened(cloud) as channel:
        for path in (f"{SERVICE}/ServerLive", f"{SERVICE}/ServerReady"):
            assert channel.unary_unary(path)(b"", timeout=10) == b"\x08\x01"
        assert channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=10) == b"\x08\x01"


def test_without_a_token_a_message_is_not_even_received(cloud):
    # One that is too long for the server is refused for the token, not for its length.
    too_long = bytes(oip.MAX_MESSAGE_BYTES + 1)
    assert refused(cloud, too_long, headers=())[0] == "UNAUTHENTICATED"
    with opened(cloud) as channel:  # nor is it where none is asked for
        for path in (f"{SERVICE}/ServerLive", "/grpc.health.v1.Health/Check"):
            assert channel.unary_unary(path)(too_long, timeout=10) == b"\x08\x01"


def test_our_client_reads_a_refusal(cloud):
    for token in (None, OTHER):
        with pytest.raises(RefusedError, match="UNAUTHENTICATED") as caught:
            cloud.ask(token=token)
        assert OTHER not in str(caught.value)


def test_a_client_without_a_certificate_of_the_authority(cloud):
    stranger, late = cloud.theirs.pair("stranger"), cloud.ours.pair("late", ends_days=-0.5)
    early = cloud.ours.pair("early", begins_days=0.5)
    for pair in (stranger, late, early):
        with pytest.raises(TransportError, match="UNAVAILABLE"):
            cloud.ask(Tls(cloud.ours.ca, pair.cert, pair.key))
    with pytest.raises(TransportError, match="UNAVAILABLE"):
        cloud.ask(Tls(cloud.ours.ca))


def test_a_server_without_a_certificate_of_the_authority(cloud, programs):
    device = Tls(cloud.theirs.ca, cloud.tls.cert, cloud.tls.key)
    with pytest.raises(TransportError, match="CERTIFICATE_VERIFY_FAILED"):
        cloud.ask(device)
    late = cloud.ours.pair("late-server", ends_days=-0.5)
    access = Access(ServerTls(late.cert, late.key))
    with (
        serving(Models({"pets": programs}), access=access) as target,
        GrpcTransport(target, 5000, tls=Tls(cloud.ours.ca), token=TOKEN) as transport,
        pytest.raises(TransportError, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        transport.send(Message("global", "0" * 64, {}))


def test_plaintext_to_a_port_of_tls(cloud):
    with (
        GrpcTransport(cloud.target, 5000, token=TOKEN) as transport,
        pytest.raises(TransportError, match="UNAVAILABLE"),
    ):
        transport.send(Message("global", "0" * 64, {}))


def test_tls_to_a_port_of_plaintext(cloud, programs):
    with serving(Models({"pets": programs})) as target:
        with (
            GrpcTransport(target, 5000, tls=cloud.tls, token=TOKEN) as transport,
            pytest.raises(TransportError, match="UNAVAILABLE"),
        ):
            transport.send(Message("global", "0" * 64, {}))
        with grpc.insecure_channel(target) as channel:
            assert channel.unary_unary(f"{SERVICE}/ServerLive")(b"", timeout=10)


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n\r\n", bytes(64), b"\x16\x03\x01\x02\x00\x01"]
)
def test_what_is_no_handshake(cloud, data):
    host, _, port = cloud.target.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as raw:
        raw.sendall(data)


def test_old_versions_of_tls(cloud):
    host, _, port = cloud.target.rpartition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cloud.ours.ca)
    context.load_cert_chain(cloud.tls.cert, cloud.tls.key)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection((host, int(port)), timeout=10) as raw,
        pytest.raises(OSError, match=r"SSL|reset|EOF"),
    ):
        context.wrap_socket(raw, server_hostname="localhost")


# How much is it?


def test_a_message_that_is_too_long(cloud):
    assert refused(cloud, bytes(oip.MAX_MESSAGE_BYTES + 1))[0] == "RESOURCE_EXHAUSTED"


def test_a_message_that_is_too_long_once_inflated(cloud):
    # Compressed by gRPC itself, 65 kilobytes cross.
    with opened(cloud) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(f"{SERVICE}/ModelInfer")(
            bytes(oip.MAX_MESSAGE_BYTES + 1),
            timeout=20,
            metadata=(("authorization", f"Bearer {TOKEN}"),),
            compression=grpc.Compression.Gzip,
        )
    assert caught.value.code().name == "RESOURCE_EXHAUSTED"


def encoded_request(program, name, codec, *items):
    request = pb.ModelInferRequest(model_name=program)
    tensor = request.inputs.add(name=name, datatype="BYTES", shape=[len(items)])
    tensor.parameters["codec"].string_param = codec
    request.raw_input_contents.append(b"".join(struct.pack("<I", len(i)) + i for i in items))
    return request


def picture(format_, side, mode="1"):
    file = io.BytesIO()
    Image.new(mode, (side, side)).save(file, format_)
    return file.getvalue()


def lying_webp(side):
    """Return a WebP of four pixels a side whose header says many more."""
    data = bytearray(picture("WEBP", 4, "RGB"))
    at = data.index(b"VP8 ") + 14
    data[at : at + 4] = struct.pack("<HH", side, side)
    return bytes(data)


@pytest.mark.parametrize(
    ("codec", "bomb"),
    [
        ("webp", lambda: picture("PNG", 6_000)),
        ("webp", lambda: picture("WEBP", 2_000, "RGB")),
        ("webp-90", lambda: picture("GIF", 3_000, "P")),
        ("jpeg-90", lambda: picture("JPEG", 4_000, "L")),
        # Headers that lie about what follows: 4 and 0.8 gigabytes.
        ("jpeg-90", lambda: picture("JPEG", 4, "L").replace(b"\0\4\0\4", b"\xff\xff\xff\xff")),
        ("webp", lambda: lying_webp(16_383)),
        ("webp", lambda: gzip.compress(bytes(10_000_000))),
    ],
)
def test_an_image_that_decodes_to_far_more_than_it_is(cloud, codec, bomb):
    status, _ = refused(cloud, encoded_request("global", "pixels", codec, bomb()))
    assert status == "INVALID_ARGUMENT"


def test_an_image_that_takes_far_longer_than_its_size(cloud):
    # Of the right size, but its last scan comes again and again: each is decoded.
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    scan = data[data.rfind(b"\xff\xc4") : -2]
    slow = data[:-2] + 100 * scan + data[-2:]
    status, text = refused(cloud, encoded_request("global", "pixels", "jpeg-90", slow))
    assert (status, "scans" in text) == ("INVALID_ARGUMENT", True)
    with opened(cloud) as channel:
        request = encoded_request("global", "pixels", "jpeg-90", data).SerializeToString()
        ask = channel.unary_unary(f"{SERVICE}/ModelInfer")
        assert ask(request, timeout=20, metadata=(("authorization", f"Bearer {TOKEN}"),))


def zstd_frame(size_bytes, content_size=True):
    compressor = zstandard.ZstdCompressor(write_content_size=content_size)
    return struct.pack("<ff", 0, 1) + compressor.compress(bytes(size_bytes))


@pytest.mark.parametrize(
    "bomb",
    [
        lambda: zstd_frame(200_000_000),
        lambda: zstd_frame(200_000_000, content_size=False),
        # Two frames, of which the first alone has the size that is claimed.
        lambda: zstd_frame(1024) + zstd_frame(200_000_000)[8:],
        # A frame that says 1,024 bytes and holds many more.
        lambda: lying_frame(200_000_000, 1024),
    ],
)
def test_a_zstd_frame_that_decodes_to_far_more_than_it_is(cloud, bomb):
    status, _ = refused(cloud, encoded_request("far", "features", "int8-zstd", bomb()))
    assert status == "INVALID_ARGUMENT"


def lying_frame(size_bytes, said_bytes):
    frame = bytearray(zstd_frame(size_bytes))
    true, said = struct.pack("<I", size_bytes), struct.pack("<I", said_bytes)
    assert frame.count(true) == 1
    return bytes(frame.replace(true, said))


def test_more_rows_than_there_may_be(cloud):
    request = pb.ModelInferRequest(model_name="global")
    request.inputs.add(name="pixels", datatype="UINT8", shape=[oip.MAX_ROWS + 1, 4, 4, 3])
    request.raw_input_contents.append(bytes((oip.MAX_ROWS + 1) * 48))
    assert refused(cloud, request)[0] == "INVALID_ARGUMENT"


# What is it?


@pytest.mark.parametrize(
    ("datatype", "shape"),
    [
        ("FP32", [1, 4, 4, 3]),
        ("UINT9", [1, 4, 4, 3]),
        ("BYTES", [1, 4, 4, 3]),
        ("", [1, 4, 4, 3]),
        ("UINT8", [4, 4, 3]),
        ("UINT8", [1, 1, 4, 4, 3]),
        ("UINT8", []),
        ("UINT8", [1] * 100_000),
        ("UINT8", [1, 4, 3, 4]),
        ("UINT8", [0, 4, 4, 3]),
        ("UINT8", [-1, 4, 4, 3]),
        ("UINT8", [1, -4, -4, 3]),
        ("UINT8", [2**62, 4, 4, 3]),
        ("UINT8", [2, 4, 4, 3]),
    ],
)
def test_a_tensor_that_is_malformed(cloud, datatype, shape):
    request = pb.ModelInferRequest(model_name="global")
    request.inputs.add(name="pixels", datatype=datatype, shape=shape)
    request.raw_input_contents.append(images(1).tobytes())
    assert refused(cloud, request)[0] == "INVALID_ARGUMENT"


@pytest.mark.parametrize("length", [0, 1, 2, 2**31, 2**32 - 1])
def test_lengths_that_lie(cloud, length):
    request = encoded_request("global", "pixels", "webp", b"abc")
    content = struct.pack("<I", length) + b"abc"
    request.raw_input_contents[0] = content
    assert refused(cloud, request)[0] == "INVALID_ARGUMENT"


def test_values_that_no_session_should_see(cloud):
    request = pb.ModelInferRequest(model_name="global")
    tensor = request.inputs.add(name="pixels", datatype="UINT8", shape=[1, 4, 4, 3])
    tensor.contents.uint_contents.extend([300] * 48)
    assert refused(cloud, request)[0] == "INVALID_ARGUMENT"
    typed = pb.ModelInferRequest(model_name="global")
    typed.inputs.add(name="pixels", datatype="UINT8", shape=[1, 4, 4, 3])
    assert refused(cloud, typed)[0] == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("../../etc/passwd", "NOT_FOUND"),
        ("x" * 1_000_000, "NOT_FOUND"),
        ("\r\nauthorization: x", "NOT_FOUND"),
        ("", "NOT_FOUND"),
    ],
)
def test_a_name_that_is_none(cloud, name, status):
    assert refused(cloud, pb.ModelInferRequest(model_name=name))[0] == status


def test_bytes_that_are_no_request(cloud, caplog):
    rng = np.random.default_rng(0)
    statuses = [refused(cloud, rng.bytes(size))[0] for size in (1, 7, 100, 10_000)]
    assert set(statuses) <= {"INVALID_ARGUMENT", "NOT_FOUND"}
    assert told(caplog) == statuses
    assert refused(cloud, b"\xff\xff", "ModelMetadata")[0] == "INVALID_ARGUMENT"
    assert told(caplog) == [*statuses, "INVALID_ARGUMENT"]


def test_typed_contents_that_would_hold_the_others_up(cloud, caplog):
    request = pb.ModelInferRequest(model_name="global")
    tensor = request.inputs.add(name="pixels", datatype="UINT8", shape=[1, 4, 4, 3])
    tensor.contents.bytes_contents.append(bytes(5 << 20))
    status, text = refused(cloud, request)
    assert (status, "raw contents" in text) == ("INVALID_ARGUMENT", True)
    assert told(caplog) == ["INVALID_ARGUMENT"]
