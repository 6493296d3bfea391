import threading
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest

from hybridge.codecs.codec import codec_named
from hybridge.errors import RefusedError, TransportError
from hybridge.runtime.cloud.local import LocalTransport
from hybridge.runtime.cloud.loop import LoopThread
from hybridge.runtime.cloud.models import Models
from hybridge.runtime.sessions import ProgramSession
from hybridge.runtime.wire.message import Message, UnsentError
from tiny_plans import images, pair_programs


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return pair_programs(tmp_path_factory.mktemp("programs"))["global"]


def message(served, pixels, **changes):
    tensors = {"pixels": codec_named("webp").encode(pixels)}
    return replace(Message("global", served.sha256, tensors), **changes)


def test_answers_from_several_threads(program):
    with LocalTransport(Models({"pets": [program]})) as cloud:
        replies = {}

        def ask(i):
            replies[i] = cloud.send(message(program, images(1, seed=i)))

        threads = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    session = ProgramSession(program)
    for i, reply in replies.items():
        expected = session.run({"pixels": images(1, seed=i)})["logits"]
        np.testing.assert_allclose(reply.tensors["logits"], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"sha256": "0" * 64}, "FAILED_PRECONDITION"),
        ({"program": "other"}, "NOT_FOUND"),
        ({"tensors": {}}, "INVALID_ARGUMENT"),
    ],
)
def test_refuses_as_a_cloud_over_a_wire_does(program, changes, match):
    with (
        LocalTransport(Models({"pets": [program]})) as cloud,
        pytest.raises(RefusedError, match=match),
    ):
        cloud.send(message(program, images(1), **changes))


def test_spent_time_is_no_refusal(program):
    with LocalTransport(Models({"pets": [program]})) as cloud:
        with pytest.raises(TransportError, match="DEADLINE_EXCEEDED") as caught:
            cloud.send(message(program, images(1), left_ms=0))
        assert not isinstance(caught.value, RefusedError)


def test_gives_up_at_the_limit(program, monkeypatch):
    gate = threading.Event()

    class Stuck(ProgramSession):
        def run(self, tensors):
            assert gate.wait(10)
            return super().run(tensors)

    monkeypatch.setattr("hybridge.runtime.cloud.models.ProgramSession", Stuck)
    with LocalTransport(Models({"pets": [program]})) as cloud:
        with pytest.raises(TransportError, match="20 ms"):
            cloud.send(message(program, images(1)), timeout_ms=20)
        gate.set()


def test_closed_answers_no_more(program):
    cloud = LocalTransport(Models({"pets": [program]}))
    cloud.close()
    cloud.close()
    with pytest.raises(UnsentError, match="closed"):
        cloud.send(message(program, images(1)))


def test_a_message_that_races_with_closing_comes_to_an_end(program, monkeypatch):
    cloud = LocalTransport(Models({"pets": [program]}), timeout_ms=5000)
    submit, closer = LoopThread.submit, threading.Thread(target=cloud.close)

    def submit_late(self, coroutine):
        if closer.ident is None:
            closer.start()
            closer.join(0.3)  # it could close now, were it not kept from it
        return submit(self, coroutine)

    monkeypatch.setattr(LoopThread, "submit", submit_late)
    with suppress(TransportError):
        assert cloud.send(message(program, images(1))).tensors
    closer.join(10)
    assert not closer.is_alive()
