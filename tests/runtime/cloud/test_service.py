import asyncio
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from hybridge.codecs.codec import Encoded, codec_named
from hybridge.errors import BundleError, DataError, SignatureError, UnknownNameError
from hybridge.runtime.cloud.admission import ExpiredError, OverloadedError
from hybridge.runtime.cloud.batcher import Batching, DrainingError
from hybridge.runtime.cloud.models import Models, OtherVersionError, UnservedError
from hybridge.runtime.cloud.service import CloudService, Unread, verdict
from hybridge.runtime.sessions import ProgramSession
from hybridge.runtime.wire.message import Message
from tiny_plans import CLASSES, images, pair_programs


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return pair_programs(tmp_path_factory.mktemp("programs"))["global"]


@pytest.fixture(scope="module")
def models(program):
    return Models({"pets": [program]})


def infer(models, message, batching=None, **limits):
    async def scenario():
        service = CloudService(models, batching, **limits)
        try:
            return await service.infer(message)
        finally:
            await service.close()

    return asyncio.run(scenario())


def message(program, pixels, codec="raw", left_ms=None, sha256=None):
    tensors = {"pixels": codec_named(codec).encode(pixels)}
    return Message(program.name, program.sha256 if sha256 is None else sha256, tensors, left_ms)


@pytest.mark.parametrize("codec", ["raw", "webp"])
@pytest.mark.parametrize("batch", [1, 5, 40])
def test_answers_as_the_bare_session_does(models, program, codec, batch):
    pixels = images(batch)
    reply = infer(models, message(program, pixels, codec))
    expected = ProgramSession(program).run({"pixels": pixels})
    np.testing.assert_allclose(reply.tensors["logits"], expected["logits"], rtol=1e-4, atol=1e-5)
    assert reply.tensors["logits"].shape == (batch, CLASSES)
    assert reply.cloud_ms > 0


class Untouchable:
    """Stands where a session is, and must not be asked."""

    def __init__(self, program):
        self.program = program

    def run(self, tensors):
        raise AssertionError("the session was touched")


@pytest.mark.parametrize(
    ("encoded", "error"),
    [
        (codec_named("raw").encode(np.zeros((1, 4, 4, 3), np.float32)), SignatureError),
        (codec_named("raw").encode(np.zeros((1, 4, 5, 3), np.uint8)), SignatureError),
        (codec_named("raw").encode(np.zeros((0, 4, 4, 3), np.uint8)), SignatureError),
        (Encoded("raw", (b"short",), "uint8", (4, 4, 3)), DataError),
        (Encoded("jpeg-90", (b"no image",), "uint8", (4, 4, 3)), DataError),
        (Encoded("jpeg-91", (b"",), "uint8", (4, 4, 3)), UnknownNameError),
        (codec_named("raw").encode(np.zeros((2000, 4, 4, 3), np.uint8)), DataError),
    ],
)
def test_what_does_not_fit_never_reaches_a_session(program, encoded, error, monkeypatch):
    monkeypatch.setattr("hybridge.runtime.cloud.models.ProgramSession", lambda p, t: Untouchable(p))
    asked = Message("global", program.sha256, {"pixels": encoded})
    with pytest.raises(error):
        infer(Models({"pets": [program]}), asked, max_decoded_bytes=48 * 1000)


@pytest.mark.parametrize("names", [[], ["image"], ["pixels", "more"]])
def test_other_inputs_are_refused(models, program, names):
    encoded = codec_named("raw").encode(images(1))
    with pytest.raises(SignatureError, match="'pixels'"):
        infer(models, Message("global", program.sha256, dict.fromkeys(names, encoded)))


def test_another_version_is_refused(models, program):
    with pytest.raises(OtherVersionError):
        infer(models, message(program, images(1), sha256="0" * 64))


def test_time_already_spent_is_not_computed(program, monkeypatch):
    monkeypatch.setattr("hybridge.runtime.cloud.models.ProgramSession", lambda p, t: Untouchable(p))
    for left_ms in (0, -5):
        with pytest.raises(ExpiredError):
            infer(Models({"pets": [program]}), message(program, images(1), left_ms=left_ms))


def test_concurrent_requests_are_batched(program, monkeypatch):
    sizes = []

    class Noting(ProgramSession):
        def run(self, tensors):
            sizes.append(len(tensors["pixels"]))
            return super().run(tensors)

    monkeypatch.setattr("hybridge.runtime.cloud.models.ProgramSession", Noting)
    pixels = images(16)

    async def scenario():
        service = CloudService(
            Models({"pets": [program]}), Batching(max_batch=8, max_wait_ms=10_000)
        )
        replies = await asyncio.gather(
            *(service.infer(message(program, pixels[i : i + 1])) for i in range(16))
        )
        await service.close()
        return replies

    replies = asyncio.run(scenario())
    assert sizes == [8, 8]
    expected = ProgramSession(program).run({"pixels": pixels})["logits"]
    together = np.concatenate([reply.tensors["logits"] for reply in replies])
    np.testing.assert_allclose(together, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (SignatureError("a"), "INVALID_ARGUMENT"),
        (DataError("a"), "INVALID_ARGUMENT"),
        (UnknownNameError("a"), "INVALID_ARGUMENT"),
        (UnservedError("a"), "NOT_FOUND"),
        (OtherVersionError("a"), "FAILED_PRECONDITION"),
        (ExpiredError("a"), "DEADLINE_EXCEEDED"),
        (OverloadedError("a", 0.0), "RESOURCE_EXHAUSTED"),
        (DrainingError("a"), "UNAVAILABLE"),
    ],
)
def test_a_clients_own_mistakes_are_told(error, status):
    assert verdict(error).status == status
    assert verdict(error).text == str(error)


def test_what_a_client_reads_is_short():
    assert len(verdict(DataError("x" * 10_000)).text) == 500


def test_a_codec_s_name_of_any_length_is_refused_at_once(models, program):
    asked = message(program, images(1))
    encoded = Encoded("j" * 3_000_000, (b"",), "uint8", (4, 4, 3))
    began_s = time.perf_counter()
    with pytest.raises(UnknownNameError) as caught:
        infer(models, replace(asked, tensors={"pixels": encoded}))
    assert time.perf_counter() - began_s < 1
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("error", [BundleError("/srv/models/x.onnx"), OSError("/etc/passwd")])
def test_the_hosts_troubles_are_logged_and_not_told(error, caplog):
    told = verdict(error)
    assert told.status == "INTERNAL"
    assert "/" not in told.text
    assert str(error) in caplog.text


def test_requests_hold_no_more_bytes_together_than_they_may(program, monkeypatch):
    gate = threading.Event()

    class Slow(ProgramSession):
        def run(self, tensors):
            assert gate.wait(10)
            return super().run(tensors)

    monkeypatch.setattr("hybridge.runtime.cloud.models.ProgramSession", Slow)

    async def scenario():
        # A picture of 4 by 4 is of 48 bytes, and is held twice: as it came, and decoded.
        service = CloudService(Models({"pets": [program]}), max_held_bytes=2 * 48 * 10)
        first = asyncio.create_task(service.infer(message(program, images(8))))
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError, match="under way"):
            await service.infer(message(program, images(3)))
        second = asyncio.create_task(service.infer(message(program, images(2))))
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(first, second)
        await service.infer(message(program, images(3)))
        await service.close()

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_what_takes_long_to_read_is_read_once_let_in_and_on_another_thread(program):
    asked, read_on = message(program, images(2)), []

    def read():
        read_on.append(threading.current_thread())
        return asked

    async def scenario():
        service = CloudService(Models({"pets": [program]}))
        unread = Unread(2, asked.payload_bytes, None, read)
        _, reply = await service.answer("global", "", lambda program: unread)
        with (
            service._batchers[program.sha256].admission.place(1024),
            pytest.raises(OverloadedError),
        ):
            await service.answer("global", "", lambda program: unread)
        await service.close()
        return reply

    assert asyncio.run(asyncio.wait_for(scenario(), 20)).tensors["logits"].shape == (2, 3)
    assert len(read_on) == 1
    assert read_on != [threading.current_thread()]
